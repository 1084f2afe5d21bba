/* SPDX-License-Identifier: MIT */
/*
 * Gives blocks back that were free at prepare: what the guest took and then zeroed or discarded as
 * a whole becomes FREE with Z, so that it can hold backups again (rule 17).
 *
 * Happy path: mark runs (they are locked, and read as zeros) - wait for requests in flight - log
 * GIVE, barrier - the runs are FREE. Nothing is allocated from them before that barrier returned:
 * without it, a crash could leave a backup in a block that the log calls the guest's.
 *
 * Requests that need no preparation hold no blocks. A read or write of a block that was LIVE when
 * it began may be under way when the block is given back; what is written there next is bowimg's,
 * perhaps a backup. So each counts itself in a generation, and a GIVE begins a new generation and
 * waits until the old one is over. With that no block comes back to an earlier state while a
 * request looks at it.
 *
 * `emptied` may be set for a block that a write in flight fills. So that write looks again at its
 * end, whether something was emptied meanwhile, and takes its blocks out.
 *
 * Failure modes: no room for the record, or no memory: nothing is given; the runs read as zeros,
 * as they would anyway. A failed barrier is latched.
 */
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/engine/engine.h"

#define RUNS_MOST 2048u	    /* given by one record, if there is plenty of space */
#define SMALL_FREE_BLK 256u /* of so small an image any run is given */
#define LEAST_RUN 4u	    /* shorter runs are given on demand only */

/* ---- requests in flight ---------------------------------------------------------- */

struct bow_flight bow_flight_begin(struct bow_engine *img)
{
	struct bow_flight f = {img->generation, atomic_load(&img->empties)};

	atomic_fetch_add(&img->flights[f.generation], 1);
	return f;
}

void bow_flight_end(struct bow_engine *img, struct bow_flight f)
{
	if (atomic_fetch_sub(&img->flights[f.generation], 1) > 1 || !atomic_load(&img->awaited))
		return;
	pthread_mutex_lock(&img->lock);
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
}

/* With img->lock held: wait for all that began before. One thread at a time. */
static void wait_for_flights(struct bow_engine *img)
{
	unsigned old = img->generation;

	img->generation = !old;
	atomic_store(&img->awaited, true);
	while (atomic_load(&img->flights[old]))
		pthread_cond_wait(&img->changed, &img->lock);
	atomic_store(&img->awaited, false);
}

/* ---- what is empty --------------------------------------------------------------- */

void bow_give_note_empty(struct bow_engine *img, uint64_t start, uint64_t n)
{
	/* Without memory the blocks just stay the guest's. */
	if (img->sb.flags & BOW_SUPER_STORE_TAIL || bow_bitmap_reserve(img->emptied, start, n))
		return;
	bow_bitmap_set(img->emptied, start, n);
	atomic_fetch_add(&img->empties, 1);
}

void bow_give_note_filled(struct bow_engine *img, uint64_t start, uint64_t n)
{
	if (bow_bitmap_count(img->emptied))
		bow_bitmap_clear(img->emptied, start, n);
}

/* With img->lock held: leave these runs out, if they are being given back. */
static void withdraw(struct bow_engine *img, uint64_t start, uint64_t n)
{
	uint64_t end = start + n;

	bow_give_note_filled(img, start, n);
	if (!bow_bitmap_count(img->giving))
		return;
	for (; bow_bitmap_next_run(img->giving, &start, &n, end); start += n) {
		bow_bitmap_clear(img->giving, start, n);
		bow_bitmap_clear(img->blocks.zero_pending, start, n);
	}
}

void bow_flight_end_write(struct bow_engine *img, struct bow_flight f, uint64_t start, uint64_t n)
{
	if (atomic_load(&img->empties) != f.empties) {
		pthread_mutex_lock(&img->lock);
		withdraw(img, start, n);
		pthread_mutex_unlock(&img->lock);
	}
	bow_flight_end(img, f);
}

/* ---- mark ------------------------------------------------------------------------ */

struct giver {
	struct bow_entry *entries;
	uint32_t most, n;
	uint64_t least; /* length of a run */
};

/*
 * Returns how many blocks from blk on, at most n, can be given back: LIVE ones that no request
 * holds. If it is none, *skip is for how many that is so. A ZERO_DONE that comes after the GIVE
 * would end its Z, so blocks that wait for one are left alone.
 */
static uint64_t givable(const struct bow_engine *img, uint64_t blk, uint64_t n, uint64_t *skip)
{
	enum bow_block_state state;
	bool zero;
	uint64_t end = blk + bow_blocks_run(&img->blocks, blk, n, &state, &zero);

	*skip = end - blk;
	if (state != BOW_LIVE)
		return 0;
	*skip = 1;
	end = bow_bitmap_next(img->blocks.zero_done, blk, end, true);
	end = bow_bitmap_next(img->zero_done_ready, blk, end, true);
	end = bow_bitmap_next(img->giving, blk, end, true);
	if (end == blk)
		return 0;
	*skip = bow_max(1, bow_request_held_from(img, blk));
	return bow_request_clear_of(img, blk, end - blk);
}

/* Lock a run, and let it read as zeros; false if memory is out. */
static bool mark_run(struct bow_engine *img, uint64_t start, uint64_t n)
{
	if (bow_blocks_reserve(&img->blocks, start, n) || bow_bitmap_reserve(img->giving, start, n))
		return false;
	bow_bitmap_set(img->giving, start, n);
	bow_bitmap_set(img->blocks.zero_pending, start, n);
	return true;
}

static void mark_runs(struct bow_engine *img, struct giver *g, const struct bow_bitmap *map,
		      uint64_t start)
{
	uint64_t n, k, skip;

	for (; g->n < g->most && bow_bitmap_next_run(map, &start, &n, img->blocks.count);
	     start += k ? k : skip) {
		k = givable(img, start, n, &skip);
		if (k && k >= g->least)
			g->n += mark_run(img, start, k);
	}
}

/* ---- log ------------------------------------------------------------------------- */

static uint32_t collect(const struct bow_engine *img, const struct giver *g)
{
	uint64_t start = 0, n;
	uint32_t k = 0;

	for (; k < g->most && bow_bitmap_next_run(img->giving, &start, &n, img->blocks.count);
	     start += n)
		g->entries[k++] = (struct bow_entry){
			.type = BOW_ENTRY_GIVE,
			.source_blk = start,
			.count_blk = (uint32_t)bow_min(n, UINT32_MAX),
		};
	return k;
}

/* The record is past its barrier: the blocks can be handed out from here on. */
static uint64_t settle(struct bow_engine *img, const struct bow_entry *e, uint32_t n)
{
	uint64_t given = 0;

	for (; n--; e++) {
		bow_alloc_untake(&img->alloc, e->source_blk, e->count_blk);
		bow_bitmap_clear(img->emptied, e->source_blk, e->count_blk);
		bow_share_forget(img, e->source_blk, e->count_blk);
		bow_bitmap_clear(img->giving, e->source_blk, e->count_blk);
		given += e->count_blk;
	}
	img->gives++;
	img->given_blk += given;
	bow_warning_space_is_back(img);
	return given;
}

/* With img->lock held, which is dropped meanwhile. *given is raised. */
static int log_marked(struct bow_engine *img, const struct giver *g, uint64_t *given,
		      struct bowimg_error *err)
{
	uint32_t n;
	int rc = 0;

	wait_for_flights(img);
	while (!rc && (n = collect(img, g)) > 0) {
		pthread_mutex_unlock(&img->lock);
		rc = bow_engine_log(img, g->entries, n, err);
		pthread_mutex_lock(&img->lock);
		if (!rc)
			*given += settle(img, g->entries, n);
	}
	if (rc)
		bow_bitmap_clear(img->giving, 0, img->blocks.count);
	pthread_cond_broadcast(&img->changed);
	return rc;
}

/* Older programs would take the entry for damage: the superblock says first that it may come. */
static int announce(struct bow_engine *img, struct bowimg_error *err)
{
	int rc;

	if (img->sb.incompat & BOW_INCOMPAT_GIVE)
		return 0;
	bow_engine_lead(img);
	/* The leader's, but a request that reserves room looks at this field with the lock. */
	pthread_mutex_lock(&img->lock);
	img->sb.incompat |= BOW_INCOMPAT_GIVE;
	pthread_mutex_unlock(&img->lock);
	rc = bow_engine_write_super(img, err);
	if (!rc)
		rc = bow_engine_barrier(img, err);
	bow_engine_step_down(img);
	return rc;
}

/* Mark what is to be given back, at most g->most runs. */
static void mark(struct bow_engine *img, struct giver *g, enum bow_give_when when)
{
	g->n = 0;
	if (when != BOW_GIVE_SHARE)
		mark_runs(img, g, img->emptied, 0);
	/* At the end: whoever serves the image next knows nothing of it. */
	if (when == BOW_GIVE_ON_DEMAND || (when == BOW_GIVE_AT_DETACH && img->ahead_wide))
		mark_runs(img, g, img->ahead, 0);
	else if (when == BOW_GIVE_SHARE)
		mark_runs(img, g, img->ahead, bow_share_give_from(img));
}

static int give_all(struct bow_engine *img, struct giver *g, enum bow_give_when when,
		    uint64_t *given, struct bowimg_error *err)
{
	int rc = announce(img, err);
	bool full = true;

	pthread_mutex_lock(&img->lock);
	if (when == BOW_GIVE_SHARE || when == BOW_GIVE_ON_DEMAND)
		bow_share_begin(img);
	while (!rc && full) {
		/* Those on their way into the log have no bits any more. */
		while (img->logging_zero_done)
			pthread_cond_wait(&img->changed, &img->lock);
		g->most = bow_request_reserve_give(img, RUNS_MOST);
		mark(img, g, when);
		full = g->n == g->most;
		if (g->n)
			rc = log_marked(img, g, given, err);
		bow_request_release_give(img);
	}
	pthread_mutex_unlock(&img->lock);
	return rc;
}

int bow_give(struct bow_engine *img, enum bow_give_when when, uint64_t *given,
	     struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_entry *entries = malloc(RUNS_MOST * sizeof(*entries));
	struct giver g = {.entries = entries, .least = LEAST_RUN};
	bool worth;
	int rc = 0;

	*given = 0;
	if (!entries)
		return bow_err_errno(err, -ENOMEM, "give blocks back");
	pthread_mutex_lock(&img->lock);
	while (img->give_running)
		pthread_cond_wait(&img->changed, &img->lock);
	worth = img->give_running = bow_share_give_worth(img, when);
	if (when == BOW_GIVE_ON_DEMAND || img->sb.free_total_blk < SMALL_FREE_BLK)
		g.least = 1;
	pthread_mutex_unlock(&img->lock);
	if (!worth)
		return 0;
	rc = give_all(img, &g, when, given, err);
	pthread_mutex_lock(&img->lock);
	img->give_running = false;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	return rc;
}
