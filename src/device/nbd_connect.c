/* SPDX-License-Identifier: MIT */
/* Connecting to an NBD server: libnbd knows how; here is how long it may take. */
#include "device/nbd.h"

#include <libnbd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

/* For a server that takes the connection and says nothing, or serves somebody else first. */
#define PATIENCE_S 30

/* Only what has no fixed meaning in BOWIMG_ERRORS is passed on as it is. */
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

static int fail_silent(const char *uri, struct bowimg_error *err)
{
	bow_err(err, -ETIMEDOUT, "%s: connect: the server did not answer within %d seconds", uri,
		PATIENCE_S);
	bow_err_hint(err, "does it serve one client at a time, and has one? (qemu-nbd does without "
			  "--shared)");
	return -ETIMEDOUT;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One step of the handshake; 0: time is up, or -1 as libnbd says it. */
static int step(struct nbd_handle *h, int64_t deadline)
{
	unsigned direction = nbd_aio_get_direction(h);
	struct pollfd fd = {.fd = nbd_aio_get_fd(h)};
	int64_t left = deadline - now_ms();

	if (left <= 0)
		return 0;
	fd.events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
			    (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	if (poll(&fd, 1, (int)left) <= 0)
		return 1;
	if (direction & LIBNBD_AIO_DIRECTION_READ && fd.revents & ~POLLOUT)
		return nbd_aio_notify_read(h) < 0 ? -1 : 1;
	return nbd_aio_notify_write(h) < 0 ? -1 : 1;
}

static int shake_hands(struct nbd_handle *h, const char *uri, struct bowimg_error *err)
{
	int64_t deadline = now_ms() + PATIENCE_S * 1000;
	int going = 1;

	if (nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_set_uri_allow_local_file(h, true) < 0 || nbd_aio_connect_uri(h, uri) < 0)
		return fail_connect(uri, err);
	while (going > 0 && (nbd_aio_is_connecting(h) || nbd_aio_is_negotiating(h)))
		going = step(h, deadline);
	if (going == 0)
		return fail_silent(uri, err);
	return going > 0 && nbd_aio_is_ready(h) == 1 ? 0 : fail_connect(uri, err);
}

/* A machine that went away without a word is noticed, and a request does not wait for ever. */
static void keep_alive(struct nbd_handle *h)
{
	const int on = 1, idle_s = 30, interval_s = 10, count = 6;
	int fd = nbd_aio_get_fd(h);

	/* Where it is no TCP connection, these are refused, and not needed. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int bow_nbd_connect(const char *uri, struct nbd_handle **out, struct bowimg_error *err)
{
	struct nbd_handle *h = nbd_create();
	int rc;

	if (!h)
		return bow_err_errno(err, -ENOMEM, "%s: connect", uri);
	rc = shake_hands(h, uri, err);
	if (rc) {
		nbd_close(h);
		return rc;
	}
	keep_alive(h);
	*out = h;
	return 0;
}
