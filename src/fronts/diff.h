/* SPDX-License-Identifier: MIT */
/* What changed between two sides of a disk: file by file (diff.c and the files it names). */
#ifndef BOW_FRONTS_DIFF_H
#define BOW_FRONTS_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bowimg.h"

/* How both sides are read, and which of their blocks may differ; bowimg_look_*() in a program. */
struct bow_diff_source {
	int (*read)(void *ctx, enum bowimg_side side, void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err);
	int (*changes)(void *ctx, int (*run)(void *ctx, const struct bowimg_change *change),
		       void *run_ctx, struct bowimg_error *err);
	void *ctx;
	const char *name;  /* of the image, for messages and commands in hints */
	uint64_t size;	   /* of the disk, in bytes */
	bowimg_look *look; /* to show it to the kernel; NULL: nothing can be mounted */
};

struct bow_diff_options {
	uint64_t off, bytes;	     /* where the file system is on the disk */
	bool all_links;		     /* find all names of changed files that have several */
	struct bowimg_events events; /* progress counts parts, not bytes */
};

enum bow_diff_kind { BOW_DIFF_ADDED, BOW_DIFF_DELETED, BOW_DIFF_MODIFIED, BOW_DIFF_RENAMED };

/* What differs between a path's file before and now. */
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
	unsigned what;	      /* of MODIFIED and RENAMED */
	const char *path;     /* as it is now; of a DELETED one, as it was; "/" is the root */
	const char *old_path; /* of RENAMED, else NULL */
	uint32_t ino_before, ino_now;	/* 0: not there */
	char type_before, type_now;	/* 'f' 'd' 'l' 'c' 'b' 'p' 's' '?', 0 */
	uint64_t size_before, size_now; /* bytes */

	/* For archives. */
	uint32_t dir_before, dir_now; /* the directories that hold the old and the new name */
	bool hides;    /* the old name lay in a directory that is still in its place */
	bool replaced; /* MODIFIED: by another file of the same name */
};

struct bow_diff;

/*
 * Can files be compared here? Those of ext2/3/4 can, without any help; those of others where the
 * kernel mounts them for us. Else *why_not says what is missing, as bow_diff_files() would.
 */
int bow_diff_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		   bool *possible, struct bowimg_error *why_not, struct bowimg_error *err);

/*
 * Compare the file systems in this window. -EOPNOTSUPP: there is none that can be, one with unknown
 * features, or what it takes to mount it is missing; -EUCLEAN, -EBADMSG: damaged, or with a journal
 * to replay.
 */
int bow_diff_files(const struct bow_diff_source *source, const struct bow_diff_options *opts,
		   struct bow_diff **out, struct bowimg_error *err);
void bow_diff_free(struct bow_diff *d);

/* Sorted by path, bytewise; one item for each path. */
const struct bow_diff_item *bow_diff_items(const struct bow_diff *d, size_t *n);

/* "regular file", ... */
const char *bow_diff_type_name(char type);

#endif
