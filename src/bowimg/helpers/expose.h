/* SPDX-License-Identifier: MIT */
/*
 * For the library, when it cannot read a free map itself: expose a volume to a program as a file,
 * or to the kernel as a disk. Both use FUSE, and leave no trace in the file system: the mount is
 * detached from the tree as soon as its file is open, so it goes by itself, however this process
 * ends.
 */
#ifndef BOW_HELPERS_EXPOSE_H
#define BOW_HELPERS_EXPOSE_H

#include <limits.h>
#include "lib/base/err.h"

struct bow_fuse;

extern const struct bowimg_helpers bow_helpers;

/* How long the last user may take to close the file, in milliseconds: udev opens loop devices. */
#define BOW_EXPOSE_PATIENCE_MS 10000

/* ---- for those who expose something in this way ------------------------------------ */

/* Make a private directory for the mount. */
int bow_expose_make_dir(char dir[PATH_MAX], struct bowimg_error *err);

/*
 * Open the mount in `dir`, before it is detached: as long as this is open the mount does not end,
 * so the last close of its file arrives. The descriptor, or -errno.
 */
int bow_expose_hold(const char *dir, struct bowimg_error *err);

/* Open a file of that mount for reading, by a child. The descriptor, or -errno. */
int bow_expose_open(const char *path);

/* Its files are open: detach the mount from the tree. If that fails, it is done at the end. */
void bow_expose_detach(const char *dir);

/*
 * Wait until others have closed the files, close `hold` (-1: none), end the server (NULL: none) and
 * remove what is left of `dir`. Returns what ending the server returns.
 */
int bow_unexpose(struct bow_fuse *fuse, int hold, const char *dir, struct bowimg_error *err);

/* trim.c: the `trim` of the helpers. */
int bow_expose_trim(void *ctx, bowimg_disk *vol, const char *fs_type, struct bowimg_error *err);

/*
 * mount.c: the child that mounts the file it finds in `dir`, and trims. Returns its exit status.
 */
int bow_expose_mount(int sock, const char *dir, const char *fs_type);

/* The messages between that process and its parent, which serves the file, in this order. */
enum bow_expose_what {
	BOW_EXPOSE_SERVED = 1, /* to the child: the file is there */
	BOW_EXPOSE_MOUNTED,    /* from it: from now on, what is punched is free */
	BOW_EXPOSE_GO,	       /* to it: the parent counts it as free now */
	BOW_EXPOSE_DONE,       /* from it: everything is taken down; or the error */
};

#endif
