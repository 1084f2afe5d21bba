/* SPDX-License-Identifier: MIT */
/* What mount, attach, run, umount and detach do: daemon, loop device and mount, up and down again.
 */
#ifndef BOW_FRONTS_SERVICE_H
#define BOW_FRONTS_SERVICE_H

#include "fronts/daemon.h"

struct bow_service_options {
	struct bow_serve_options serve;
	bool loop;		   /* a loop device on the disk */
	unsigned partition;	   /* on this partition of it; 0: on all of it */
	const char *fuse_dir;	   /* where to mount FUSE; NULL: a private place */
	const char *mount_dir;	   /* mount the loop device here; NULL: do not */
	const char *mount_options; /* for mount(8), or NULL */
};

struct bow_service {
	struct bow_entry entry;
	struct bow_daemon daemon;
	int signal_fd; /* SIGINT, SIGTERM and SIGHUP arrive here from now on */
	bool cleared;  /* what a killed daemon had left was taken away first */
};

/*
 * Everything up, or everything down again and an error; the daemon still depends on this process.
 * -EBUSY: it is served already. -EINTR: a signal came; -EOPNOTSUPP: memory limits, see memory.h.
 */
int bow_service_start(struct bow_service *s, const char *image,
		      const struct bow_service_options *opts, struct bowimg_error *err);

/* Let the daemon go on alone; the end of a command that only starts it. */
int bow_service_leave(struct bow_service *s, struct bowimg_error *err);

/* The path of the disk for a command: the loop device or the file. */
void bow_service_disk(const struct bow_service *s, char *out, size_t bytes);

/*
 * Everything down, and wait until all is on disk and the daemon is gone. -EBUSY: somebody uses it,
 * and nothing was changed. Otherwise the entry is gone and an error is what went wrong at the end.
 * *died: the daemon had been killed, and what it left is cleared. The entry's lock is given back.
 */
int bow_service_stop(struct bow_entry *e, bool *died, struct bowimg_error *err);

/* The same for the mount of the disk as it was, beside a disk that stays (service_before.h). */
int bow_service_stop_before(struct bow_entry *e, bool *died, struct bowimg_error *err);

#endif
