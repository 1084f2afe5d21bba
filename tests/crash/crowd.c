/* SPDX-License-Identifier: MIT */
/* What the threads of a crowd ask for, each for sectors of its own. */
#include "crowd.h"

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

static bool is_shared(const struct crowd *c, uint32_t block)
{
	return c->all_shared || block % 2 == 0;
}

bool crowd_owns(const struct worker *w, uint32_t sector)
{
	uint32_t block = sector / 8;

	return is_shared(w->crowd, block) ? sector % 8 % THREADS == w->number
					  : block / 2 % THREADS == w->number;
}

/* Anywhere; one after the other; or where a backup of somebody else is just being put. */
static uint32_t choose_block(struct worker *w)
{
	uint32_t blocks = w->crowd->blocks, n = rng_below(&w->rng, 100);
	uint32_t all = w->crowd->lab->oracle.blocks;
	struct bow_engine *engine = bow_engine_of(w->crowd->lab->engine);
	uint64_t next;

	if (n < 40)
		return w->crowd->first + rng_below(&w->rng, blocks);
	if (n < 70)
		return w->crowd->first + (w->cursor = (w->cursor + 1) % blocks);
	pthread_mutex_lock(&engine->lock);
	next = engine->alloc.next;
	pthread_mutex_unlock(&engine->lock);
	return (uint32_t)((next + all - rng_below(&w->rng, 4)) % all);
}

/* Sectors that are this thread's: one of a shared block, or some of a block of its own. */
static void choose(struct worker *w, struct lab_request *req)
{
	uint64_t size = w->crowd->lab->p.size;
	uint32_t block = choose_block(w);

	req->off = (uint64_t)block * SIM_BLOCK;
	if (is_shared(w->crowd, block)) {
		req->off += (rng_below(&w->rng, 2) * THREADS + w->number) * (uint64_t)SIM_SECTOR;
		req->bytes = SIM_SECTOR;
	} else if (crowd_owns(w, block * 8)) {
		req->bytes = SIM_BLOCK;
		if (rng_chance(&w->rng, 30))
			req->bytes = SIM_SECTOR * rng_between(&w->rng, 1, 7);
	} else {
		req->off = w->number * SIM_SECTOR;
		req->bytes = SIM_SECTOR;
	}
	if (req->off >= size)
		req->off = w->number * SIM_SECTOR;
	req->bytes = bow_min(req->bytes, size - req->off);
}

bool crowd_has_room(struct crowd *c)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = c->lab->oracle.fullest < ORACLE_VALUES - 3;
	pthread_mutex_unlock(&c->lock);
	return yes;
}

void crowd_choose(struct worker *w, struct lab_request *req)
{
	uint32_t n = rng_below(&w->rng, 100);

	memset(req, 0, sizeof(*req));
	if (!crowd_has_room(w->crowd))
		n = 99;
	req->kind = n < 60   ? LAB_WRITE
		    : n < 65 ? LAB_FUA
		    : n < 78 ? LAB_ZERO
		    : n < 90 ? LAB_READ
			     : LAB_FLUSH;
	if (req->kind != LAB_FLUSH)
		choose(w, req);
}

uint32_t crowd_choose_places(struct worker *w, struct lab_request req[TOGETHER])
{
	struct lab_request next = {.kind = LAB_WRITE};
	uint32_t n = 0, i;

	for (uint32_t tries = 0; tries < TOGETHER; tries++) {
		choose(w, &next);
		for (i = n; i > 0 && req[i - 1].off >= next.off + next.bytes; i--)
			;
		if (i > 0 && req[i - 1].off + req[i - 1].bytes > next.off)
			continue;
		memmove(&req[i + 1], &req[i], (n - i) * sizeof(req[0]));
		req[i] = next;
		n++;
	}
	return n;
}

/* The first blocks of a request that is under way, or UINT64_MAX. */
static uint64_t somebodys(struct worker *w)
{
	struct bow_engine *engine = bow_engine_of(w->crowd->lab->engine);
	uint64_t block = UINT64_MAX;

	pthread_mutex_lock(&engine->lock);
	for (uint32_t i = 0; i < BOW_SLOTS; i++)
		if (engine->requests[i].active && (block == UINT64_MAX || rng_chance(&w->rng, 50)))
			block = engine->requests[i].core;
	pthread_mutex_unlock(&engine->lock);
	return block;
}

void crowd_choose_before(struct worker *w, uint64_t *off, uint64_t *bytes)
{
	uint64_t size = w->crowd->lab->p.size;
	uint64_t block = rng_chance(&w->rng, 70) ? somebodys(w) : UINT64_MAX;

	if (block == UINT64_MAX)
		block = rng_below(&w->rng, w->crowd->lab->oracle.blocks);
	*off = block * SIM_BLOCK;
	*bytes = bow_min(rng_between(&w->rng, 1, MOST_BYTES), size - *off);
}
