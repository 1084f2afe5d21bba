/* SPDX-License-Identifier: MIT */
/*
 * What is mounted where. Everything is read from /proc/self/mountinfo: a stat() of the path itself
 * would wait for a file system whose daemon may be stuck.
 */
#ifndef BOW_FRONTS_MOUNTS_H
#define BOW_FRONTS_MOUNTS_H

#include <limits.h>
#include <stdbool.h>
#include "base/err.h"

struct bow_mount {
	unsigned major, minor;
	char root[PATH_MAX];   /* the part of the file system that is mounted */
	char target[PATH_MAX]; /* where */
	char type[64];
	char source[PATH_MAX]; /* what, as it was named when it was mounted */
	char options[1024];    /* the file system's own; cut if longer */
};

/* Calls `each` for every mount, in the order they were made; a non-zero return ends and is
 * returned. */
int bow_mounts_each(int (*each)(void *ctx, const struct bow_mount *m), void *ctx,
		    struct bowimg_error *err);

/* The topmost mount at exactly this path: 1 found, 0 none, -errno. */
int bow_mounts_at(const char *target, struct bow_mount *out, struct bowimg_error *err);

/*
 * A mount of this device, or of a partition of it, at another place than `except` (may be NULL): 1
 * found, 0 none, -errno. By name, because file systems like btrfs have device numbers of their own.
 */
int bow_mounts_of(const char *device, const char *except, struct bow_mount *out,
		  struct bowimg_error *err);

/* Is this device mounted at this place? */
bool bow_mounts_has(const char *target, const char *device);

/* Run mount(8); its own messages go to standard error. Refused: -EIO. A signal on signal_fd:
 * -EINTR. */
int bow_mounts_add(const char *device, const char *target, const char *options, int signal_fd,
		   struct bowimg_error *err);

/*
 * mount_detached.c: mount what is on a device for reading only, without devices, set-user-ID and
 * programs, at no place in the tree of files: it goes with the descriptor that is returned and all
 * that were opened through it, however their processes end. `option` is "flag" or "key=value", or
 * NULL. -EOPNOTSUPP: this kernel does not know `type`; else what the kernel says, with its words.
 */
int bow_mounts_detached(const char *type, const char *device, const char *option,
			struct bowimg_error *err);

/* umount2() with MNT_* flags; as a user for a FUSE mount of his own by fusermount3. -EBUSY if in
 * use. */
int bow_mounts_remove(const char *target, int flags, struct bowimg_error *err);

#endif
