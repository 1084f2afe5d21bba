/* SPDX-License-Identifier: MIT */
/* The disk over NBD: nbdkit with our plugin as a child process, on a unix socket. */
#ifndef BOW_NBD_NBD_H
#define BOW_NBD_NBD_H

#include <limits.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include "lib/base/child.h"
#include "lib/base/err.h"
#include "nbdkit/report.h"

#define BOW_NBD_SOCKET_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

struct bow_nbd_options {
	enum bowimg_durability durability;
	unsigned force;
	const char *socket; /* its path; NULL: in a new private directory */
	unsigned partition; /* by nbdkit's offset filter; 0: the whole disk */
	bool before;	    /* only the disk as it was, read-only */
	const char *mark;   /* before: at this mark; NULL: at prepare */
	bool track; /* discards of an image without a checkpoint; ends by bow_nbd_stop_tracker() */
};

#define BOW_NBD_DEATHS 10u /* within BOW_NBD_DEATHS_SEC: then the server is not started again */
#define BOW_NBD_DEATHS_SEC 60

struct bow_nbd {
	struct bow_child child;	       /* nbdkit; nbdkit/report.h says what its socket carries */
	int listening, carry, cache;   /* what the next nbdkit takes over; cache -1: it has none */
	struct bow_nbd_options opts;   /* for starting it again */
	time_t deaths[BOW_NBD_DEATHS]; /* when the last ones were; 0: there was none */
	unsigned next_death;
	bool ended; /* there is no server any more; `last` says why */
	struct bow_nbd_report last;
	char image[PATH_MAX];		 /* absolute, or an NBD URI that is */
	char socket[BOW_NBD_SOCKET_MAX]; /* absolute */
	char dir[BOW_NBD_SOCKET_MAX];	 /* the private directory, or "" */
	int dir_lock;			 /* open as long as the directory is in use */
	char uri[3 * BOW_NBD_SOCKET_MAX + 32];
};

/*
 * Returns when the image is open and clients can connect. After an error nothing is left behind.
 * -EOPNOTSUPP: nbdkit or the plugin is missing. -EINTR: a signal came on signal_fd. The caller has
 * no threads.
 */
int bow_nbd_start(struct bow_nbd *s, const char *image, const struct bow_nbd_options *opts,
		  int signal_fd, struct bowimg_error *err);

/*
 * To be called when s->child.sock can be read: the server has sent a report, or died. If it died,
 * it is started again, and clients can connect again; what was acknowledged is not lost.
 */
void bow_nbd_attend(struct bow_nbd *s);

/* Attend until a signal comes, which is returned, or the server has ended: 0. */
int bow_nbd_wait(struct bow_nbd *s, int signal_fd);

/*
 * Let the server make everything durable and end, even if clients are connected, and remove the
 * socket. After an error the image can be opened as after a crash.
 */
int bow_nbd_stop(struct bow_nbd *s, struct bowimg_error *err);

/* The same, and the image gets a checkpoint whose free map is what its clients discarded. */
int bow_nbd_stop_tracker(struct bow_nbd *s, const struct bowimg_prepare_options *opts,
			 struct bowimg_prepare_report *prepared, struct bowimg_error *err);

/* ---- socket.c -------------------------------------------------------------------- */

/*
 * Make a socket at `path` (NULL: in a private directory), listen on it, set s->socket and s->uri. A
 * socket that a killed server left is replaced. Returns the descriptor. -EBUSY: another server
 * listens on it.
 */
int bow_nbd_listen(struct bow_nbd *s, const char *path, struct bowimg_error *err);

/* Remove the socket and the private directory. */
void bow_nbd_unlisten(struct bow_nbd *s);

/* ---- dir.c ----------------------------------------------------------------------- */

/* Make the private directory s->dir, and remove those that killed processes left. */
int bow_nbd_make_dir(struct bow_nbd *s, struct bowimg_error *err);
/* Remove it, if there is one. It must be empty. */
void bow_nbd_remove_dir(struct bow_nbd *s);

/* ---- exec.c ---------------------------------------------------------------------- */

/* 0 if nbdkit and the plugin are there, -EOPNOTSUPP if one is missing. */
int bow_nbd_usable(struct bowimg_error *err);

/* Start nbdkit on s->image, as s->opts say; sets s->child. */
int bow_nbd_exec(struct bow_nbd *s, struct bowimg_error *err);

#endif
