/* SPDX-License-Identifier: MIT */
/*
 * Block locks and space. A request holds a range of blocks from before it looks at their states
 * until it has changed them, so no other request decides on the same block. Requests to blocks that
 * need no preparation only check that no request is in their way.
 */
#include <inttypes.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

static bool being_given(const struct bow_engine *img, uint64_t first, uint64_t count)
{
	return bow_bitmap_count(img->giving) && !bow_bitmap_all(img->giving, first, count, false);
}

/* Finds the first blocks that the request holds and that do not end before blk; false: none. */
static bool held_behind(const struct bow_request *req, uint64_t blk, struct bow_run *run)
{
	uint32_t low = 0, high = req->n_held;

	if (!req->held) {
		*run = (struct bow_run){req->first, req->count};
		return blk < req->first + req->count;
	}
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (req->held[mid].start_blk + req->held[mid].count_blk <= blk)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < req->n_held)
		*run = req->held[low];
	return low < req->n_held;
}

static bool holds(const struct bow_request *req, uint64_t first, uint64_t count)
{
	struct bow_run run;

	return held_behind(req, first, &run) && run.start_blk < first + count;
}

bool bow_request_overlaps(const struct bow_engine *img, uint64_t first, uint64_t count)
{
	unsigned seen = 0;

	if (being_given(img, first, count))
		return true;

	for (unsigned i = 0; i < BOW_SLOTS && seen < img->active_requests; i++) {
		const struct bow_request *req = &img->requests[i];

		if (!req->active)
			continue;
		seen++;
		if (holds(req, first, count))
			return true;
	}
	return false;
}

uint64_t bow_request_clear_of(const struct bow_engine *img, uint64_t first, uint64_t count)
{
	struct bow_run run;

	for (unsigned i = 0; i < BOW_SLOTS; i++) {
		const struct bow_request *req = &img->requests[i];

		if (req->active && held_behind(req, first, &run) && run.start_blk < first + count)
			count = run.start_blk > first ? run.start_blk - first : 0;
	}
	if (bow_bitmap_count(img->giving))
		count = bow_bitmap_next(img->giving, first, first + count, true) - first;
	return count;
}

uint64_t bow_request_held_from(const struct bow_engine *img, uint64_t blk)
{
	struct bow_run run;
	uint64_t n = 0;

	for (unsigned i = 0; i < BOW_SLOTS; i++) {
		const struct bow_request *req = &img->requests[i];

		if (req->active && held_behind(req, blk, &run) && run.start_blk <= blk)
			n = bow_max(n, run.start_blk + run.count_blk - blk);
	}
	return n;
}

void bow_request_next_to(const struct bow_request *req, uint64_t blk, uint64_t *from, uint64_t *to)
{
	struct bow_run run;

	for (uint64_t at = *from; at < *to && held_behind(req, at, &run) && run.start_blk < *to;
	     at = run.start_blk + run.count_blk) {
		if (run.start_blk < blk)
			*from = run.start_blk + run.count_blk;
		else
			*to = run.start_blk;
	}
}

bool bow_request_delays(const struct bow_engine *img, uint64_t first, uint64_t count)
{
	unsigned seen = 0;

	if (being_given(img, first, count))
		return true;

	for (unsigned i = 0; i < BOW_SLOTS && seen < img->active_requests; i++) {
		const struct bow_request *req = &img->requests[i];

		if (!req->active)
			continue;
		seen++;
		if (req->held ? holds(req, first, count)
			      : bow_ranges_overlap(req->taken, req->taken_count, first, count))
			return true;
	}
	return false;
}

static bool in_the_way(const struct bow_engine *img, uint64_t first, uint64_t count, bool block0)
{
	for (unsigned i = 0; i < BOW_SLOTS; i++) {
		const struct bow_request *req = &img->requests[i];

		if (req->active && (holds(req, first, count) || (block0 && req->block0) ||
				    bow_request_fills(req, first, count)))
			return true;
	}
	return being_given(img, first, count);
}

static struct bow_request *idle_slot(struct bow_engine *img)
{
	for (unsigned i = 0; i < BOW_REQUESTS; i++)
		if (!img->requests[i].active)
			return &img->requests[i];
	return NULL;
}

static void reset(struct bow_request *req, uint64_t first, uint64_t count, bool block0)
{
	req->active = true;
	req->first = req->core = req->taken = first;
	req->count = req->core_count = req->taken_count = count;
	req->n_held = 0;
	req->block0 = block0;
	req->to_tail = false;
	req->give_first = false;
	req->old_live0 = 0;
	req->dests_left = 0;
	req->units = 0;
	req->n_dests = 0;
	req->n = 0;
}

struct bow_request *bow_request_begin(struct bow_engine *img, uint64_t first, uint64_t count,
				      struct bowimg_error *err)
{
	struct bow_request *req;
	bool block0;

	pthread_mutex_lock(&img->lock);
	for (;;) {
		if (bow_engine_failed(img, err))
			return NULL;
		block0 = first == 0 || (img->live0_blk >= first && img->live0_blk < first + count);
		req = idle_slot(img);
		if (req && !in_the_way(img, first, count, block0))
			break;
		pthread_cond_wait(&img->changed, &img->lock);
	}
	reset(req, first, count, block0);
	img->active_requests++;
	return req;
}

/* ---- one that holds many runs ---------------------------------------------------- */

struct bow_request *bow_request_begin_many(struct bow_engine *img, struct bowimg_error *err)
{
	struct bow_request *req = &img->requests[BOW_REQUESTS];

	pthread_mutex_lock(&img->lock);
	do {
		if (bow_engine_failed(img, err))
			return NULL;
	} while (req->active && !pthread_cond_wait(&img->changed, &img->lock));
	reset(req, 0, 0, false);
	img->active_requests++;
	return req;
}

bool bow_request_hold(struct bow_engine *img, struct bow_request *req, struct bow_run run)
{
	const struct bow_run *last = req->n_held ? &req->held[req->n_held - 1] : NULL;

	if (!req->held || !run.start_blk ||
	    (last && run.start_blk < last->start_blk + last->count_blk) ||
	    req->count + run.count_blk > BOW_MANY_BLK || req->n_held == BOW_MANY_BLK ||
	    in_the_way(img, run.start_blk, run.count_blk, false))
		return false;
	req->held[req->n_held++] = run;
	req->count += run.count_blk;
	return true;
}

void bow_request_unhold(struct bow_request *req)
{
	req->count -= req->held[--req->n_held].count_blk;
}

void bow_request_let_go(struct bow_engine *img, struct bow_request *req)
{
	if (req->to_tail)
		img->tail_reserved -= req->dests_left;
	else
		img->dests_reserved -= req->dests_left;
	img->units_reserved -= req->units;
	req->active = false;
	img->active_requests--;
	pthread_cond_broadcast(&img->changed);
}

void bow_request_end(struct bow_engine *img, struct bow_request *req)
{
	struct bow_warning due = bow_warning_due(img, req->count);

	bow_request_let_go(img, req);
	pthread_mutex_unlock(&img->lock);
	bow_warn(img, due);
}

/* ---- space ----------------------------------------------------------------------- */

/*
 * Returns what n entries cost in the log at worst, in the units of units_in_blk(). A sector behind
 * a segment's header, or of a record that was split, holds at least bow_log_unit_entries() entries.
 */
static uint64_t units_for(const struct bow_engine *img, uint64_t n)
{
	return bow_div_up(n, bow_log_unit_entries(&img->log));
}

/*
 * Returns how many units the shortest segment, one block, has: its sectors, less a header of 512.
 */
static uint64_t units_in_blk(const struct bow_engine *img)
{
	return img->log.sector_size == 512 ? BOW_BLOCK / 512 - 1 : 1;
}

/*
 * On a device the plan of the last step lies in free blocks, too. At worst it has a run for each
 * piece of the log, of the map and of block 0's copies.
 */
static uint64_t plan_blk(const struct bow_engine *img)
{
	uint64_t runs =
		img->log_blk + bow_div_up(img->blocks.count, BOW_MAP_LEAF_BLK) + 2 + img->epochs;

	return img->dev->can_grow ? 0 : bow_finish_plan_blk(runs, false);
}

/* A segment for the GIVE that is called for when space runs out; it may be in use just now. */
static uint64_t give_blk(const struct bow_engine *img)
{
	return !(img->sb.flags & BOW_SUPER_STORE_TAIL) && !img->give_units;
}

/*
 * Rule 14: returns how many blocks must stay free for the log and block 0's copy: two segments, one
 * move of the copy, one segment for giving back, and all room in the log that is reserved, in
 * segments of one block.
 */
static uint64_t reserve_blk(const struct bow_engine *img, uint64_t more_zero_done)
{
	uint64_t units = img->units_reserved + units_for(img, img->n_zero_done + more_zero_done) +
			 units_for(img, img->n_zero_pending + img->led_zero_pending);

	return 2 + 1 + give_blk(img) + plan_blk(img) + bow_div_up(units, units_in_blk(img)) +
	       bow_mark_reserve(&img->sb, img->segments + img->epochs);
}

static int no_space(struct bow_engine *img, struct bowimg_error *err)
{
	bow_err(err, -ENOSPC,
		"no room for another backup (%" PRIu64 " free blocks are left, in reserve)",
		img->alloc.free_blk);
	bow_err_hint(err, "everything up to here can still be rolled back or committed");
	return -ENOSPC;
}

/* The tail takes the backups, and the log's reserve as well. */
static int reserve_in_tail(struct bow_engine *img, struct bow_request *req, uint64_t dests,
			   uint64_t zero_done, struct bowimg_error *err)
{
	int rc;

	if (!(img->sb.flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL)))
		return no_space(img, err);
	for (;;) {
		uint64_t need = img->tail_reserved + dests + reserve_blk(img, zero_done);

		if (bow_alloc_tail_left(&img->alloc) >= need)
			break;
		rc = bow_engine_grow(img, need, err);
		if (rc)
			return rc;
	}
	req->to_tail = true;
	img->tail_reserved += dests;
	return 0;
}

int bow_request_reserve(struct bow_engine *img, struct bow_request *req, uint64_t dests,
			uint64_t entries, uint64_t zero_done, struct bowimg_error *err)
{
	int rc = 0;

	/* A request that moves the log out of its segment leaves the segment's rest unused. */
	uint64_t units = units_for(img, entries) + (dests && !req->held ? units_in_blk(img) : 0);

	req->units += units;
	img->units_reserved += units;
	if (!(img->sb.flags & BOW_SUPER_STORE_TAIL) && !req->to_tail &&
	    img->alloc.free_blk >= img->dests_reserved + dests + reserve_blk(img, zero_done))
		img->dests_reserved += dests;
	else if (req->give_first && bow_share_give_worth(img, BOW_GIVE_ON_DEMAND))
		rc = BOW_GIVE_FIRST;
	else if (req->dests_left && !req->to_tail)
		rc = no_space(img, err); /* what it has is not in the tail: so it has no more */
	else
		rc = reserve_in_tail(img, req, dests, zero_done, err);
	if (!rc) {
		req->dests_left += dests;
	} else {
		req->units -= units;
		img->units_reserved -= units;
	}
	return rc;
}

uint32_t bow_request_reserve_give(struct bow_engine *img, uint32_t most)
{
	uint64_t units = units_for(img, most), in_blk = units_in_blk(img);

	if (img->alloc.free_blk <
	    img->dests_reserved + reserve_blk(img, 0) + bow_div_up(units, in_blk)) {
		units = in_blk;
		most = (uint32_t)bow_min(most, in_blk * bow_log_unit_entries(&img->log));
	}
	img->give_units = units;
	img->units_reserved += units;
	return most;
}

void bow_request_release_give(struct bow_engine *img)
{
	img->units_reserved -= img->give_units;
	img->give_units = 0;
}

void bow_request_take(struct bow_engine *img, struct bow_request *req, uint64_t start, uint64_t n)
{
	bow_alloc_take(&img->alloc, start, n);
	req->entries[req->n++] = (struct bow_entry){
		.type = BOW_ENTRY_TAKE,
		.source_blk = start,
		.count_blk = (uint32_t)n,
	};
}
