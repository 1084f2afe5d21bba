/* SPDX-License-Identifier: MIT */
/* The serving process: started by a command, told when to go to the background, waited for. */
#ifndef BOW_FRONTS_DAEMON_H
#define BOW_FRONTS_DAEMON_H

#include "fronts/runtime.h"

struct bow_serve_options {
	enum bowimg_durability durability;
	unsigned force;
	unsigned stuck_after_s; /* 0: no watchdog */
	bool before;		/* only the disk as it was; the image is not written */
	bool verbose;
};

/* The command's side of a daemon it has started. */
struct bow_daemon {
	pid_t pid;
	int control; /* closed without bow_daemon_background(): the daemon takes everything down */
};

/*
 * Fork it; returns once it serves e->fuse_dir, with e->pid, start_time and connection set, or with
 * the error that made it give up. -EINTR: a signal on signal_fd came first. The caller is
 * single-threaded.
 */
int bow_daemon_start(struct bow_entry *e, const struct bow_serve_options *opts, int signal_fd,
		     struct bow_daemon *out, struct bowimg_error *err);

/* A loop device has the disk open now: when it is closed, the service ends. */
int bow_daemon_tie_to_loop(struct bow_daemon *daemon, struct bowimg_error *err);

/* Let it go on alone. */
int bow_daemon_background(struct bow_daemon *daemon, struct bowimg_error *err);

/* ---- daemon_main.c: inside the daemon ------------------------------------------------------- */

/* What goes over the control pipe. */
enum { BOW_CONTROL_TIED = 'L', BOW_CONTROL_BACKGROUND = 'B' };

/* What comes back once. */
struct bow_daemon_report {
	struct bowimg_error err; /* code 0: it serves */
	unsigned connection;
};

_Noreturn void bow_daemon_main(struct bow_entry *e, const struct bow_serve_options *opts,
			       int control, int report);

#endif
