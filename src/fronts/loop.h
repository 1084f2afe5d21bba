/* SPDX-License-Identifier: MIT */
/* Loop devices on the disk file of a FUSE mount. Nothing here asks the file itself for anything. */
#ifndef BOW_FRONTS_LOOP_H
#define BOW_FRONTS_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

#define BOW_LOOP_NAME 32

struct bow_loop {
	int fd;
	char path[BOW_LOOP_NAME]; /* "/dev/loop3" */
};

/* Can this process make loop devices? */
bool bow_loop_usable(void);

/* What a loop device takes over from the disk that it stands for. */
struct bow_loop_options {
	bool partitions;       /* it may have partitions */
	bool readonly;	       /* not even a file system with a journal to replay can write */
	uint32_t sector_bytes; /* logical sectors */
};

/* The sectors that a loop device for this image or device should have. */
int bow_loop_ask(const char *image, struct bow_loop_options *out, struct bowimg_error *err);

/*
 * A free loop device with direct I/O on `file`. Until bow_loop_keep() the kernel takes it away when
 * out->fd and every other opener are closed, however this process ends.
 */
int bow_loop_attach(const char *file, const struct bow_loop_options *opts, struct bow_loop *out,
		    struct bowimg_error *err);

/*
 * Make devices for its partitions, as far as the kernel has not found them itself: /dev/loop3p1 and
 * so on.
 */
int bow_loop_add_partitions(const struct bow_loop *loop, struct bowimg_error *err);

/* From now on it stays without an opener. */
int bow_loop_keep(const struct bow_loop *loop, struct bowimg_error *err);

/* Is this device (still) on this file? */
bool bow_loop_is_on(const char *device, const char *file);

/* The device on this file: true and its path. */
bool bow_loop_find(const char *file, char device[BOW_LOOP_NAME]);

/* Write back what is cached, then detach. Somebody else has it open: -EBUSY, and it stays. */
int bow_loop_detach(const char *device, const char *file, struct bowimg_error *err);

/* Let the kernel detach it as soon as the last one has closed it. */
int bow_loop_release(const char *device, const char *file, struct bowimg_error *err);

/* -EBUSY with the place if a file system on it is mounted elsewhere than at `except` (or NULL). */
int bow_loop_refuse_mounted(const char *device, const char *except, struct bowimg_error *err);

#endif
