/* SPDX-License-Identifier: MIT */
/* For mount, attach, run, umount and detach: daemon, loop device and mount, up and down. */
#ifndef BOW_SERVE_SERVICE_H
#define BOW_SERVE_SERVICE_H

#include "bowimg/serve/daemon.h"

struct bow_service_options {
	struct bow_serve_options serve;
	bool loop;		   /* a loop device on the disk */
	bool brief;		   /* until bow_service_let_go(), or this process ends */
	unsigned partition;	   /* on this partition of it; 0: on all of it */
	const char *fuse_dir;	   /* where to mount FUSE; NULL: a private place */
	const char *mount_dir;	   /* mount the loop device here; NULL: do not */
	const char *mount_options; /* for mount(8), or NULL */
	bool beside;		   /* also where only the disk as it was is shown so far */
};

struct bow_service {
	struct bow_session session;
	struct bow_child daemon; /* none, if it is `beside` and had one */
	bool beside;
	int signal_fd; /* SIGINT, SIGTERM and SIGHUP arrive here from now on */
	int loop_fd;   /* brief: holds the loop device; -1: nothing to hold */
	bool cleared;  /* what a killed daemon had left was taken away */
};

/*
 * Set everything up; after an error, everything is down again. The daemon still depends on this
 * process. -EBUSY: it is served already. -EINTR: a signal came; -EOPNOTSUPP: memory limits, see
 * host/memory.h.
 */
int bow_service_start(struct bow_service *s, const char *image,
		      const struct bow_service_options *opts, struct bowimg_error *err);

/* Let the daemon go on alone, when the command ends. */
int bow_service_leave(struct bow_service *s, struct bowimg_error *err);

/*
 * Brief: write back what the loop device has cached, and let go of it, so that it goes with its
 * last user. bow_service_stop() comes next, also after an error.
 */
int bow_service_let_go(struct bow_service *s, struct bowimg_error *err);

/* The path of the disk, for users: the loop device or the file. */
void bow_service_disk(const struct bow_service *s, char *out, size_t bytes);

/*
 * Take everything down; wait until all is on disk and the daemon is gone. -EBUSY: it is in use, and
 * nothing was changed. After any other error, too, the session is gone. *died: the daemon had been
 * killed, and what it left is cleared. Gives the session's lock back.
 */
int bow_service_stop(struct bow_session *e, bool *died, struct bowimg_error *err);

/* The same for the disk as it was, beside a disk that stays (before.h). */
int bow_service_stop_before(struct bow_session *e, bool *died, struct bowimg_error *err);

/* Does the disk's loop device stand on files that stay without it? And the same for that device. */
bool bow_service_has_files(const struct bow_session *e);
int bow_service_stop_device(struct bow_session *e, bool *died, struct bowimg_error *err);

#endif
