/* SPDX-License-Identifier: MIT */
/* Starting the daemon, from the command's side. */
#include "bowimg/serve/daemon.h"

#include <unistd.h>

#include "bowimg/host/process.h"

struct start {
	struct bow_session *session;
	const struct bow_serve_options *opts;
};

static int run(int sock, void *ctx)
{
	const struct start *start = ctx;

	return bow_daemon_main(start->session, start->opts, sock);
}

/* The daemon's report, or an error if it ended without one. */
static int read_report(struct bow_session *e, int sock, int signal_fd, struct bowimg_error *err)
{
	struct bow_daemon_report report;

	int ret = bow_process_wait_fd(sock, signal_fd);
	if (ret == -EINTR)
		return bow_err(err, -EINTR, "cannot serve %s: interrupted by a signal", e->image);
	if (ret || bow_packet_recv(sock, &report, sizeof(report))) {
		ret = bow_err(err, -EIO, "cannot serve %s: the daemon ended unexpectedly",
			      e->image);
		bow_err_hint(err, "was it killed for want of memory? see dmesg and the system log");
		return ret;
	}
	if (report.message.err.code && err)
		*err = report.message.err;
	e->connection = report.connection;
	e->partitions = report.partitions;
	return report.message.err.code;
}

static int wait_ready(struct bow_session *e, const struct bow_child *daemon, int signal_fd,
		      struct bowimg_error *err)
{
	e->pid = daemon->pid;
	e->start_time = bow_process_start_time(daemon->pid);
	int ret = bow_session_save(e, err);
	if (!ret)
		ret = read_report(e, daemon->sock, signal_fd, err);
	if (!ret)
		ret = bow_session_save(e, err);
	return ret;
}

int bow_daemon_start(struct bow_session *e, const struct bow_serve_options *opts, int signal_fd,
		     struct bow_child *out, struct bowimg_error *err)
{
	struct start start = {e, opts};
	struct bow_child daemon = BOW_NO_CHILD;
	int ret = bow_child_fork(&daemon, run, &start);

	ret = ret ? bow_err_errno(err, ret, "cannot start the daemon for %s", e->image)
		  : wait_ready(e, &daemon, signal_fd, err);
	if (ret)
		bow_child_end(&daemon); /* it takes down what it has set up */
	else
		*out = daemon;
	return ret;
}

static int send_to(const struct bow_child *daemon, enum bow_daemon_what what,
		   struct bowimg_error *err)
{
	if (!bow_message_send(daemon->sock, what, NULL))
		return 0;
	return bow_err(err, -EIO, "the daemon (process %d) has ended unexpectedly",
		       (int)daemon->pid);
}

int bow_daemon_tie_to_loop(struct bow_child *daemon, int signal_fd, struct bowimg_error *err)
{
	int ret = send_to(daemon, BOW_DAEMON_TIED, err);

	if (!ret && bow_process_wait_fd(daemon->sock, signal_fd) == -EINTR)
		return bow_err(err, -EINTR, "cannot make a loop device: interrupted by a signal");
	return ret ? ret : bow_message_recv(daemon->sock, BOW_DAEMON_TIED, "the daemon", err);
}

int bow_daemon_background(struct bow_child *daemon, struct bowimg_error *err)
{
	int ret = send_to(daemon, BOW_DAEMON_BACKGROUND, err);

	if (!ret) {
		close(daemon->sock);
		daemon->sock = -1;
	}
	return ret;
}
