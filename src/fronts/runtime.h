/* SPDX-License-Identifier: MIT */
/*
 * The runtime directory: what the commands know of each other. One directory per served image,
 * named after its device and inode number (or its NBD URI's): root's in /run/bowimg, a user's in
 *$XDG_RUNTIME_DIR/bowimg or /tmp/bowimg-UID. In it
 *
 *	lock		flock()ed by the command that sets up or takes down
 *	state.json	who serves what where; replaced as a whole, never rewritten
 *	result.json	how the daemon ended, written by it last
 *	fuse/		the private FUSE mount under a loop device
 */
#ifndef BOW_FRONTS_RUNTIME_H
#define BOW_FRONTS_RUNTIME_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"
#include "fronts/loop.h"

struct bow_entry {
	char dir[PATH_MAX]; /* of the entry itself */
	int lock_fd;	    /* -1: not locked by us */

	char image[PATH_MAX];	   /* absolute, or an NBD URI that is */
	char fuse_dir[PATH_MAX];   /* where FUSE is mounted */
	char mount_dir[PATH_MAX];  /* where the file system is mounted, or "" */
	char loop[BOW_LOOP_NAME];  /* "/dev/loop3", or "" */
	unsigned partition;	   /* the one that is meant, 0: the whole disk */
	bool before_only;	   /* the disk as it was is all that is served */
	char before_dir[PATH_MAX]; /* where that is mounted beside a disk that is served, or "" */
	unsigned before_partition; /* and which part of it */
	bool named_before;	   /* bow_runtime_find(): that directory was named; not saved */
	bool wants_loop;	   /* a loop device belongs to it, even if not made yet */
	pid_t pid;		   /* the daemon, 0: not started yet */
	uint64_t start_time; /* of that process, to know it from a later one of the same number */
	unsigned connection; /* FUSE's, 0: none yet */
};

/* The path of the disk, and of the disk as it was, or of the partitions that are meant, as files.
 */
void bow_entry_disk(const struct bow_entry *e, char *out, size_t bytes);
void bow_entry_before(const struct bow_entry *e, char *out, size_t bytes);

/*
 * Make or find the image's directory, lock it and read its state into *out. 1: there is one. 0:
 * none (only dir, lock_fd and image are set). -EBUSY: another command works on it.
 */
int bow_runtime_enter(const char *image, struct bow_entry *out, struct bowimg_error *err);

/*
 * The same by what a user names: an image, or the directory where one is mounted. -ENODATA: nothing
 * is there.
 */
int bow_runtime_find(const char *name, struct bow_entry *out, struct bowimg_error *err);

/* Replace the state. */
int bow_entry_save(const struct bow_entry *e, struct bowimg_error *err);

/* For the daemon: lock it if nobody else has. */
bool bow_entry_try_lock(struct bow_entry *e);

/* Give the lock back; with `remove` the entry goes too. */
void bow_entry_leave(struct bow_entry *e, bool remove);

/* Is its daemon running? */
bool bow_entry_alive(const struct bow_entry *e);

/* How the daemon ended: err->code 0 means well. Reading: false if it said nothing. */
int bow_entry_save_result(const struct bow_entry *e, const struct bowimg_error *result);
bool bow_entry_load_result(const struct bow_entry *e, struct bowimg_error *result);

/* ---- state.c: the files' content ------------------------------------------------------------ */

int bow_state_write(const char *dir, const struct bow_entry *e, struct bowimg_error *err);
/* 1 read, 0 there is none (or it makes no sense). */
int bow_state_read(const char *dir, struct bow_entry *e);

#endif
