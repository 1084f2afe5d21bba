/* SPDX-License-Identifier: MIT */
/*
 * The kernel's lists of mounts. What a mount is called (its source) is chosen by whoever makes it,
 * and any user can make a FUSE mount: what it is on is told by device numbers.
 */
#ifndef BOW_BASE_MOUNTINFO_H
#define BOW_BASE_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct bow_mount {
	unsigned id; /* of this mount, as statx() tells it of files that were opened through it */
	dev_t dev;   /* of the files on it; btrfs, FUSE and others have numbers of their own */
	/* What is too long for a system call stays too long for one. */
	char root[PATH_MAX + 1];   /* the part of the file system that is mounted */
	char target[PATH_MAX + 1]; /* where */
	char type[64];
	char source[PATH_MAX + 1]; /* what, as it was named when it was mounted */
	char options[1024];	   /* the file system's own; cut if longer */
};

#define BOW_MOUNTS "/proc/self/mountinfo"

/*
 * Calls `each` for every mount in such a file, in the order they were made; a non-zero return ends
 * and is returned. -errno: the file cannot be read.
 */
int bow_mountinfo_each(const char *file, int (*each)(void *ctx, const struct bow_mount *m),
		       void *ctx);

/* The block device that it is on, a partition or a whole disk; 0: on none, or on one of many. */
dev_t bow_mount_device(const struct bow_mount *m);

/* The disk that block device `dev` is a partition of, or 0. */
dev_t bow_block_disk(dev_t dev);

/* "/dev/NAME" for a block device, by the kernel's name for it. */
void bow_block_name(dev_t dev, char *name, size_t bytes);

/* The octal escapes of the kernel's tables undone, in place. */
void bow_mountinfo_unescape(char *text);

#endif
