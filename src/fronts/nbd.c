/* SPDX-License-Identifier: MIT */
/*
 * The NBD server's life, seen from the program that starts it.
 *
 * Happy path: socket, nbdkit, "the image is open"; clients come and go; the control socket is shut
 * down, "the image is closed", nbdkit is gone, the socket is removed.
 * Failure modes: nbdkit or the plugin is missing, or ends without a word (it has written why on
 * standard error); the image cannot be opened (the report says why); the server is killed while it
 * serves (no report: the image was not detached, and is opened as after a crash); we are killed
 * (the server notices, closes the image and ends; the socket stays, and is replaced by the next).
 */
#include "fronts/nbd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uri.h"
#include "fronts/nbd_report.h"
#include "fronts/process.h"

/* 0, or -EPIPE if the server ended without saying this. */
static int receive(const struct bow_nbd *s, int what, struct bow_nbd_report *out)
{
	ssize_t n;

	do
		n = recv(s->control, out, sizeof(*out), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*out) || out->what != what)
		return -EPIPE;
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

static void reap(struct bow_nbd *s)
{
	close(s->control);
	s->control = -1;
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	bow_nbd_unlisten(s);
}

static int await_open(struct bow_nbd *s, int signal_fd, struct bowimg_error *err)
{
	struct bow_nbd_report report;

	if (bow_process_wait_fd(s->control, signal_fd) == -EINTR)
		return bow_err(err, -EINTR, "serving %s: interrupted by a signal", s->image);
	if (receive(s, BOW_NBD_OPENED, &report) == 0)
		return copy_error(&report, err);
	int ret = bow_err(err, -EIO, "serving %s: nbdkit could not start", s->image);
	bow_err_hint(err, "its own message is above; nbdkit --version should work");
	return ret;
}

int bow_nbd_start(struct bow_nbd *s, const char *image, const struct bow_nbd_options *opts,
		  int signal_fd, struct bowimg_error *err)
{
	memset(s, 0, sizeof(*s));
	s->control = -1;
	int ret = bow_image_name(image, s->image, err);
	int fd = ret ? ret : bow_nbd_listen(s, opts->socket, err);
	if (fd < 0)
		return fd;
	ret = bow_nbd_exec(s, opts, fd, err);
	close(fd);
	if (ret) {
		bow_nbd_unlisten(s);
		return ret;
	}
	ret = await_open(s, signal_fd, err);
	if (ret)
		reap(s);
	return ret;
}

int bow_nbd_wait(const struct bow_nbd *s, int signal_fd)
{
	bool from_terminal;
	int signo;

	while (bow_process_wait_fd(s->control, signal_fd) == -EINTR)
		if ((signo = bow_process_take_signal(signal_fd, &from_terminal)))
			return signo;
	return 0;
}

static int killed(const struct bow_nbd *s, struct bowimg_error *err)
{
	int ret = bow_err(err, -EIO,
			  "serving %s: the server was killed; what was not flushed "
			  "is lost",
			  s->image);

	bow_err_hint(err, "bowimg status says what state the image is in; a checkpoint that was "
			  "open still is");
	return ret;
}

static int stop(struct bow_nbd *s, struct bow_nbd_report *report, struct bowimg_error *err)
{
	shutdown(s->control, SHUT_WR);
	int ret = receive(s, BOW_NBD_CLOSED, report);
	ret = ret ? killed(s, err) : copy_error(report, err);
	reap(s);
	return ret;
}

int bow_nbd_stop(struct bow_nbd *s, struct bowimg_error *err)
{
	struct bow_nbd_report report;

	return stop(s, &report, err);
}

int bow_nbd_stop_learning(struct bow_nbd *s, const struct bowimg_prepare_options *opts,
			  struct bowimg_prepare_report *prepared, struct bowimg_error *err)
{
	const struct bow_nbd_order order = {
		.exact = opts->exact,
		.store = opts->store,
		.on_full = opts->on_full,
		.dry_run = opts->dry_run,
	};
	struct bow_nbd_report report;

	/* A server that ended by itself takes no order; the report shows whether it was carried
	 * out.
	 */
	(void)!send(s->control, &order, sizeof(order), MSG_NOSIGNAL);
	int ret = stop(s, &report, err);
	if (!ret && !report.prepared.free_source[0])
		ret = bow_err(err, -EIO, "preparing %s: the server ended too early", s->image);
	if (!ret)
		*prepared = report.prepared;
	return ret;
}
