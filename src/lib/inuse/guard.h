/* SPDX-License-Identifier: MIT */
/* Between the files of this room: each finds one way in which an image can be in use. */
#ifndef BOW_INUSE_GUARD_H
#define BOW_INUSE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* A user of an image, in words that follow "in use: ", and what ends that use. */
struct bow_guard_user {
	char who[256];
	char hint[256];
};

/*
 * The finders return 1 and fill *user, or 0, or -errno when the question cannot be answered.
 * `st` is the image's.
 */

/* mounts.c: where is block device `dev` mounted? Fills in only user->who, with the mount point. */
int bow_guard_find_mount(dev_t dev, struct bow_guard_user *user);
/* Is the image (a file or a device) active swap space? */
int bow_guard_find_swap(const struct stat *st, struct bow_guard_user *user);
/* Does `path` lie on a FUSE mount other than device `dev`? A look at it could wait for ever. */
bool bow_guard_on_other_fuse(const char *path, dev_t dev);

/* block.c: device `dev`, its partitions and everything built on them: mounted, swap, held? */
int bow_guard_find_block_user(dev_t dev, struct bow_guard_user *user);

/* The device number that the file DIR/name/dev holds; false if there is none. */
bool bow_guard_read_dev(const char *dir, const char *name, dev_t *dev);

/* A part of a file or device, in bytes; to: UINT64_MAX where its end is not known. */
struct bow_guard_part {
	uint64_t from, to;
};

/* loop.c: what a loop device is on. */
struct bow_guard_loop {
	struct stat st;	 /* of the file or device: type, and st_dev and st_ino or st_rdev, only */
	char path[4096]; /* as the kernel has it: it may lead elsewhere by now, or nowhere */
	struct bow_guard_part part; /* of it that the loop device shows */
};

/* As a finder; 0: it is no loop device, or is on nothing. */
int bow_guard_read_loop(dev_t dev, struct bow_guard_loop *loop);
/*
 * Is loop device `name` on this file or device, and does it show some of this part (NULL: any
 * part)?
 */
bool bow_guard_loop_shows(const char *name, const struct stat *st,
			  const struct bow_guard_part *part);

/* block.c: is the image (a file or a device) behind a loop device? */
int bow_guard_find_loop(const struct stat *st, struct bow_guard_user *user);
/* Behind a loop device other than `own`, which shows some of this part of it? */
int bow_guard_find_other_loop(const struct stat *st, dev_t own, const struct bow_guard_part *part,
			      struct bow_guard_user *user);

/* below.c: does a program write to what block device `dev` is on, all the way down? */
int bow_guard_find_below(dev_t dev, struct bow_guard_user *user);

/* open.c: "process 12 (name)" that has fd's file open, or "another process". */
void bow_guard_name_opener(int fd, struct bow_guard_user *user);
/* The same for process number `pid`, as text. */
void bow_guard_name_process(const char *pid, struct bow_guard_user *user);

/* writer.c: does this descriptor, in a directory /proc/PID/fd, lead to the same file? */
bool bow_guard_leads_to(int dir_fd, const char *name, const struct stat *st);
/* Which other process has the file or device open for writing, by any name? */
int bow_guard_find_writer(const struct stat *st, struct bow_guard_user *user);

/* lock.c: does another process hold the locks of bow_guard_lock(), or conflicting ones? */
bool bow_guard_locked_by_other(int fd);
/* Would a lock on these bytes, the last one included, be in conflict with them? */
bool bow_guard_bytes_matter(int64_t first, int64_t last);

/* listed.c: the same for a file that cannot be opened here. */
bool bow_guard_is_listed(const struct stat *st);

#endif
