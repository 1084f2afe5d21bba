/* SPDX-License-Identifier: MIT */
/* The serving process: its start, and the messages between it and the command. */
#ifndef BOW_SERVE_DAEMON_H
#define BOW_SERVE_DAEMON_H

#include "lib/base/child.h"
#include "lib/base/message.h"
#include "bowimg/serve/runtime.h"

struct bow_serve_options {
	enum bowimg_durability durability;
	unsigned force;
	unsigned stuck_after_s;	  /* 0: no watchdog */
	bool before;		  /* only the disk as it was; the image is not written */
	const char *mark;	  /* before: at this mark; NULL: at prepare */
	uint64_t writeback_bytes; /* as in bowimg_open_options */
	bool verbose;
};

/*
 * Fork the daemon. Returns when it serves e->fuse_dir, with e->pid, start_time, connection and
 * partitions set, or with the error that made it give up. -EINTR: a signal on signal_fd came first.
 * The caller has no threads. Until bow_daemon_background() the daemon takes everything down when
 * out->sock is closed.
 */
int bow_daemon_start(struct bow_session *e, const struct bow_serve_options *opts, int signal_fd,
		     struct bow_child *out, struct bowimg_error *err);

/*
 * A loop device has the disk open now: when it is closed, the service ends. Returns when the daemon
 * has its memory; nothing may be written to the device before. -EINTR as above.
 */
int bow_daemon_tie_to_loop(struct bow_child *daemon, int signal_fd, struct bowimg_error *err);

/* Let the daemon go on alone. */
int bow_daemon_background(struct bow_child *daemon, struct bowimg_error *err);

/* ---- daemon_main.c: inside the daemon -------------------------------------------- */

enum bow_daemon_what {
	BOW_DAEMON_SERVING = 1, /* from it, once: struct bow_daemon_report */
	BOW_DAEMON_TIED,	/* to it, and its answer: see bow_daemon_tie_to_loop() */
	BOW_DAEMON_BACKGROUND,	/* to it: see bow_daemon_background() */
};

struct bow_daemon_report {
	struct bow_message message; /* code 0: it serves */
	unsigned connection, partitions;
};

/* Returns the exit status. */
int bow_daemon_main(struct bow_session *e, const struct bow_serve_options *opts, int sock);

#endif
