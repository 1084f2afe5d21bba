/* SPDX-License-Identifier: MIT */
/*
 * Both versions of a part of a disk, mounted for reading. Another process exposes them as files,
 * since a process that serves a file and waits for the kernel to use it cannot be killed. This
 * process holds the loop devices and the mounts, which have no place in the tree of files: nothing
 * is left behind if either process is killed. Nothing can be written, as the image is open for
 * reading only.
 */
#ifndef BOW_DIFF_MOUNTED_MOUNT_H
#define BOW_DIFF_MOUNTED_MOUNT_H

#include "lib/base/err.h"
#include "bowimg/diff/diff.h"
#include "bowimg/host/loop.h"

struct bow_views;

/* Needs root. `image` is for messages; its device gives the sector size. */
int bow_views_open(const struct bow_diff_source *source, const char *image, uint64_t off,
		   uint64_t bytes, struct bow_views **out, struct bowimg_error *err);
void bow_views_close(struct bow_views *v); /* unmounts; accepts NULL */

/*
 * Attach and mount one version; the descriptor of the mount, which is borrowed. -EROFS: it has a
 * log that must be replayed first.
 */
int bow_views_mount(struct bow_views *v, enum bow_version version, const char *driver,
		    const char *option, struct bowimg_error *err);
void bow_views_unmount(struct bow_views *v, enum bow_version version);

/* ---- mount_server.c: the other process ------------------------------------------- */

/* Its only message. The descriptors of both versions follow, in the order of enum bow_version. */
enum { BOW_VIEWS_READY = 1 };

/* Serves until the other end of the socket is closed. Returns the exit status. */
int bow_views_serve(int sock, const struct bow_diff_source *source, uint64_t off, uint64_t bytes);

#endif
