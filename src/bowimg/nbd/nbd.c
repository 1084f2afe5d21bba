/* SPDX-License-Identifier: MIT */
/*
 * The NBD server's life, seen from the program that starts it.
 *
 * Happy path: the socket is made; nbdkit is started, and reports that the image is open; clients
 * come and go; our end of the control socket is shut down; nbdkit reports that the image is closed,
 * and ends; the socket is removed.
 *
 * If nbdkit dies (killed, out of memory, a fault of its own), it is started again on the same
 * listening socket, in whose queue new clients wait. Nothing is lost: what was written is in the
 * image, and what was not, or not logged, is in the files that nbdkit was given (nbdkit/report.h).
 * If it dies too often, it is not started again, which is an error.
 *
 * Failure modes: nbdkit or the plugin is missing, or nbdkit ends without a report (it has printed
 * the reason on standard error); the image cannot be opened (the report has the reason); we are
 * killed (the server sees that, closes the image and ends; the next server replaces the socket).
 */
#include "bowimg/nbd/nbd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/message.h"
#include "lib/base/uri.h"
#include "bowimg/host/notice.h"
#include "bowimg/host/process.h"

/* 0, or -EPIPE if the server ended without a report. */
static int receive(const struct bow_nbd *s, struct bow_nbd_report *out)
{
	int ret = bow_packet_recv(s->child.sock, out, sizeof(*out));

	if (ret)
		return ret;
	out->err.message[sizeof(out->err.message) - 1] = '\0';
	out->err.hint[sizeof(out->err.hint) - 1] = '\0';
	return 0;
}

static int copy_error(const struct bow_nbd_report *r, struct bowimg_error *err)
{
	if (r->err.code && err)
		*err = r->err;
	return r->err.code;
}

static void put_away(struct bow_nbd *s)
{
	bow_child_end(&s->child);
	close(s->carry);
	if (s->cache >= 0)
		close(s->cache);
	close(s->listening);
	bow_nbd_unlisten(s);
}

/* ---- start ----------------------------------------------------------------------- */

static int await_open(struct bow_nbd *s, int signal_fd, struct bowimg_error *err)
{
	struct bow_nbd_report report;

	if (bow_process_wait_fd(s->child.sock, signal_fd) == -EINTR)
		return bow_err(err, -EINTR, "cannot serve %s: interrupted by a signal", s->image);
	if (receive(s, &report) == 0)
		return copy_error(&report, err);
	int ret = bow_err(err, -EIO, "cannot serve %s: nbdkit could not start", s->image);
	bow_err_hint(err, "its own message is above; nbdkit --version should work");
	return ret;
}

/* Without barriers, or without writes, nothing is slow. */
static bool wants_cache(const struct bow_nbd_options *opts)
{
	return opts->durability == BOWIMG_DURABILITY_POWER && !opts->before && !opts->track;
}

/* Makes what the next nbdkit takes over from one that dies. */
static int set_up(struct bow_nbd *s, const struct bow_nbd_options *opts, struct bowimg_error *err)
{
	bool cached = wants_cache(opts);

	s->listening = bow_nbd_listen(s, opts->socket, err);
	if (s->listening < 0)
		return s->listening;
	s->carry = memfd_create("bowimg", MFD_CLOEXEC);
	if (s->carry >= 0 && cached)
		s->cache = memfd_create("bowimg-cache", MFD_CLOEXEC);
	return s->carry < 0 || (cached && s->cache < 0)
		       ? bow_err_errno(err, -errno, "cannot serve %s", s->image)
		       : 0;
}

int bow_nbd_start(struct bow_nbd *s, const char *image, const struct bow_nbd_options *opts,
		  int signal_fd, struct bowimg_error *err)
{
	memset(s, 0, sizeof(*s));
	s->child = BOW_NO_CHILD;
	s->listening = s->carry = s->cache = s->dir_lock = -1;
	s->opts = *opts;
	int ret = bow_image_name(image, s->image, err);
	if (!ret)
		ret = set_up(s, opts, err);
	if (!ret)
		ret = bow_nbd_exec(s, err);
	if (!ret)
		ret = await_open(s, signal_fd, err);
	if (ret)
		put_away(s);
	return ret;
}

/* ---- serve, and start it again --------------------------------------------------- */

static void give_up(struct bow_nbd *s, const struct bowimg_error *err)
{
	s->ended = true;
	s->last.err = *err;
}

/* Was the oldest of the last deaths a short time ago? */
static bool dies_too_often(struct bow_nbd *s)
{
	unsigned i = s->next_death++ % BOW_NBD_DEATHS;
	time_t oldest = s->deaths[i];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	s->deaths[i] = now.tv_sec + 1;
	return oldest && s->deaths[i] - oldest < BOW_NBD_DEATHS_SEC;
}

static void start_again(struct bow_nbd *s)
{
	struct bowimg_error err = {0};
	int wstatus = bow_child_end(&s->child), ret;
	bool killed = wstatus > 0 && WIFSIGNALED(wstatus);

	if (dies_too_often(s)) {
		ret = bow_err(&err, -EIO,
			      "cannot serve %s: the server was killed %u times within %d seconds; "
			      "what was not flushed may be lost",
			      s->image, BOW_NBD_DEATHS + 1, BOW_NBD_DEATHS_SEC);
		bow_err_hint(&err, "bowimg status says what state the image is in; a checkpoint "
				   "that was open still is");
	} else {
		bow_notice("nbdkit for %s ended by itself (%s %d); it is started again", s->image,
			   killed ? "signal" : "status",
			   killed ? WTERMSIG(wstatus) : WEXITSTATUS(wstatus));
		ret = bow_nbd_exec(s, &err);
	}
	if (ret)
		give_up(s, &err);
}

static void notice_restart(const struct bow_nbd *s, const struct bow_nbd_report *r)
{
	if (s->opts.track)
		bow_notice("%s: what was trimmed before counts as used again; clients can "
			   "connect",
			   s->image);
	else if (r->carried)
		bow_notice("%s: nothing that was acknowledged is lost; clients can connect",
			   s->image);
}

void bow_nbd_attend(struct bow_nbd *s)
{
	const struct timespec a_moment = {.tv_nsec = 200000000};
	struct bow_nbd_report report;

	if (receive(s, &report)) {
		start_again(s);
	} else if (report.what == BOW_NBD_OPENED && report.err.code == -EBUSY) {
		/* Another process read the image while it had no server. */
		nanosleep(&a_moment, NULL);
		start_again(s);
	} else if (report.what == BOW_NBD_CLOSED) {
		s->last = report;
		s->ended = true;
	} else if (report.err.code) {
		give_up(s, &report.err);
	} else {
		notice_restart(s, &report);
	}
}

int bow_nbd_wait(struct bow_nbd *s, int signal_fd)
{
	bool from_terminal;
	int signo;

	while (!s->ended) {
		if (bow_process_wait_fd(s->child.sock, signal_fd) != -EINTR)
			bow_nbd_attend(s);
		else if ((signo = bow_process_take_signal(signal_fd, &from_terminal)))
			return signo;
	}
	return 0;
}

/* ---- stop ------------------------------------------------------------------------ */

/* A server that dies now is started again, too, and told to end at once. */
static int stop(struct bow_nbd *s, const struct bow_nbd_order *order, struct bow_nbd_report *report,
		struct bowimg_error *err)
{
	pid_t told = 0; /* the server that was told to end */

	while (!s->ended) {
		if (s->child.pid != told) {
			/* A server that ended by itself takes no order; its report shows that. */
			if (order)
				bow_packet_send(s->child.sock, order, sizeof(*order));
			shutdown(s->child.sock, SHUT_WR);
			told = s->child.pid;
		}
		bow_nbd_attend(s);
	}
	put_away(s);
	*report = s->last;
	return copy_error(&s->last, err);
}

int bow_nbd_stop(struct bow_nbd *s, struct bowimg_error *err)
{
	struct bow_nbd_report report;

	return stop(s, NULL, &report, err);
}

int bow_nbd_stop_tracker(struct bow_nbd *s, const struct bowimg_prepare_options *opts,
			 struct bowimg_prepare_report *prepared, struct bowimg_error *err)
{
	const struct bow_nbd_order order = {
		.exact = opts->exact,
		.store = opts->store,
		.on_full = opts->on_full,
		.dry_run = opts->dry_run,
	};
	struct bow_nbd_report report;

	int ret = stop(s, &order, &report, err);
	if (!ret && !report.prepared.free_source[0])
		ret = bow_err(err, -EIO, "cannot prepare %s: the server ended too early", s->image);
	if (!ret)
		*prepared = report.prepared;
	return ret;
}
