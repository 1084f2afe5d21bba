/* SPDX-License-Identifier: MIT */
/*
 * What the comparison knows of a file, whatever its file system. Two rooms fill it in: ext reads
 * ext2/3/4 itself, mounted reads trees that the kernel has mounted.
 */
#ifndef BOW_DIFF_INODE_H
#define BOW_DIFF_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/base/err.h"

/* The two versions of a disk: as it is now, and as it was at prepare. */
enum bow_version { BOW_NEW, BOW_OLD };
#define BOW_VERSIONS 2

#define BOW_ROOT_INO 2u /* the number of the root in both versions, as in ext */

struct bow_inode {
	uint32_t ino; /* its number in this version */
	bool in_use;
	uint16_t mode;	/* type and permissions, as stat() has them */
	uint32_t links; /* names that it should have */
	uint32_t uid, gid;
	unsigned major, minor; /* of a device */
	uint64_t size;	       /* bytes */
	struct timespec mtime;
	bool is_encrypted;

	/* These differ from those of a later file of the same number, unless they are zero. */
	uint32_t generation;
	bool has_birth;
	struct timespec birth;
};

/* Both are in use and the same file: the number was not given to another file. */
bool bow_inode_same(const struct bow_inode *a, const struct bow_inode *b);
bool bow_inode_is_unique(const struct bow_inode *i);
static inline unsigned bow_inode_type(const struct bow_inode *i)
{
	return i->mode & S_IFMT;
}

/* A directory entry; never "." or "..". */
struct bow_dirent {
	uint32_t ino;
	bool may_be_dir; /* as the entry has it; only the inode knows unless is_typed */
	bool is_typed;
	const char *name; /* NUL-terminated, never empty, without '/'; hexadecimal if encrypted */
};

/* A non-zero return ends the walk. */
typedef int bow_dirent_func(void *ctx, const struct bow_dirent *e, struct bowimg_error *err);
typedef int bow_version_dirent_func(void *ctx, enum bow_version version, const struct bow_dirent *e,
				    struct bowimg_error *err);

/* Sorted by name; to be freed. ACLs are as Linux shows them, in version 2. */
struct bow_attrs {
	struct bow_attr {
		char *name; /* with its prefix: "user.x" */
		void *value;
		size_t bytes;
	} * v;
	size_t n, room;
};
/* Appends copies; -ENOMEM. */
int bow_attrs_add(struct bow_attrs *attrs, const char *name, const void *value, size_t bytes);
void bow_attrs_sort(struct bow_attrs *attrs);
void bow_attrs_free(struct bow_attrs *attrs);
bool bow_attrs_same(const struct bow_attrs *a, const struct bow_attrs *b);

/* Where a file has data, in ascending order; the gaps read as zeros. */
struct bow_content {
	uint64_t size; /* of the file */
	struct bow_piece {
		uint64_t off, bytes; /* may reach beyond `size` */
		uint64_t at;	     /* the reader's own, for read_content() */
	} * v;
	size_t n, room;
	int fd; /* the reader's, or -1 */
};
int bow_content_add(struct bow_content *c, const struct bow_piece *piece); /* -ENOMEM */

#endif
