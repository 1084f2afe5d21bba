/* SPDX-License-Identifier: MIT */
/* Between the guard_*.c files: each knows one way in which an image can be in use. */
#ifndef BOW_DEVICE_GUARD_H
#define BOW_DEVICE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Somebody who uses an image, in words that follow "in use: ", and what makes him let go. */
struct bow_guard_user {
	char who[256];
	char hint[224];
};

/*
 * The finders return 1 and fill *user, or 0, or -errno when the question cannot be answered.
 * `st` is the image's.
 */

/* guard_mounts.c: where is block device `dev` mounted? Only user->who: the mount point. */
int bow_guard_find_mount(dev_t dev, struct bow_guard_user *user);
/* Is the image (a file or a device) active swap space? */
int bow_guard_find_swap(const struct stat *st, struct bow_guard_user *user);
/* Does `path` lie on a FUSE mount other than device `dev`? Asking there could wait for ever. */
bool bow_guard_on_other_fuse(const char *path, dev_t dev);

/* guard_block.c: device `dev`, its partitions and everything built on them: mounted, swap, held? */
int bow_guard_find_block_user(dev_t dev, struct bow_guard_user *user);
/* "/dev/NAME" for a block device, by the kernel's name for it. */
void bow_guard_block_name(dev_t dev, char *name, size_t bytes);

/* guard_loop.c: is the image (a file or a device) behind a loop device? */
int bow_guard_find_loop(const struct stat *st, struct bow_guard_user *user);

/* guard_open.c: "process 12 (name)" that has fd's file open, or "another process". */
void bow_guard_name_opener(int fd, struct bow_guard_user *user);

/* guard_lock.c: does somebody else hold the locks that bow_guard_lock() takes, or conflicting ones?
 */
bool bow_guard_locked_by_other(int fd);

#endif
