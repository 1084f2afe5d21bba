/* SPDX-License-Identifier: MIT */
/* The disks behind FUSE files: a disk as it is, and as it was. */
#ifndef BOW_FUSE_DISK_H
#define BOW_FUSE_DISK_H

#include <stdatomic.h>
#include "bowimg.h"

struct bow_parts;

/* At least one of the two is there. */
struct bow_fuse_source {
	bowimg_disk *disk;
	bowimg_disk *before;
	bool of_mark; /* `before` is as of a mark, and who wants prepare must say so */
	bool brief;   /* exposed for a while, by a process that may have its own file open */
	/*
	 * For a source of `before` alone, or NULL: called when the disk itself is opened for the
	 * first time, until that works; no request uses a disk meanwhile. Sets both in *now. After
	 * an error only `before`, which may be another handle by then, or NULL if it is lost.
	 */
	int (*open_disk)(void *ctx, struct bow_fuse_source *now);
	void *ctx;
	const struct bow_parts *parts_of_disk; /* then: for bow_fuse_new() */
};

struct bow_fuse_disk {
	struct bow_fuse_source source;
	atomic_bool punched_is_free; /* of a volume: a punched hole is a discard now */
};

uint64_t bow_fuse_disk_size(const struct bow_fuse_disk *disk);
/* `punch`: the request was to punch a hole, not to zero a range. */
int bow_fuse_disk_zero(struct bow_fuse_disk *disk, uint64_t off, uint64_t bytes, bool punch,
		       struct bowimg_error *err);

#endif
