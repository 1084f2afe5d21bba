/* SPDX-License-Identifier: MIT */
/*
 * Many requests in flight on one connection, without a thread that serves it.
 *
 * libnbd sends and receives when it is told that the socket is ready, and calls back when an answer
 * is complete. One of the threads that wait for answers is in poll(2), and handles whatever comes
 * for all of them. The others sleep until their answer is there, or until it is their turn to poll
 * because the polling thread has its own answer. The lock is held while libnbd copies to and from
 * the socket, which does not block, and never while a thread waits for the server, or while the
 * polling thread tells that the server is silent.
 *
 * Happy path: submit() queues the request with libnbd, which sends at once what the socket takes;
 * await() polls or sleeps; answered() is called back, and wakes the request's thread.
 * Failure modes: the server answers with an error: only this request fails. The connection is lost,
 * or the server breaks the protocol: libnbd gives up for good, calls back for all requests in
 * flight, and refuses new ones.
 */
#include "lib/disk/nbd/wire.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "lib/disk/nbd/silence.h"

struct request {
	enum { READ, WRITE, ZERO, FLUSH, EXTENT } what;
	void *buf;
	uint64_t off, bytes;
	uint32_t flags;

	/* Under the lock. */
	bool done;
	int error; /* a positive errno, as libnbd has it */
	pthread_cond_t wake;
	LIST_ENTRY(request) others;

	/* EXTENT: the first one of the answer; 0 bytes: there was none */
	uint32_t extent_bytes, extent_flags;
};

struct bow_wire {
	struct nbd_handle *h;
	int wake_fd; /* an eventfd that ends a thread's poll() */
	pthread_mutex_t lock;
	LIST_HEAD(requests, request) waiting;
	bool polled;		    /* a thread is in poll(), or tells what came of it */
	unsigned polled_for;	    /* for reading, for writing: LIBNBD_AIO_DIRECTION_* */
	struct bow_silence silence; /* the polling thread's; nobody's while nothing is in flight */
};

struct bow_wire *bow_wire_new(struct nbd_handle *h, const char *uri,
			      const struct bowimg_events *events)
{
	struct bow_wire *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0) {
		free(w);
		return NULL;
	}
	w->h = h;
	pthread_mutex_init(&w->lock, NULL);
	LIST_INIT(&w->waiting);
	bow_silence_init(&w->silence, uri, events);
	return w;
}

void bow_wire_free(struct bow_wire *w)
{
	/* The server need not answer this, and a server that hangs is not waited for. */
	nbd_aio_disconnect(w->h, 0);
	nbd_close(w->h);
	close(w->wake_fd);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* ---- libnbd's callbacks: the lock is held, and no call of libnbd is allowed ------ */

static int answered(void *user_data, int *error)
{
	struct request *r = user_data;

	r->error = *error;
	r->done = true;
	pthread_cond_signal(&r->wake);
	return 1; /* libnbd may forget it */
}

static int got_extents(void *user_data, const char *context, uint64_t off, uint32_t *entries,
		       size_t n, int *error)
{
	struct request *r = user_data;

	(void)error;
	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0 && off == r->off && n >= 2) {
		r->extent_bytes = entries[0];
		r->extent_flags = entries[1];
	}
	return 0;
}

/* ---- waiting, under the lock ----------------------------------------------------- */

static bool is_lost(struct bow_wire *w)
{
	return nbd_aio_is_dead(w->h) != 0 || nbd_aio_is_closed(w->h) != 0;
}

/* libnbd has done this for all requests that it knew; no thread may wait for a lost connection. */
static void fail_all(struct bow_wire *w)
{
	int error = ECONNRESET;
	struct request *r;

	LIST_FOREACH(r, &w->waiting, others)
	if (!r->done)
		answered(r, &error);
}

/*
 * Handle one of the two at most: it may change what the connection is ready for, and the other
 * comes up again with the next poll.
 */
static void handle(struct bow_wire *w, short events)
{
	unsigned direction = nbd_aio_get_direction(w->h);
	bool broken = events & (POLLERR | POLLHUP | POLLNVAL);

	if (direction & LIBNBD_AIO_DIRECTION_READ && (events & POLLIN || broken))
		nbd_aio_notify_read(w->h);
	else if (direction & LIBNBD_AIO_DIRECTION_WRITE && (events & POLLOUT || broken))
		nbd_aio_notify_write(w->h);
	if (is_lost(w))
		fail_all(w);
}

static void heard(struct bow_wire *w)
{
	if (!bow_silence_end(&w->silence))
		return;
	pthread_mutex_unlock(&w->lock);
	bow_silence_tell_end(&w->silence);
	pthread_mutex_lock(&w->lock);
}

static void poll_once(struct bow_wire *w)
{
	struct pollfd fds[] = {{.fd = nbd_aio_get_fd(w->h)}, {.fd = w->wake_fd, .events = POLLIN}};
	uint64_t count;
	int ready;

	w->polled = true;
	w->polled_for = nbd_aio_get_direction(w->h);
	if (w->polled_for & LIBNBD_AIO_DIRECTION_READ)
		fds[0].events |= POLLIN;
	if (w->polled_for & LIBNBD_AIO_DIRECTION_WRITE)
		fds[0].events |= POLLOUT;
	pthread_mutex_unlock(&w->lock);
	ready = poll(fds, 2, bow_silence_poll_ms(&w->silence));
	if (ready <= 0)
		bow_silence_check(&w->silence);
	pthread_mutex_lock(&w->lock);
	if (ready > 0 && fds[1].revents)
		(void)!read(w->wake_fd, &count, sizeof(count));
	if (ready > 0 && fds[0].revents)
		handle(w, fds[0].revents);
	if (ready > 0 && fds[0].revents & POLLIN && !is_lost(w))
		heard(w);
	w->polled = false;
}

/* A request that did not fit into the socket needs it to be polled for writing, too. */
static void wake_poller(struct bow_wire *w)
{
	const uint64_t one = 1;

	if (w->polled && nbd_aio_get_direction(w->h) & ~w->polled_for)
		(void)!write(w->wake_fd, &one, sizeof(one));
}

/*
 * Has the server hung up while nothing was in flight? A change that is sent then may have been
 * carried out or not; one that is not sent has not.
 */
static void look(struct bow_wire *w)
{
	struct pollfd fd = {.fd = nbd_aio_get_fd(w->h), .events = POLLIN};

	if (LIST_EMPTY(&w->waiting) && !is_lost(w) && poll(&fd, 1, 0) > 0)
		handle(w, fd.revents);
}

static void await(struct bow_wire *w, struct request *r)
{
	wake_poller(w);
	if (is_lost(w))
		fail_all(w);
	while (!r->done) {
		if (w->polled)
			pthread_cond_wait(&r->wake, &w->lock);
		else
			poll_once(w);
	}
}

/* A woken thread polls, or has got its answer and comes through here itself. */
static void pass_on(struct bow_wire *w)
{
	if (!w->polled && !LIST_EMPTY(&w->waiting))
		pthread_cond_signal(&LIST_FIRST(&w->waiting)->wake);
}

/* ---- requests -------------------------------------------------------------------- */

static int64_t submit(struct bow_wire *w, struct request *r)
{
	const nbd_completion_callback done = {.callback = answered, .user_data = r};
	const nbd_extent_callback extents = {.callback = got_extents, .user_data = r};

	switch (r->what) {
	case READ:
		return nbd_aio_pread(w->h, r->buf, r->bytes, r->off, done, 0);
	case WRITE:
		return nbd_aio_pwrite(w->h, r->buf, r->bytes, r->off, done, 0);
	case ZERO:
		return nbd_aio_zero(w->h, r->bytes, r->off, done, r->flags);
	case FLUSH:
		return nbd_aio_flush(w->h, done, 0);
	case EXTENT:
		return nbd_aio_block_status(w->h, r->bytes, r->off, extents, done, r->flags);
	}
	return -1;
}

/* libnbd did not even send it. */
static int refused(struct bow_wire *w)
{
	int error = is_lost(w) ? ENOTCONN : nbd_get_errno();

	return error ? error : EIO;
}

static int request(struct bow_wire *w, struct request *r)
{
	pthread_cond_init(&r->wake, NULL);
	pthread_mutex_lock(&w->lock);
	if (r->what != READ && r->what != EXTENT)
		look(w);
	if (is_lost(w) || submit(w, r) < 0) {
		r->error = refused(w);
	} else {
		if (LIST_EMPTY(&w->waiting))
			bow_silence_begin(&w->silence);
		LIST_INSERT_HEAD(&w->waiting, r, others);
		await(w, r);
		LIST_REMOVE(r, others);
		if (r->error && is_lost(w))
			r->error = ECONNRESET;
	}
	pass_on(w);
	pthread_mutex_unlock(&w->lock);
	pthread_cond_destroy(&r->wake);
	return -r->error;
}

int bow_wire_read(struct bow_wire *w, void *buf, size_t bytes, uint64_t off)
{
	struct request r = {.what = READ, .buf = buf, .bytes = bytes, .off = off};

	return request(w, &r);
}

int bow_wire_write(struct bow_wire *w, const void *buf, size_t bytes, uint64_t off)
{
	struct request r = {.what = WRITE, .buf = (void *)buf, .bytes = bytes, .off = off};

	return request(w, &r);
}

int bow_wire_zero(struct bow_wire *w, uint64_t off, uint64_t bytes, bool may_punch)
{
	struct request r = {.what = ZERO,
			    .bytes = bytes,
			    .off = off,
			    .flags = may_punch ? 0 : LIBNBD_CMD_FLAG_NO_HOLE};

	return request(w, &r);
}

int bow_wire_flush(struct bow_wire *w)
{
	struct request r = {.what = FLUSH};

	return request(w, &r);
}

int bow_wire_extent(struct bow_wire *w, uint64_t off, uint64_t bytes, bool *hole, uint64_t *reach)
{
	const uint32_t both = LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO;
	struct request r = {
		.what = EXTENT, .bytes = bytes, .off = off, .flags = LIBNBD_CMD_FLAG_REQ_ONE};
	int rc = request(w, &r);

	if (rc)
		return rc;
	*hole = (r.extent_flags & both) == both;
	*reach = r.extent_bytes;
	return 0;
}
