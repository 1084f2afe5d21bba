/* SPDX-License-Identifier: MIT */
/*
 * A directory with an image with an open checkpoint, served through FUSE: the file "disk", and
 * beside it, read-only, "before": the disk as it was at prepare. Or that one alone. Each partition
 * has files of its own, "disk1", "before1" and so on, named as the kernel names those of a device
 * "disk".
 */
#ifndef BOW_FRONTS_FUSE_H
#define BOW_FRONTS_FUSE_H

#include <stdbool.h>
#include "base/err.h"
#include "fronts/fuse_disk.h"
#include "fronts/parts.h"
#include "fronts/watchdog.h"

#define BOW_FUSE_FILE "disk"
#define BOW_FUSE_BEFORE "before"

struct bow_fuse;

/*
 * Make the session and mount it on dir, with files for these partitions. `image` is what the mount
 * is called.
 */
int bow_fuse_new(const struct bow_fuse_source *source, const struct bow_parts *parts,
		 const char *image, const char *dir, struct bow_watchdog *dog,
		 struct bow_fuse **out, struct bowimg_error *err);

/* With the one file, a volume that is lent to somebody before there is a checkpoint; no watchdog.
 */
int bow_fuse_new_volume(bowimg_volume *volume, const char *name, const char *dir,
			struct bow_fuse **out, struct bowimg_error *err);

/* With both files, for reading only, for a part of a disk that is looked at; no watchdog. */
int bow_fuse_new_sides(bowimg_look *look, uint64_t off, uint64_t bytes, const char *name,
		       const char *dir, struct bow_fuse **out, struct bowimg_error *err);

/* From now on, a hole that is punched in a volume says that its place is free. */
void bow_fuse_punched_is_free(struct bow_fuse *fuse);

/* The number of its connection in /sys/fs/fuse/connections. */
unsigned bow_fuse_connection(const struct bow_fuse *fuse);

/* Answer the kernel's first request, then start the threads; everything they need is allocated. */
int bow_fuse_start(struct bow_fuse *fuse, struct bowimg_error *err);

/* Readable once every thread has ended: unmounted, or cut off. */
int bow_fuse_ended_fd(const struct bow_fuse *fuse);

/* Readable once a file has been open and nobody has one open any more; reading it takes that back.
 */
int bow_fuse_closed_fd(const struct bow_fuse *fuse);
bool bow_fuse_is_open(const struct bow_fuse *fuse);

/* Wait until nobody has the file open, at most so long; else an end may cut off its last words. */
void bow_fuse_wait_closed(struct bow_fuse *fuse, int timeout_ms);

/*
 * Unmount (lazily, if it is still mounted), end the threads, release. -EIO if the connection was
 * cut off, or a flush that nobody waited for had failed.
 */
int bow_fuse_stop(struct bow_fuse *fuse, struct bowimg_error *err);

#endif
