/* SPDX-License-Identifier: MIT */
/*
 * What the comparison of files knows of a file, whatever its file system, and what it asks for.
 * Two implementations: ext2/3/4 read by this program (diff_ext.c), and trees that the kernel has
 * mounted (diff_tree.c).
 */
#ifndef BOW_FRONTS_SIDE_H
#define BOW_FRONTS_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"

#define BOW_ROOT_INO 2u /* the number of the root on every side, as ext has it */

struct bow_inode {
	uint32_t ino; /* the side's number for it */
	bool in_use;
	uint16_t mode;	/* type and permissions, as stat() has them */
	uint32_t links; /* names, by its own word */
	uint32_t uid, gid;
	unsigned major, minor; /* of a device */
	uint64_t size;	       /* bytes */
	struct timespec mtime;
	bool is_encrypted;

	/* What tells it from a later file of the same number; zero: nothing does. */
	uint32_t generation;
	bool has_birth;
	struct timespec birth;
};

/* Both in use and the same file: neither was deleted and its number given to another. */
bool bow_inode_same(const struct bow_inode *a, const struct bow_inode *b);
bool bow_inode_is_unique(const struct bow_inode *i);
static inline unsigned bow_inode_type(const struct bow_inode *i)
{
	return i->mode & S_IFMT;
}

/* A directory entry; never "." or "..". */
struct bow_entry {
	uint32_t ino;
	bool may_be_dir; /* by the entry; unless is_typed, the inode knows */
	bool is_typed;
	const char *name; /* NUL-terminated, never empty, without '/'; hexadecimal if encrypted */
};

/* A non-zero return ends the walk. */
typedef int bow_entry_func(void *ctx, const struct bow_entry *e, struct bowimg_error *err);
typedef int bow_side_entry_func(void *ctx, enum bowimg_side side, const struct bow_entry *e,
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

/* Where a file has data, in ascending order; what lies between reads as zeros. */
struct bow_content {
	uint64_t size; /* of the file */
	struct bow_piece {
		uint64_t off, bytes; /* may reach beyond `size` */
		uint64_t at;	     /* where: for the side only */
	} * v;
	size_t n, room;
	int fd; /* the side's, or -1 */
};
int bow_content_add(struct bow_content *c, const struct bow_piece *piece); /* -ENOMEM */

#endif
