/* SPDX-License-Identifier: MIT */
/* Loop devices on the disk file of a FUSE mount. Nothing here uses the file itself. */
#ifndef BOW_HOST_LOOP_H
#define BOW_HOST_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/base/err.h"

#define BOW_LOOP_NAME 32

struct bow_loop {
	int fd;
	char path[BOW_LOOP_NAME]; /* "/dev/loop3" */
};

/* Can this process make loop devices? */
bool bow_loop_usable(void);

/* What a loop device has in common with its disk. */
struct bow_loop_options {
	bool partitions;       /* it may have partitions */
	bool readonly;	       /* a file system cannot even replay its journal */
	uint32_t sector_bytes; /* logical sectors */
};

/* The sectors that a loop device for this image or device should have. */
int bow_loop_ask(const char *image, struct bow_loop_options *out, struct bowimg_error *err);

/*
 * Attach a free loop device to `file`, with direct I/O. Until bow_loop_keep() the kernel takes it
 * away when out->fd and all other descriptors of it are closed, however this process ends.
 */
int bow_loop_attach(const char *file, const struct bow_loop_options *opts, struct bow_loop *out,
		    struct bowimg_error *err);

/*
 * Make devices for partitions that the kernel has not found itself: /dev/loop3p1 and so on. A
 * failure is a notice and no error: the whole disk is there.
 */
void bow_loop_add_partitions(const struct bow_loop *loop);

/* From now on it stays when nothing has it open. */
int bow_loop_keep(const struct bow_loop *loop, struct bowimg_error *err);

/* Its device number; 0: there is no such device, or nothing is attached to it. */
dev_t bow_loop_number(const char *device);

/* The file of file system `fs`, or the block device, that it is attached to. False: none. */
struct bow_loop_backing {
	dev_t fs, device;
};
bool bow_loop_ask_backing(const char *device, struct bow_loop_backing *out);

/* A file in /sys/block/loopN/loop, without the newline at its end. */
bool bow_loop_sysfs(const char *device, const char *name, char *out, size_t bytes);

/* Calls `each` for every loop device; a non-zero return ends and is returned. */
int bow_loop_each(int (*each)(void *ctx, const char *device), void *ctx);

/*
 * Is this device (still) attached to this file, which is or was on the file system of device number
 * `fs`? If `fs` is 0, the path decides.
 */
bool bow_loop_is_on(const char *device, const char *file, dev_t fs);

/* Find a device that is attached to this file. */
bool bow_loop_find(const char *file, dev_t fs, char device[BOW_LOOP_NAME]);

/* ---- loop_detach.c --------------------------------------------------------------- */

/*
 * Write back what is cached, then detach. -EBUSY: another process has it open, and it stays, unless
 * it was to go with its last user anyway.
 */
int bow_loop_detach(const char *device, const char *file, dev_t fs, struct bowimg_error *err);

/* Let the kernel detach it with its last close. */
int bow_loop_release(const char *device, const char *file, dev_t fs, struct bowimg_error *err);

/*
 * -EBUSY if a process has it or a partition of it open; this waits for short ones (udev). Unless it
 * is `mounted`, other holders count as well: file systems that are mounted in another namespace or
 * were unmounted lazily, devices built on it.
 */
int bow_loop_refuse_open(const char *device, bool mounted, struct bowimg_error *err);

/* -EBUSY with the place if a file system on it is mounted elsewhere than at `except` (or NULL). */
int bow_loop_refuse_mounted(const char *device, const char *except, struct bowimg_error *err);

#endif
