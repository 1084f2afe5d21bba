/* SPDX-License-Identifier: MIT */
/* The disk over NBD: an nbdkit with our plugin as a child process, on a unix socket. */
#ifndef BOW_FRONTS_NBD_H
#define BOW_FRONTS_NBD_H

#include <limits.h>
#include <sys/types.h>
#include <sys/un.h>
#include "base/err.h"

#define BOW_NBD_SOCKET_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

struct bow_nbd_options {
	enum bowimg_durability durability;
	unsigned force;
	const char *socket; /* its path; NULL: in a private directory, made for it */
	unsigned partition; /* only this one, by nbdkit's offset filter; 0: the whole disk */
	bool before;	    /* only the disk as it was at prepare; nothing is written */
	bool learn; /* an image without a checkpoint, to be ended by bow_nbd_stop_learning() */
};

struct bow_nbd {
	pid_t pid;
	int control;			 /* our end of what nbd_report.h describes */
	char image[PATH_MAX];		 /* absolute, or an NBD URI that is */
	char socket[BOW_NBD_SOCKET_MAX]; /* absolute, at most what a socket's name may be */
	char dir[BOW_NBD_SOCKET_MAX];	 /* the private directory, or "" */
	char uri[3 * BOW_NBD_SOCKET_MAX + 32];
};

/*
 * Returns when the image is open and clients can connect, or with an error and nothing left behind.
 * -EOPNOTSUPP: nbdkit or the plugin is not there. -EINTR: a signal came on signal_fd. The caller is
 * single-threaded.
 */
int bow_nbd_start(struct bow_nbd *s, const char *image, const struct bow_nbd_options *opts,
		  int signal_fd, struct bowimg_error *err);

/* Wait until a signal comes (returned), or the server ends by itself (0). */
int bow_nbd_wait(const struct bow_nbd *s, int signal_fd);

/*
 * Let the server make everything durable and end, even if clients are connected, and take the
 * socket away. An error if it did not end well; the image can then be opened as after a crash.
 */
int bow_nbd_stop(struct bow_nbd *s, struct bowimg_error *err);

/* The same, and the image gets a checkpoint with the free map that was learned. */
int bow_nbd_stop_learning(struct bow_nbd *s, const struct bowimg_prepare_options *opts,
			  struct bowimg_prepare_report *prepared, struct bowimg_error *err);

/* ---- nbd_socket.c ---------------------------------------------------------------------------- */

/*
 * Make the socket that s->socket (absolute then) and s->uri name and listen on it. One that a
 * killed server left is replaced. Returns the descriptor; -EBUSY: somebody listens there.
 */
int bow_nbd_listen(struct bow_nbd *s, const char *path, struct bowimg_error *err);

/* Take socket and private directory away. */
void bow_nbd_unlisten(struct bow_nbd *s);

/* ---- nbd_exec.c ------------------------------------------------------------------------------ */

/* 0 if nbdkit and the plugin are there, -EOPNOTSUPP if one is not. */
int bow_nbd_usable(struct bowimg_error *err);

/* Start nbdkit on s->image; sets s->pid and s->control. listen_fd stays the caller's. */
int bow_nbd_exec(struct bow_nbd *s, const struct bow_nbd_options *opts, int listen_fd,
		 struct bowimg_error *err);

#endif
