/* SPDX-License-Identifier: MIT */
/*
 * When is a lost connection made again?
 *
 * A server that is gone may have lost what it had not been told to flush, and what comes back is
 * then another state of the disk than the one that was read or written. So all that went through
 * this link must be known to be on the storage: a flush has succeeded, no flush has failed, and
 * nothing was sent since that could change the disk. That holds while an image is opened and
 * checked, and between a guest's flush and its next write; never in the middle of what a barrier is
 * still to cover [I1]. The first flush is one for what others have written before: nbd/open.c.
 *
 * Happy path: all threads leave the lost connection, because each of their requests fails; the
 * first one that has left connects again (again.c) while the others wait; then each sends its read
 * once more. A change that was in flight may have been carried out or not, and is not sent again.
 * Failure modes: it is not safe, nothing answers in time, or what answers is not the same disk: all
 * that follows fails, and `why` says so.
 */
#include "lib/disk/nbd/link.h"

#include <libnbd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/disk/nbd/again.h"
#include "lib/disk/nbd/wire.h"

/* A request is sent so often, if the connection is lost each time. */
#define TRIES 2

/* A server that is lost more often than so many times in so long a time is no use. */
#define LOSSES_MAX 10u
#define LOSSES_MS 60000

struct bow_link {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* users, connecting */
	struct bow_wire *wire;
	unsigned made;	 /* connections so far; tells them apart */
	unsigned users;	 /* requests in `wire` */
	bool connecting; /* one thread does; `known` is its own meanwhile */
	bool lost;	 /* for good: why */
	char why[BOW_LINK_WHY_BYTES];

	/* Changes that were sent, and how many of them are flushed; one is that of others before.
	 */
	uint64_t changes, flushed;
	int flush_error; /* of the first that failed; none is tried again (rule 13) */

	unsigned losses; /* since since_ms */
	int64_t since_ms;

	struct bow_nbd_known known;
	char uri[];
};

struct bow_link *bow_link_new(struct nbd_handle *h, const struct bow_nbd_way *way,
			      const struct bow_nbd_limits *limits,
			      const struct bowimg_events *events)
{
	size_t uri_bytes = strlen(way->uri) + 1;
	struct bow_link *l = calloc(1, sizeof(*l) + uri_bytes);

	if (!l)
		return NULL;
	memcpy(l->uri, way->uri, uri_bytes);
	l->known = (struct bow_nbd_known){.uri = l->uri, .lock = way->lock, .limits = *limits};
	if (events)
		l->known.events =
			(struct bowimg_events){.waiting = events->waiting, .ctx = events->ctx};
	l->wire = bow_wire_new(h, l->uri, &l->known.events);
	if (!l->wire) {
		free(l);
		return NULL;
	}
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	l->changes = 1;
	return l;
}

void bow_link_free(struct bow_link *l)
{
	if (!l)
		return;
	bow_wire_free(l->wire);
	/* The lock goes last: its next holder finds no other client at the server. */
	bow_nbd_unlock(l->known.lock);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- requests -------------------------------------------------------------------- */

struct request {
	enum { READ, WRITE, ZERO, FLUSH, EXTENT } what;
	void *buf;
	const void *data;
	uint64_t off, bytes;
	bool may_punch;
	bool *hole;
	uint64_t *reach;

	/* Of the connection that it goes by. */
	struct bow_wire *wire;
	unsigned made;
	uint64_t covers; /* FLUSH: so many changes were answered before */
};

static int pass(const struct request *r)
{
	switch (r->what) {
	case READ:
		return bow_wire_read(r->wire, r->buf, r->bytes, r->off);
	case WRITE:
		return bow_wire_write(r->wire, r->data, r->bytes, r->off);
	case ZERO:
		return bow_wire_zero(r->wire, r->off, r->bytes, r->may_punch);
	case FLUSH:
		return bow_wire_flush(r->wire);
	case EXTENT:
		return bow_wire_extent(r->wire, r->off, r->bytes, r->hole, r->reach);
	}
	return -EINVAL;
}

/* Remember what is in block 0, once all of it has been seen. */
static void see_first(struct bow_nbd_known *k, const struct request *r)
{
	const uint32_t first_bytes = (uint32_t)bow_min(k->limits.size, BOWIMG_BLOCK_SIZE);
	const void *data = r->what == READ ? r->buf : r->data;
	size_t bytes;

	if (r->off >= first_bytes)
		return;
	bytes = bow_min(r->bytes, first_bytes - r->off);
	if (r->off == 0 && bytes == first_bytes)
		k->first_bytes = first_bytes;
	if (r->what == ZERO)
		memset(k->first + r->off, 0, bytes);
	else
		memcpy(k->first + r->off, data, bytes);
}

/* What an answer says about the disk, under the lock. */
static void note(struct bow_link *l, const struct request *r, int rc)
{
	bool sent = rc != -ENOTCONN;

	if (!rc && r->what != FLUSH && r->what != EXTENT)
		see_first(&l->known, r);
	if (sent && (r->what == WRITE || r->what == ZERO))
		l->changes++;
	else if (sent && r->what == FLUSH && rc)
		l->flush_error = rc;
	else if (r->what == FLUSH && !rc)
		l->flushed = bow_max(l->flushed, r->covers);
}

static int send_now(struct bow_link *l, struct request *r)
{
	int rc;

	pthread_mutex_lock(&l->lock);
	while (l->connecting)
		pthread_cond_wait(&l->changed, &l->lock);
	r->wire = l->wire;
	r->made = l->made;
	r->covers = l->changes;
	l->users++;
	pthread_mutex_unlock(&l->lock);
	rc = pass(r);
	pthread_mutex_lock(&l->lock);
	note(l, r, rc);
	if (--l->users == 0)
		pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* ---- after a loss, under the lock ------------------------------------------------ */

/* NULL: it is safe to connect again. */
static const char *why_not(struct bow_link *l)
{
	int64_t now = bow_now_ms();

	if (l->flush_error)
		return "it was not made again, because a flush had failed";
	if (l->flushed == 0)
		return "it was not made again, because the server may lose what was read, which "
		       "was not flushed";
	if (l->flushed != l->changes)
		return "it was not made again, because the server may lose what was written and "
		       "not flushed";
	if (!l->known.first_bytes)
		return "it was not made again, because block 0 had not been read";
	if (now - l->since_ms > LOSSES_MS) {
		l->since_ms = now;
		l->losses = 0;
	}
	if (++l->losses > LOSSES_MAX)
		return "it was not made again, because that was done ten times within a minute";
	return NULL;
}

static void lose(struct bow_link *l, const char *why)
{
	snprintf(l->why, sizeof(l->why), "the connection was lost; %.280s", why);
	l->lost = true;
}

static void connect_again(struct bow_link *l)
{
	const char *why = why_not(l);
	struct bowimg_error err = {0};
	struct bow_wire *wire;
	int rc;

	if (why) {
		lose(l, why);
		return;
	}
	pthread_mutex_unlock(&l->lock);
	rc = bow_nbd_again(&l->known, &wire, &err);
	pthread_mutex_lock(&l->lock);
	if (rc) {
		lose(l, err.message);
		return;
	}
	bow_wire_free(l->wire);
	l->wire = wire;
	l->made++;
}

/* The connection with this number is lost. Returns true if there is another one now. */
static bool is_made_again(struct bow_link *l, unsigned number)
{
	bool made;

	pthread_mutex_lock(&l->lock);
	while (l->connecting)
		pthread_cond_wait(&l->changed, &l->lock);
	if (l->made == number && !l->lost) {
		l->connecting = true;
		while (l->users)
			pthread_cond_wait(&l->changed, &l->lock);
		connect_again(l);
		l->connecting = false;
		pthread_cond_broadcast(&l->changed);
	}
	made = !l->lost;
	pthread_mutex_unlock(&l->lock);
	return made;
}

static int request(struct bow_link *l, struct request r)
{
	bool looks = r.what == READ || r.what == EXTENT, again = true;
	int rc = 0;

	for (int i = 0; i < TRIES && again; i++) {
		rc = send_now(l, &r);
		/* A server that is told to end may answer ESHUTDOWN before it hangs up. */
		again = (rc == -ECONNRESET || rc == -ENOTCONN || (rc == -ESHUTDOWN && looks)) &&
			is_made_again(l, r.made) && (rc == -ENOTCONN || looks);
	}
	return rc;
}

int bow_link_read(struct bow_link *l, void *buf, size_t bytes, uint64_t off)
{
	return request(l, (struct request){.what = READ, .buf = buf, .bytes = bytes, .off = off});
}

int bow_link_write(struct bow_link *l, const void *buf, size_t bytes, uint64_t off)
{
	return request(l, (struct request){.what = WRITE, .data = buf, .bytes = bytes, .off = off});
}

int bow_link_zero(struct bow_link *l, uint64_t off, uint64_t bytes, bool may_punch)
{
	return request(
		l,
		(struct request){.what = ZERO, .bytes = bytes, .off = off, .may_punch = may_punch});
}

int bow_link_flush(struct bow_link *l)
{
	int rc;

	pthread_mutex_lock(&l->lock);
	rc = l->flush_error;
	pthread_mutex_unlock(&l->lock);
	return rc ? rc : request(l, (struct request){.what = FLUSH});
}

int bow_link_extent(struct bow_link *l, uint64_t off, uint64_t bytes, bool *hole, uint64_t *reach)
{
	return request(
		l,
		(struct request){
			.what = EXTENT, .bytes = bytes, .off = off, .hole = hole, .reach = reach});
}

/* ---- asked from outside ---------------------------------------------------------- */

bool bow_link_why(struct bow_link *l, char why[BOW_LINK_WHY_BYTES])
{
	bool lost;

	pthread_mutex_lock(&l->lock);
	lost = l->lost;
	if (lost)
		memcpy(why, l->why, sizeof(l->why));
	pthread_mutex_unlock(&l->lock);
	return lost;
}

bool bow_link_is_locked(struct bow_link *l, struct bow_guard_user *user)
{
	bool locked;

	pthread_mutex_lock(&l->lock);
	while (l->connecting)
		pthread_cond_wait(&l->changed, &l->lock);
	locked = !l->known.lock && bow_nbd_is_locked(&l->known.limits.export, user);
	pthread_mutex_unlock(&l->lock);
	return locked;
}
