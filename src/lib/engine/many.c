/* SPDX-License-Identifier: MIT */
/*
 * Many writes at a time, with one record and one barrier for all of them. They are one request that
 * holds the blocks of each; for every block the order is that of a single write (write.c):
 *
 *	hold and plan, one after the other - back up all - log, barrier - write - change the states
 *
 * [I1, I2]: nothing is written before bow_engine_log() returned. What is in the way of a write is
 * not waited for, since blocks are held already: that write is not begun. The same goes for blocks
 * that bowimg would have to move, and from the first write on for which there is no room. Where
 * room can be made by giving blocks back, that is done once nothing is held, and it goes on there.
 *
 * Failure modes: something before the guest's data fails: no write is begun, and the states are as
 * before; blocks used for backups stay HELD, unused. So a single block that cannot be read fails
 * only the write that needs it, which is then made alone. Writing data fails: as in write.c, for
 * each write by itself.
 */
#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define AT_ONCE 64u /* writes that are looked at under one hold of the lock, which others need */

struct many {
	struct bow_engine *img;
	struct bow_request *req;
	struct bow_write *writes;
	uint32_t n;
	uint32_t reached; /* writes that were looked at, */
	int stopped;	  /* and why not those behind them; 0: there are none */
	atomic_uint next;
	struct bowimg_error *err;
	bool failed; /* err has the first failure; guarded by img->lock */
};

static struct bow_run blocks_of(const struct bow_write *w)
{
	uint64_t first = w->off / BOW_BLOCK;

	return (struct bow_run){first, bow_div_up(w->off + w->bytes, BOW_BLOCK) - first};
}

/* ---- plan ------------------------------------------------------------------------ */

/*
 * With img->lock held, and the blocks. -EAGAIN: not this one; -ENOSPC, BOW_GIVE_FIRST, ...: nor
 * those behind it.
 */
static int plan_held(struct bow_engine *img, struct bow_request *req, struct bow_run run)
{
	uint32_t before = req->n;
	struct bow_needs needs;
	int rc = -EAGAIN;

	if (bow_blocks_reserve(&img->blocks, run.start_blk, run.count_blk) ||
	    bow_bitmap_reserve(img->zero_done_ready, run.start_blk, run.count_blk))
		return -ENOMEM;
	bow_request_count_needs(img, req, run, &needs);
	if (needs.originals && req->give_first && bow_share_in_the_way(img))
		rc = BOW_GIVE_FIRST;
	else if (img->alloc.free_blk < img->dests_reserved)
		rc = -ENOSPC;
	else if (!needs.held && !needs.live0)
		rc = bow_request_reserve(img, req, needs.dests, needs.dests + req->n - before,
					 needs.zero_done, NULL);
	if (rc)
		bow_request_untake(img, req, before);
	return rc;
}

/* With img->lock held. Returns 0 if it has begun, or others still may. */
static int begin_one(struct many *m, struct bow_write *w)
{
	struct bow_run run = blocks_of(w);
	int rc;

	if (!bow_request_hold(m->img, m->req, run))
		return 0;
	rc = plan_held(m->img, m->req, run);
	w->begun = !rc;
	if (rc)
		bow_request_unhold(m->req);
	return rc == -EAGAIN ? 0 : rc;
}

/* With img->lock held, which is dropped from time to time. */
static void begin_all(struct many *m)
{
	for (m->reached = 0; m->reached < m->n; m->reached++) {
		if (m->reached && m->reached % AT_ONCE == 0) {
			pthread_mutex_unlock(&m->img->lock);
			pthread_mutex_lock(&m->img->lock);
		}
		m->stopped = begin_one(m, &m->writes[m->reached]);
		if (m->stopped)
			return;
	}
}

/* ---- write, and change the states ------------------------------------------------ */

static void note_failure(struct many *m, const struct bowimg_error *err)
{
	pthread_mutex_lock(&m->img->lock);
	if (!m->failed && m->err)
		*m->err = *err;
	m->failed = true;
	pthread_mutex_unlock(&m->img->lock);
}

static int write_some(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct many *m = ctx;
	struct bowimg_error why;
	uint32_t i;

	(void)number, (void)stop, (void)err;
	while ((i = atomic_fetch_add(&m->next, 1)) < m->reached) {
		struct bow_write *w = &m->writes[i];

		if (!w->begun)
			continue;
		bow_err_clear(&why);
		w->result = bow_request_write(m->img, m->req, w->buf, w->bytes, w->off, &why);
		if (w->result)
			note_failure(m, &why);
	}
	return 0;
}

/* Takes the lock, and leaves it held. */
static void settle_all(struct many *m)
{
	pthread_mutex_lock(&m->img->lock);
	for (uint32_t i = 0; i < m->reached; i++) {
		const struct bow_write *w = &m->writes[i];

		if (i && i % AT_ONCE == 0) {
			pthread_mutex_unlock(&m->img->lock);
			pthread_mutex_lock(&m->img->lock);
		}
		if (w->begun)
			bow_request_settle(m->img, blocks_of(w), !w->result);
	}
	bow_request_count_backups(m->img, m->req);
}

/* With img->lock held. */
static void give_up(struct many *m)
{
	bow_request_untake(m->img, m->req, 0);
	for (uint32_t i = 0; i < m->reached; i++)
		m->writes[i].begun = false;
}

/* As many as there is room for. m->stopped: 0, or why it is not more. */
static void write_next(struct many *m, bool give_first)
{
	int rc;

	m->req = bow_request_begin_many(m->img, NULL);
	if (!m->req) {
		pthread_mutex_unlock(&m->img->lock);
		m->stopped = -EIO;
		return;
	}
	m->req->give_first = give_first;
	begin_all(m);
	pthread_mutex_unlock(&m->img->lock);
	rc = bow_request_back_up_many(m->img, m->req, NULL);
	if (!rc && m->req->n)
		rc = bow_engine_log(m->img, m->req->entries, m->req->n, NULL);
	if (rc) {
		pthread_mutex_lock(&m->img->lock);
		give_up(m);
		m->stopped = rc;
	} else {
		m->next = 0;
		bow_crew_do(m->img->crew, m->req->n_held, write_some, m, NULL);
		settle_all(m);
	}
	bow_request_end(m->img, m->req);
}

void bow_engine_write_many(struct bow_engine *img, struct bow_write *writes, uint32_t n,
			   struct bowimg_error *err)
{
	struct many m = {.img = img, .writes = writes, .n = n, .err = err};
	bool give_first = true;

	for (;;) {
		write_next(&m, give_first);
		if (m.stopped != BOW_GIVE_FIRST)
			return;
		give_first = bow_engine_make_room(img) > 0;
		m.writes += m.reached;
		m.n -= m.reached;
	}
}
