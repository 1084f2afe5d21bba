/* SPDX-License-Identifier: MIT */
/* What changed between two versions of a disk, file by file. */
#ifndef BOW_DIFF_DIFF_H
#define BOW_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bowimg.h"
#include "bowimg/diff/inode.h"

/* Both versions of a disk. The new one also knows which blocks changed. */
struct bow_diff_source {
	bowimg_disk *disk[2]; /* by enum bow_version */
	const char *name;     /* of the image, for messages and commands in hints */
	const char *mark;     /* the old one is as of this mark; NULL: as of prepare */
	bool mountable;	      /* the kernel may mount them */
};

struct bow_diff_options {
	uint64_t off, bytes;	     /* where the file system is on the disk */
	bool all_links;		     /* find every name of a changed file */
	struct bowimg_events events; /* progress counts parts, not bytes */
};

enum bow_diff_kind { BOW_DIFF_ADDED, BOW_DIFF_DELETED, BOW_DIFF_MODIFIED, BOW_DIFF_RENAMED };

/* What differs between a path's old and new file. */
#define BOW_DIFF_TYPE 1u
#define BOW_DIFF_CONTENT 2u
#define BOW_DIFF_SIZE 4u
#define BOW_DIFF_MODE 8u
#define BOW_DIFF_OWNER 16u
#define BOW_DIFF_TIMES 32u
#define BOW_DIFF_XATTRS 64u
#define BOW_DIFF_TARGET 128u /* of a link */
#define BOW_DIFF_DEVICE 256u /* its number */

struct bow_diff_item {
	enum bow_diff_kind kind;
	unsigned what;		     /* of MODIFIED and RENAMED */
	const char *path;	     /* the new one; of DELETED the old one; "/" is the root */
	const char *old_path;	     /* of RENAMED, else NULL */
	uint32_t old_ino, new_ino;   /* 0: not there */
	char old_type, new_type;     /* 'f' 'd' 'l' 'c' 'b' 'p' 's' '?', 0 */
	uint64_t old_size, new_size; /* bytes */

	/* For archives. */
	uint32_t old_dir, new_dir; /* of the old and the new name */
	bool hides;		   /* the directory of the old name is still in its place */
	bool replaced;		   /* MODIFIED: another file has the name now */
};

struct bow_diff;

/*
 * Can files be compared here? Files of ext2/3/4 always can, others if the kernel mounts them for
 * us. If not, *why_not is the error that bow_diff_files() would return.
 */
int bow_diff_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		   bool *possible, struct bowimg_error *why_not, struct bowimg_error *err);

/*
 * Compare the file systems in this window. -EOPNOTSUPP: none is known here, it has unknown
 * features, or it cannot be mounted; -EUCLEAN, -EBADMSG: it is damaged, or a journal must be
 * replayed.
 */
int bow_diff_files(const struct bow_diff_source *source, const struct bow_diff_options *opts,
		   struct bow_diff **out, struct bowimg_error *err);
void bow_diff_free(struct bow_diff *d);

/* Sorted by path, bytewise; one item for each path. */
const struct bow_diff_item *bow_diff_items(const struct bow_diff *d, size_t *n);

/* "file", "directory", ... */
const char *bow_diff_type_name(char type);

#endif
