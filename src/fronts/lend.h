/* SPDX-License-Identifier: MIT */
/*
 * What the library asks for when it cannot read a free map itself: a volume shown to a program as a
 * file, or to the kernel as a disk. Both through FUSE, and without a trace in the file system: the
 * mount is taken out of sight as soon as somebody has the file open, so that it goes by itself,
 * however this process ends.
 */
#ifndef BOW_FRONTS_LEND_H
#define BOW_FRONTS_LEND_H

#include <limits.h>
#include "base/err.h"

struct bow_fuse;

extern const struct bowimg_helpers bow_lend_helpers;

/* How long the last user may take to close the file, in milliseconds: udev looks at loop devices.
 */
#define BOW_LEND_PATIENCE_MS 10000

/* ---- for those who show something in this way
 * -----------------------------------------------------------------------
 */

/* A private directory for the mount. */
int bow_lend_make_dir(char dir[PATH_MAX], struct bowimg_error *err);

/*
 * A hold on the mount in `dir`, which is going to be hidden: it must not end while the last close
 * of its file is on its way. -errno.
 */
int bow_lend_hold(const char *dir, struct bowimg_error *err);

/* Open a file of that mount for reading, by another process; the descriptor, or -errno. */
int bow_lend_open(const char *path);

/* Its files are open: take the mount out of sight. If that is refused, it is done at the end. */
void bow_lend_hide(const char *dir);

/*
 * Wait until others have closed the files, let go of the hold (-1: none), end the server (NULL:
 * none) and remove what is left of `dir`. What ending the server returns.
 */
int bow_lend_take_down(struct bow_fuse *fuse, int hold, const char *dir, struct bowimg_error *err);

/* lend_trim.c: the `trim` of the helpers. */
int bow_lend_trim(void *ctx, bowimg_volume *vol, const char *fs_type, struct bowimg_error *err);

/* lend_mount.c: the process that mounts what it finds in `dir`, and trims. Ends by _exit(). */
_Noreturn void bow_lend_mount(int sock, const char *dir, const char *fs_type);

/* What that process and the one that serves say to each other, in packets of this size. */
enum bow_lend_what {
	BOW_LEND_SERVED = 1, /* to it: the file is there */
	BOW_LEND_MOUNTED,    /* from it: what is punched from now on is free */
	BOW_LEND_GO,	     /* to it: that is understood */
	BOW_LEND_DONE,	     /* from it: all is taken down, or `err` */
};

struct bow_lend_packet {
	enum bow_lend_what what;
	struct bowimg_error err;
};

#endif
