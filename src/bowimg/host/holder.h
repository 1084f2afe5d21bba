/* SPDX-License-Identifier: MIT */
/* What keeps a device or a file system in use? For messages, so it may be not found. */
#ifndef BOW_HOST_HOLDER_H
#define BOW_HOST_HOLDER_H

#include <stdbool.h>
#include <sys/types.h>

struct bow_holder {
	char who[400];	/* "it is open in another process, 12 (cat)" */
	char hint[256]; /* one command, or words */
};

/* A process that has this disk or a partition of it open. */
bool bow_holder_of_device(dev_t disk, struct bow_holder *out);

/*
 * The same; or a process that uses files on it (after a lazy unmount), a device that is built on
 * it, or a mount of it in another mount namespace.
 */
bool bow_holder_of_disk(dev_t disk, struct bow_holder *out);

/* A process that has opened a file or directory through this mount, or whose directory it is. */
bool bow_holder_of_mount(unsigned id, struct bow_holder *out);

/* What may hold a file system. */
enum {
	BOW_HOLDER_FILES = 1,  /* processes that have files of it open, */
	BOW_HOLDER_DIRS = 2,   /* or directories, or that are in one */
	BOW_HOLDER_LOOPS = 4,  /* loop devices on its files */
	BOW_HOLDER_MOUNTS = 8, /* mounts of it, here and in other namespaces */
	BOW_HOLDER_ALL = 15,
};
bool bow_holder_of_fs(dev_t fs, unsigned kinds, struct bow_holder *out);

#endif
