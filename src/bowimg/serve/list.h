/* SPDX-License-Identifier: MIT */
/* What this user has attached, mounted and served on this machine. Changes nothing.
 */
#ifndef BOW_SERVE_LIST_H
#define BOW_SERVE_LIST_H

#include "bowimg/serve/runtime.h"

enum bow_served_how { BOW_SERVED_MOUNT, BOW_SERVED_LOOP, BOW_SERVED_FUSE, BOW_SERVED_NBD };

struct bow_served {
	enum bow_served_how how;
	char dir[PATH_MAX];		     /* of its session, or "" */
	char image[PATH_MAX];		     /* absolute, or an NBD URI that is */
	char where[PATH_MAX + 16];	     /* a directory, a device, a file, or a URI; by `how` */
	char device[BOW_LOOP_NAME];	     /* the loop device, or "" */
	unsigned partition;		     /* the one that is served, 0: the whole disk */
	bool before_only;		     /* the disk as it was */
	char mark[BOWIMG_MARK_NAME_MAX + 1]; /* then: at this one, or "" at prepare */
	char before_dir[PATH_MAX]; /* where that is mounted besides, or the device, or "" */
	bool before_attached;	   /* it is a device */
	pid_t pid;
	int64_t since; /* seconds since the epoch; 0: not known */
	bool alive;    /* false: its process was killed */
};

/* A value other than 0 ends the walk and is returned. */
int bow_served_each(int (*one)(void *ctx, const struct bow_served *s), void *ctx,
		    struct bowimg_error *err);

/* The one on this image, by whatever name; a living one first. False: there is none. */
bool bow_served_find(const char *image, struct bow_served *out);

/* Does a command work on its session, or wait beside it as `run` does? */
bool bow_served_is_busy(const struct bow_served *s);

/* "mount", "loop", "fuse", "nbd". */
const char *bow_served_how_name(enum bow_served_how how);

#endif
