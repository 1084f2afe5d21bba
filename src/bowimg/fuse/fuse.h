/* SPDX-License-Identifier: MIT */
/*
 * An image with an open checkpoint, served through FUSE as a directory. It has the file "disk" and,
 * read-only, "before", the disk as it was at prepare; or only the latter, as of prepare or a mark.
 * Each partition has files of its own, "disk1", "before1" and so on, named as the kernel does for a
 * device "disk". Beside "disk", "before@NAME" and "before1@NAME" are there for each mark, though
 * not in the list of files: whoever asks for them must know the mark. So is "disk" beside "before"
 * alone, until it is opened for writing, if it can be (bow_fuse_source.open_disk). What "before"
 * was by then it stays: if it is as of a mark, prepare is "before@prepare".
 */
#ifndef BOW_FUSE_FUSE_H
#define BOW_FUSE_FUSE_H

#include <stdbool.h>
#include "lib/base/err.h"
#include "bowimg/fuse/disk.h"
#include "bowimg/host/parts.h"
#include "bowimg/host/watchdog.h"

#define BOW_FUSE_FILE "disk"
#define BOW_FUSE_BEFORE "before"
#define BOW_FUSE_AT '@'
#define BOW_FUSE_AT_PREPARE "prepare" /* where "before" is as of a mark; no mark has this name */

struct bow_fuse;

/* 0 if a mount can succeed here; -EOPNOTSUPP: what is missing. */
int bow_fuse_usable(struct bowimg_error *err);

/* Make the session and mount it on dir, with files for these partitions. `image` names the mount.
 */
int bow_fuse_new(const struct bow_fuse_source *source, const struct bow_parts *parts,
		 const char *image, const char *dir, struct bow_watchdog *dog,
		 struct bow_fuse **out, struct bowimg_error *err);

/*
 * The same for a process that may have the files open itself, without partitions and without a
 * watchdog. `before` may be NULL.
 */
int bow_fuse_new_brief(bowimg_disk *disk, bowimg_disk *before, const char *name, const char *dir,
		       struct bow_fuse **out, struct bowimg_error *err);

/* From now on, a hole that is punched in a volume is a discard. */
void bow_fuse_punched_is_free(struct bow_fuse *fuse);

/* The number of its connection in /sys/fs/fuse/connections. */
unsigned bow_fuse_connection(const struct bow_fuse *fuse);

/* Answer the kernel's first request, then start the threads with all the memory they need. */
int bow_fuse_start(struct bow_fuse *fuse, struct bowimg_error *err);

/* Readable when all threads have ended: it was unmounted, or cut off. */
int bow_fuse_ended_fd(const struct bow_fuse *fuse);

/* Readable when the last open file was closed; reading it resets that. */
int bow_fuse_closed_fd(const struct bow_fuse *fuse);
bool bow_fuse_is_open(const struct bow_fuse *fuse);

/* Wait until no file is open, at most so long: ending earlier could cut off their last requests. */
void bow_fuse_wait_closed(struct bow_fuse *fuse, int timeout_ms);

/*
 * Unmount (lazily, if it is still mounted), end the threads, release. -EIO: the connection was cut
 * off. Any other error: the first of a flush after the last close, or of a write to a mapping.
 */
int bow_fuse_stop(struct bow_fuse *fuse, struct bowimg_error *err);

#endif
