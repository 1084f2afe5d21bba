/* SPDX-License-Identifier: MIT */
/* Connecting to an NBD server: libnbd does it, and this file limits how long it may take. */
#include "lib/base/clock.h"
#include "lib/disk/nbd/nbd.h"

#include <libnbd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "lib/disk/nbd/silence.h"

/* Steps of a handshake that libnbd reports; an honest one has less than a hundred. */
#define LINES_MAX 5000u

/* Only codes without a fixed meaning in BOWIMG_ERRORS are passed on. */
static int fail_connect(const char *uri, struct bowimg_error *err)
{
	int error = nbd_get_errno(), code = error ? -error : -EIO;
	const char *why = nbd_get_error();

	if (bowimg_exit_status(code) != 1)
		code = -EIO;
	bow_err(err, code, "%s: connect: %s", uri, why ? why : "no reason is known");
	bow_err_hint(err, "is the server running, and the name of the export right? nbdinfo shows "
			  "what a server offers");
	return code;
}

static int fail_silent(const char *uri, unsigned patience_ms, struct bowimg_error *err)
{
	bow_err(err, -ETIMEDOUT, "%s: connect: the server did not answer within %u seconds", uri,
		patience_ms / 1000);
	bow_err_hint(err, "does it serve one client at a time, and has one? (qemu-nbd does without "
			  "--shared)");
	return -ETIMEDOUT;
}

static void heard(struct bow_silence *silence)
{
	if (bow_silence_end(silence))
		bow_silence_tell_end(silence);
}

static int wait_for(struct pollfd *fd, int64_t left_ms, struct bow_silence *silence)
{
	int most = bow_silence_poll_ms(silence), ready;

	ready = poll(fd, 1, most >= 0 && most < left_ms ? most : (int)left_ms);
	if (ready <= 0)
		bow_silence_check(silence);
	return ready;
}

/* One step of the handshake; 0: time is up, or -1 as libnbd says it. */
static int step(struct nbd_handle *h, int64_t deadline, struct bow_silence *silence)
{
	unsigned direction = nbd_aio_get_direction(h);
	struct pollfd fd = {.fd = nbd_aio_get_fd(h)};
	int64_t left = deadline - bow_now_ms();

	if (left <= 0)
		return 0;
	fd.events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
			    (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	if (wait_for(&fd, left, silence) <= 0)
		return 1;
	if (direction & LIBNBD_AIO_DIRECTION_READ && fd.revents & ~POLLOUT) {
		if (nbd_aio_notify_read(h) < 0)
			return -1;
		heard(silence);
		return 1;
	}
	return nbd_aio_notify_write(h) < 0 ? -1 : 1;
}

/*
 * Called during the handshake: libnbd reports each thing that it meets, and keeps what the server
 * lists.
 */
struct talk {
	unsigned lines;
	int fd;
};

/*
 * No call of libnbd is allowed in here, but the socket can be shut down, which ends the handshake.
 * The socket's number is known from the first step on.
 */
static int listen_in(void *ctx, const char *where, const char *what)
{
	struct talk *t = ctx;

	(void)where, (void)what;
	if (++t->lines == LINES_MAX && t->fd >= 0)
		shutdown(t->fd, SHUT_RDWR);
	return 0;
}

static int fail_talkative(const char *uri, struct bowimg_error *err)
{
	bow_err(err, -EIO, "%s: connect: the server sends without end while it should connect",
		uri);
	bow_err_hint(err, "it is broken or hostile; use another one");
	return -EIO;
}

static int shake_hands(struct nbd_handle *h, const struct bow_nbd_way *way, struct talk *talk,
		       struct bowimg_error *err)
{
	const nbd_debug_callback debug = {.callback = listen_in, .user_data = talk};
	int64_t deadline = bow_now_ms() + way->patience_ms;
	const char *uri = way->uri;
	int going = 1;

	if (nbd_set_debug_callback(h, debug) < 0 || nbd_set_debug(h, true) < 0 ||
	    nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_set_uri_allow_local_file(h, true) < 0 || nbd_aio_connect_uri(h, uri) < 0)
		return fail_connect(uri, err);
	while (going > 0 && (nbd_aio_is_connecting(h) || nbd_aio_is_negotiating(h))) {
		talk->fd = nbd_aio_get_fd(h);
		going = step(h, deadline, way->silence);
	}
	nbd_set_debug(h, false);
	nbd_clear_debug_callback(h);
	if (talk->lines >= LINES_MAX)
		return fail_talkative(uri, err);
	if (going == 0)
		return fail_silent(uri, way->patience_ms, err);
	return going > 0 && nbd_aio_is_ready(h) == 1 ? 0 : fail_connect(uri, err);
}

/*
 * Notice a machine that went away silently, so that a request does not wait for ever: as soon where
 * the kernel has something to send as where it waits for an answer.
 */
static void keep_alive(struct nbd_handle *h)
{
	const int on = 1, idle_s = 30, interval_s = 10, count = 6;
	const unsigned unsent_ms = (unsigned)(idle_s + count * interval_s) * 1000;
	int fd = nbd_aio_get_fd(h);

	/* Other connections than TCP refuse these, and do not need them. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof(unsent_ms));
}

int bow_nbd_connect(const struct bow_nbd_way *way, struct nbd_handle **out,
		    struct bowimg_error *err)
{
	struct nbd_handle *h = nbd_create();
	struct talk talk = {.fd = -1};
	int rc;

	if (!h)
		return bow_err_errno(err, -ENOMEM, "%s: connect", way->uri);
	rc = shake_hands(h, way, &talk, err);
	if (rc) {
		nbd_close(h);
		return rc;
	}
	keep_alive(h);
	*out = h;
	return 0;
}
