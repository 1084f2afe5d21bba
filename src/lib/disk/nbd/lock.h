/* SPDX-License-Identifier: MIT */
/* The lock that the bowimgs of one machine have on an export: lock.c, lock_place.c. */
#ifndef BOW_DISK_NBD_LOCK_H
#define BOW_DISK_NBD_LOCK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/base/err.h"

/*
 * An export, as far as locks must tell it from others: exports that share either number are the
 * same. A socket keeps its inode whatever path leads to it. A server that comes back has another
 * socket on the same path, while the old one may still serve a client.
 */
struct bow_nbd_export {
	uint64_t by_name;  /* as the URI has it */
	uint64_t by_place; /* by the socket's inode, or by the address that was connected to */
	bool tls;
	char socket[PATH_MAX]; /* of the server; "": TCP */
};
void bow_nbd_export_set(struct bow_nbd_export *e, const char *uri);
/* For TCP: the export is now connected, by this descriptor. */
void bow_nbd_export_connected(struct bow_nbd_export *e, const char *uri, int fd);

struct bow_guard_user;

/* The holder of a lock. pid 0: not a process of this container, or not known. */
struct bow_nbd_holder {
	pid_t pid;
	uid_t uid;
};

/* ---- lock_place.c: the locks in one directory ------------------------------------ */

/*
 * A lock in one directory: a listening unix socket under a random name. The kernel ends it with the
 * process, or with the last process that inherited it; a name that is left means nothing then.
 * Zero-filled: none (with dir -1).
 */
struct bow_nbd_place {
	int dir, socket;
	pid_t pid; /* the process that took it and removes the name; not a child */
	uint64_t number;
	char name[64];
};
int bow_nbd_place_take(struct bow_nbd_place *p, const char *dir, const struct bow_nbd_export *e);
/* Take it, under the name for what is known of the export now. */
int bow_nbd_place_rename(struct bow_nbd_place *p, const struct bow_nbd_export *e);
void bow_nbd_place_give(struct bow_nbd_place *p);

/*
 * Looks in the directory for a lock on this export that counts, other than those named `mine` and
 * `mine_too`. Returns 1 with *holder, or 0.
 */
int bow_nbd_place_look(const char *dir, const struct bow_nbd_export *e, const char *mine,
		       const char *mine_too, struct bow_nbd_holder *holder);

/* ---- lock_access.c --------------------------------------------------------------- */

/* Could this user write to the export anyway? Then a lock of that user can do no more harm. */
bool bow_nbd_may_use(uid_t uid, const struct bow_nbd_export *e);

/* ---- lock.c ---------------------------------------------------------------------- */

/* The process's own lock, and one where all who share the export can see it. */
struct bow_nbd_lock {
	struct bow_nbd_place own, shared;
};

/* -EBUSY: another bowimg has it; the message names it. */
int bow_nbd_lock(const struct bow_nbd_export *e, const char *uri, struct bow_nbd_lock **out,
		 struct bowimg_error *err);
/*
 * The same lock, after each bow_nbd_export_connected(); it may turn out to be another's. A failure
 * leaves it held as far as it is.
 */
int bow_nbd_lock_connected(struct bow_nbd_lock *lock, const struct bow_nbd_export *e,
			   const char *uri, struct bowimg_error *err);
void bow_nbd_unlock(struct bow_nbd_lock *lock);

/* `user`, if not NULL, becomes the holder and what ends it. */
bool bow_nbd_is_locked(const struct bow_nbd_export *e, struct bow_guard_user *user);
/* By another process than this one? */
bool bow_nbd_is_locked_elsewhere(const struct bow_nbd_export *e);

#endif
