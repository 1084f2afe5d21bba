/* SPDX-License-Identifier: MIT */
/*
 * What is mounted where, by /proc/self/mountinfo: a stat() of the path itself would wait for a file
 * system whose daemon may be stuck.
 */
#ifndef BOW_HOST_MOUNTS_H
#define BOW_HOST_MOUNTS_H

#include <stdbool.h>
#include "lib/base/err.h"
#include "lib/base/mountinfo.h"

/* As bow_mountinfo_each(), for the mounts that this process sees. */
int bow_mounts_each(int (*each)(void *ctx, const struct bow_mount *m), void *ctx,
		    struct bowimg_error *err);

/* The topmost mount at exactly this path. Returns 1 if it is found, 0 if there is none, -errno. */
int bow_mounts_at(const char *target, struct bow_mount *out, struct bowimg_error *err);

/* Is it of this block device, or of a partition of it? */
bool bow_mounts_is_on(const struct bow_mount *m, dev_t device);

/* Such a mount at another place than `except` (may be NULL). Returns as above. */
int bow_mounts_of(dev_t device, const char *except, struct bow_mount *out,
		  struct bowimg_error *err);

/* Is this device mounted at this place, and not covered there? */
bool bow_mounts_has(const char *target, dev_t device);

/*
 * Run mount(8), with nosuid and nodev unless `options` (or NULL) say otherwise; its own messages go
 * to standard error. -EIO: mount(8) failed. -EINTR: a signal came on signal_fd.
 */
int bow_mounts_add(const char *device, const char *target, const char *options, int signal_fd,
		   struct bowimg_error *err);

/*
 * mount_detached.c: mount a device read-only, without devices, set-user-ID and programs, and not in
 * the tree of files. The mount goes with the descriptor that is returned and all that were opened
 * through it, however their processes end. `option` is "flag" or "key=value", or NULL. -EOPNOTSUPP:
 * this kernel does not know `type`; other errors are the kernel's, with its message.
 */
int bow_mounts_detached(const char *type, const char *device, const char *option,
			struct bowimg_error *err);

/* Unmount all mounts of a device and its partitions. */
int bow_mounts_remove_all(dev_t device, int flags, struct bowimg_error *err);

/*
 * umount2() with MNT_* flags; without root by fusermount3, for a FUSE mount of the user. -EBUSY: it
 * is in use, and the message says by what.
 */
int bow_mounts_remove(const char *target, int flags, struct bowimg_error *err);

#endif
