/* SPDX-License-Identifier: MIT */
/*
 * Several threads make requests, the disk freezes at some operation, and then the power fails.
 *
 * Every sector belongs to one thread: in every other block, or in all, the sectors are dealt out
 * one by one, so that blocks are shared; else blocks belong to one thread as a whole, for zeroes.
 * So the oracle knows for each sector in which order it was written, whatever the threads do to
 * each other. What a flush covers is noted for the sectors of the thread that asked for it, which
 * is no more than is true. No state can be repeated exactly: a failure names its scenario, and what
 * was pending.
 */
#include "crowd.h"

#include <errno.h>
#include "lib/base/bytes.h"
#include "disk_before.h"
#include "pieces.h"

#define ROUNDS 3u
#define WIDE_BLOCKS 512u

static void fail(struct worker *w, const char *what, int rc, const struct bowimg_error *err)
{
	snprintf(w->why, sizeof(w->why), "thread %u: %s: error %d: %s", w->number, what, rc,
		 err->message);
}

static bool is_dead(struct worker *w)
{
	struct sim_disk *disk = &w->crowd->lab->disk;
	bool dead;

	pthread_mutex_lock(&disk->lock);
	dead = disk->dead;
	pthread_mutex_unlock(&disk->lock);
	return dead;
}

static int make(struct worker *w, const struct lab_request *req, struct bowimg_error *err)
{
	bowimg_disk *engine = w->crowd->lab->engine;
	unsigned flags = req->kind == LAB_FUA ? BOWIMG_FUA : 0;

	switch (req->kind) {
	case LAB_READ:
		return bowimg_disk_read(engine, w->buf, req->bytes, req->off, err);
	case LAB_FLUSH:
		return bowimg_disk_flush(engine, err);
	case LAB_ZERO:
		return bowimg_disk_zero(engine, req->off, req->bytes, flags, err);
	default:
		return bowimg_disk_write(engine, w->buf, req->bytes, req->off, flags, err);
	}
}

static bool changes(const struct lab_request *req)
{
	return req->kind != LAB_READ && req->kind != LAB_FLUSH;
}

/* All of this thread's sectors are durable: it waited for the flush and did nothing else. */
static void flushed(struct worker *w)
{
	struct oracle *o = &w->crowd->lab->oracle;
	uint32_t i;

	for (i = 0; i < o->sectors; i++)
		if (crowd_owns(w, i) && (o->sector[i].count > 1 || o->sector[i].dirty))
			oracle_flushed_quietly(o, (uint64_t)i * SIM_SECTOR,
					       bow_min(SIM_SECTOR, o->size - i * SIM_SECTOR));
	oracle_recount(o);
}

/* With the oracle's lock held. */
static void note(struct worker *w, const struct lab_request *req, const uint8_t *data, int rc)
{
	struct oracle *o = &w->crowd->lab->oracle;

	if (rc && changes(req))
		oracle_uncertain(o, req->off, req->bytes);
	if (rc)
		return;
	if (req->kind == LAB_READ && !oracle_check_read(o, req->off, w->buf, req->bytes))
		snprintf(w->why, sizeof(w->why), "thread %u: %s", w->number, o->why);
	if (changes(req))
		oracle_became(o, req->off, data, req->bytes);
	if (req->kind == LAB_FUA)
		oracle_flushed(o, req->off, req->bytes);
	else if (req->kind == LAB_FLUSH)
		flushed(w);
}

/* NULL: prepare. */
static const struct oracle_mark *choose_mark(struct worker *w)
{
	const struct oracle *o = &w->crowd->lab->oracle;
	uint32_t n = o->marks ? rng_below(&w->rng, o->marks + 1) : 0;

	return n < o->marks ? o->mark[n] : NULL;
}

static int read_at(bowimg_disk *disk, const struct oracle_mark *mark, void *buf, size_t bytes,
		   uint64_t off, struct bowimg_error *err)
{
	bowimg_disk *was;
	int rc;

	if (!mark)
		return disk_read_before(disk, buf, bytes, off, err);
	rc = bowimg_disk_at(disk, mark->name, &was, err);
	if (rc)
		return rc;
	rc = bowimg_disk_read(was, buf, bytes, off, err);
	bowimg_disk_close(was, NULL);
	return rc;
}

/* What was never changes, so that no lock is needed to compare. */
static void look_back(struct worker *w)
{
	struct lab *lab = w->crowd->lab;
	const struct oracle_mark *mark;
	struct bowimg_error err = {0};
	uint64_t off, bytes, bad;
	int rc;

	mark = choose_mark(w);
	crowd_choose_before(w, &off, &bytes);
	rc = read_at(lab->engine, mark, w->buf, bytes, off, &err);
	if (rc && !is_dead(w))
		fail(w, "read what was before", rc, &err);
	if (rc)
		return;
	bad = mark ? oracle_wrong_at(mark, off, w->buf, bytes)
		   : oracle_wrong_before(&lab->oracle, off, w->buf, bytes);
	if (bad < off + bytes)
		snprintf(w->why, sizeof(w->why), "thread %u: at %s: byte %llu is wrong", w->number,
			 mark ? mark->name : "prepare", (unsigned long long)bad);
}

static void one_request(struct worker *w)
{
	struct oracle *o = &w->crowd->lab->oracle;
	struct bowimg_error err = {0};
	struct lab_request req;
	const uint8_t *data;
	int rc;

	crowd_choose(w, &req);
	data = req.kind == LAB_ZERO ? NULL : w->buf;
	if (changes(&req)) {
		rng_fill(w->buf, req.bytes, rng_next(&w->rng));
		pthread_mutex_lock(&w->crowd->lock);
		oracle_may_become(o, req.off, data, req.bytes);
		pthread_mutex_unlock(&w->crowd->lock);
	}
	rc = make(w, &req, &err);
	pthread_mutex_lock(&w->crowd->lock);
	note(w, &req, data, rc);
	pthread_mutex_unlock(&w->crowd->lock);
	if (rc && !is_dead(w) && !(rc == -ENOSPC && changes(&req)))
		fail(w, "request", rc, &err);
}

/* Writes here and there, in one call. */
static void some_together(struct worker *w)
{
	struct oracle *o = &w->crowd->lab->oracle;
	struct bow_write writes[TOGETHER];
	struct lab_request req[TOGETHER];
	struct bowimg_error err = {0};
	uint32_t n = crowd_choose_places(w, req);

	rng_fill(w->buf, sizeof(w->buf), rng_next(&w->rng));
	pthread_mutex_lock(&w->crowd->lock);
	for (uint32_t i = 0; i < n; i++) {
		writes[i] = (struct bow_write){
			.buf = w->buf + i * SIM_BLOCK, .bytes = req[i].bytes, .off = req[i].off};
		oracle_may_become(o, req[i].off, writes[i].buf, req[i].bytes);
	}
	pthread_mutex_unlock(&w->crowd->lock);
	pieces_write_many(w->crowd->lab->engine, writes, n, &err);
	pthread_mutex_lock(&w->crowd->lock);
	for (uint32_t i = 0; i < n; i++)
		note(w, &req[i], writes[i].buf, writes[i].result);
	pthread_mutex_unlock(&w->crowd->lock);
	for (uint32_t i = 0; i < n && !is_dead(w); i++)
		if (writes[i].result && writes[i].result != -ENOSPC)
			fail(w, "writes together", writes[i].result, &err);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (w->requests-- > 0 && !w->why[0] && !is_dead(w))
		if (rng_chance(&w->rng, 15))
			look_back(w);
		else if (rng_chance(&w->rng, 25) && crowd_has_room(w->crowd))
			some_together(w);
		else
			one_request(w);
	return NULL;
}

/* LAB_OK, LAB_DEAD or LAB_BAD. */
static int run_workers(struct lab *lab, uint32_t requests, bool all_shared)
{
	static struct worker workers[THREADS];
	struct crowd crowd = {.lab = lab,
			      .lock = PTHREAD_MUTEX_INITIALIZER,
			      .all_shared = all_shared,
			      .blocks = lab->oracle.blocks};
	uint32_t i, started;
	int rc = LAB_OK;

	/* On a large image all in one place, where what is taken ahead for one lies under others.
	 */
	if (lab->p.sparse) {
		crowd.blocks = WIDE_BLOCKS;
		crowd.first = rng_below(&lab->rng, lab->oracle.blocks - WIDE_BLOCKS);
	}

	for (started = 0; started < THREADS; started++) {
		struct worker *w = &workers[started];

		w->crowd = &crowd;
		w->number = started;
		w->requests = requests;
		w->cursor = rng_below(&lab->rng, crowd.blocks);
		w->rng.state = rng_next(&lab->rng);
		w->why[0] = '\0';
		if (pthread_create(&w->thread, NULL, work, w))
			break;
	}
	for (i = 0; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	if (started < THREADS)
		return lab_bad(lab, "thread %u could not be started", started);
	for (i = 0; i < THREADS; i++)
		if (workers[i].why[0])
			rc = lab_bad(lab, "%s", workers[i].why);
	if (!rc && lab->order.on && lab->order.why[0])
		rc = lab_bad(lab, "%s", lab->order.why);
	return rc ? rc : lab->disk.dead ? LAB_DEAD : LAB_OK;
}

/* The process is gone at an operation of many; the power fails, in as many ways as are worth it. */
static int frozen(struct timeline *t)
{
	uint32_t round = t->barriers++;

	crash_kill(t, false);
	crash_cut_here(t, round);
	return t->run->failed ? LAB_OK : crash_follow(t);
}

static void widen_image(struct lab_params *p, struct rng *r)
{
	uint32_t b, blocks = rng_between(r, 160, LAB_SMALL_BLOCKS - 1);

	p->size = (uint64_t)blocks * SIM_BLOCK;
	p->host_limit = 0;
	for (b = 1; b < blocks; b++)
		p->is_free[b] = rng_chance(r, 60);
}

static void choose_image(struct lab_params *p, struct rng *r, bool wide)
{
	if (wide) {
		crash_big_params(p, r);
		return;
	}
	do
		crash_params(p, r);
	while (p->size < 20 * SIM_BLOCK || p->durability != BOWIMG_DURABILITY_POWER);
	/* Some larger ones, where a sequential writer has blocks prepared ahead. */
	if (rng_chance(r, 40))
		widen_image(p, r);
}

/* Between two crowds: a mark is made, deleted or gone back to. */
static int with_marks(struct timeline *t)
{
	int rc = lab_detach(&t->lab);

	if (!rc)
		rc = crash_mark_step(t);
	return rc && rc != LAB_REFUSED ? rc : lab_attach(&t->lab);
}

/* One crowd, frozen somewhere if it is to be so, and a flush. */
static int one_round(struct timeline *t, uint32_t round, bool freeze, bool all_shared)
{
	struct lab *lab = &t->lab;
	struct lab_request flush = {.kind = LAB_FLUSH};
	int rc = LAB_OK;

	if (t->marks && rng_chance(&lab->rng, 60))
		rc = with_marks(t);
	if (rc)
		return rc;
	if (freeze || rng_chance(&lab->rng, 30))
		lab->disk.die_at = lab->disk.ops + rng_between(&lab->rng, 1, 160);
	/* Where there is one thread alone, nobody could overtake it. */
	lab->disk.jitter = rng_mix(t->path, round) | 1;
	rc = run_workers(lab, 60, all_shared);
	lab->disk.jitter = 0;
	return rc ? rc : lab_request(lab, &flush);
}

int crash_threads_scenario(struct timeline *t, uint64_t number, bool wide)
{
	struct lab *lab = &t->lab;
	struct rng r = {rng_mix(number, 0x7412ead)};
	uint32_t rounds = rng_between(&r, 1, ROUNDS);
	bool all_shared = rng_chance(&r, 50);
	struct lab_params p;
	int rc;

	choose_image(&p, &r, wide);
	/* Its ends have several threads, too. */
	p.queue_depth = rng_mix(number, 0xdee9) % 2 ? 4 : 0;
	t->run->per_barrier = wide ? 4 : 48;
	t->explore = false;
	t->marks = rng_mix(number, 0x3a4c) % 3 == 0;
	lab_make_image(lab, &p, number);
	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), rng_next(&lab->rng));
	rc = lab_prepare(lab);
	if (!rc)
		rc = lab_attach(lab);
	for (rounds += t->marks; rc == LAB_OK && rounds > 0; rounds--)
		rc = one_round(t, rounds, rounds == 1, all_shared);
	/* Where it did not come to that, the process is killed with nothing under way. */
	return rc == LAB_DEAD || rc == LAB_OK ? frozen(t) : rc;
}
