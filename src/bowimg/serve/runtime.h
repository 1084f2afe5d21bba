/* SPDX-License-Identifier: MIT */
/*
 * The runtime directory: what the commands know of each other. It has one directory for each served
 * image, which is named after the image's device and inode number (or its NBD URI): root's are in
 * /run/bowimg, a user's in $XDG_RUNTIME_DIR/bowimg or /tmp/bowimg-UID. In it
 *
 *	lock		flock()ed by the command that sets up or takes down
 *	state.json	who serves what where; replaced as a whole, never rewritten
 *	result.json	how the daemon ended, written by it last
 *	refusal.json	why the daemon could not open the disk itself (disks.c)
 *	fuse/		the private FUSE mount under a loop device
 *
 * and beside these a file nbd-PID.json for each command that serves an image over NBD (servers.h).
 *
 * The life of a session. Only who holds the lock writes state.json.
 *
 *	state		in state.json			written by
 *	set up		pid 0				mount, attach, run: before the fork
 *	started		pid, start-time			the same, after the fork
 *	serving		connection			the same, with the daemon's report
 *	attached	loop				the same, with a loop device
 *	beside it	before-dir, before-loop, ...	mount and attach, umount and detach
 *	ended		(result.json is there)		the daemon
 *	killed		(no such process, no result)	the kernel; the next command clears up
 */
#ifndef BOW_SERVE_RUNTIME_H
#define BOW_SERVE_RUNTIME_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/base/err.h"
#include "bowimg/host/loop.h"

struct bow_session {
	char dir[PATH_MAX]; /* the session's directory */
	int lock_fd;	    /* -1: not locked by us */

	char image[PATH_MAX];	   /* absolute, or an NBD URI that is */
	char fuse_dir[PATH_MAX];   /* where FUSE is mounted */
	char mount_dir[PATH_MAX];  /* where the file system is mounted, or "" */
	char loop[BOW_LOOP_NAME];  /* "/dev/loop3", or "" */
	unsigned partition;	   /* the one that is served, 0: the whole disk */
	bool before_only;	   /* only the disk as it was is served */
	char before_dir[PATH_MAX]; /* where that is mounted beside a disk that is served, or "" */
	char before_loop[BOW_LOOP_NAME]; /* or the device as which it is attached beside, or "" */
	unsigned before_partition;	 /* the partition there, 0: the whole disk */
	char before_mark[BOWIMG_MARK_NAME_MAX + 1]; /* as of which mark it is there, "": prepare */
	char mark[BOWIMG_MARK_NAME_MAX + 1]; /* the daemon's file "before" is as of this one */
	bool named_before; /* bow_runtime_find(): what is beside was named, or the loop device; */
	bool named_loop;   /* neither is saved */
	bool disk_device;  /* a loop device goes on the disk itself, not only on what it was */
	bool wants_loop; /* the daemon lives with a loop device, even if not made yet, not with FUSE
			  */
	pid_t pid;	 /* the daemon, 0: not started yet */
	uint64_t start_time; /* of that process, to know it from a later one of the same number */
	unsigned connection; /* FUSE's, 0: none yet */
	unsigned partitions; /* that the daemon has found on the disk; not saved */
	enum bowimg_durability durability; /* of the disk itself, when the daemon opens it */
	unsigned force;
};

/* The file with the disk, and with the disk as it was; or with the partition of it that is served.
 */
void bow_session_disk(const struct bow_session *e, char *out, size_t bytes);
void bow_session_before(const struct bow_session *e, char *out, size_t bytes);

/*
 * Make or find the image's directory, lock it and read its state into *out. 1: there is a session.
 * 0: there is none (only dir, lock_fd and image are set). -EBUSY: another command works on it.
 */
int bow_runtime_enter(const char *image, struct bow_session *out, struct bowimg_error *err);

/*
 * The same by what a user names: an image, the directory where it is mounted, or the loop device
 * as which it is attached. -ENODATA: there is no session.
 */
int bow_runtime_find(const char *name, struct bow_session *out, struct bowimg_error *err);

/* Replace the state. */
int bow_session_save(const struct bow_session *e, struct bowimg_error *err);

/* For the daemon: lock it, unless another process has. */
bool bow_session_try_lock(struct bow_session *e);

/* Give the lock back; with `remove` the session's directory goes too. */
void bow_session_leave(struct bow_session *e, bool remove);

/* Is its daemon running? */
bool bow_session_alive(const struct bow_session *e);

/*
 * What the daemon leaves for the next command: BOW_RESULT, how it ended (code 0 means well), or
 * BOW_REFUSAL. Load: false if there is none. Forget: so that an earlier one's does not count.
 */
#define BOW_RESULT "result.json"
#define BOW_REFUSAL "refusal.json"
int bow_session_save_result(const struct bow_session *e, const char *name,
			    const struct bowimg_error *result);
bool bow_session_load_result(const struct bow_session *e, const char *name,
			     struct bowimg_error *result);
void bow_session_forget_result(const struct bow_session *e, const char *name);

/* ---- state.c: the files' content ------------------------------------------------- */

/* Reading returns 1; 0 if there is none, or it is not valid. */
int bow_state_write(const char *dir, const struct bow_session *e, struct bowimg_error *err);
int bow_state_read(const char *dir, struct bow_session *e);

/* The parts of that, for other files: an escaped text for json_pack(), which frees it (NULL: no
 * memory), and back; a new content (which is freed) that readers see as a whole or not at all. */
struct json_t;
struct json_t *bow_state_escaped(const char *text);
void bow_state_unescape(char *out, size_t bytes, const char *in);
int bow_state_replace(const char *dir, const char *name, struct json_t *root,
		      struct bowimg_error *err);

#endif
