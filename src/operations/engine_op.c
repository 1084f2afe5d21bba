/* SPDX-License-Identifier: MIT */
/*
 * Block locks and space. An op holds a range of blocks from before it looks at their states until
 * it has changed them, so that nobody else decides on the same block; requests to blocks that need
 * no preparation only check that no op is in their way.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/engine.h"

static bool overlap(uint64_t a, uint64_t an, uint64_t b, uint64_t bn)
{
	return a < b + bn && b < a + an;
}

bool bow_op_overlaps(const struct bowimg *img, uint64_t first, uint64_t count)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < BOW_OPS && seen < img->active_ops; i++) {
		const struct bow_op *op = &img->ops[i];

		if (!op->active)
			continue;
		seen++;
		if (overlap(op->first, op->count, first, count))
			return true;
	}
	return false;
}

uint64_t bow_op_clear_of(const struct bowimg *img, uint64_t first, uint64_t count)
{
	for (unsigned i = 0; i < BOW_OPS; i++) {
		const struct bow_op *op = &img->ops[i];

		if (op->active && overlap(op->first, op->count, first, count))
			count = op->first > first ? op->first - first : 0;
	}
	return count;
}

bool bow_op_delays(const struct bowimg *img, uint64_t first, uint64_t count)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < BOW_OPS && seen < img->active_ops; i++) {
		const struct bow_op *op = &img->ops[i];

		if (!op->active)
			continue;
		seen++;
		if (overlap(op->taken, op->taken_count, first, count))
			return true;
	}
	return false;
}

/* Are backups on their way into the range, whose entries may not be durable yet? */
static bool dest_in(const struct bow_op *op, uint64_t first, uint64_t count)
{
	for (uint32_t i = 0; i < op->n_dests; i++)
		if (overlap(op->dests[i].start_blk, op->dests[i].count_blk, first, count))
			return true;
	return false;
}

static bool in_the_way(const struct bowimg *img, uint64_t first, uint64_t count, bool block0)
{
	for (unsigned i = 0; i < BOW_OPS; i++) {
		const struct bow_op *op = &img->ops[i];

		if (op->active && (overlap(op->first, op->count, first, count) ||
				   (block0 && op->block0) || dest_in(op, first, count)))
			return true;
	}
	return false;
}

static struct bow_op *idle_slot(struct bowimg *img)
{
	for (unsigned i = 0; i < BOW_OPS; i++)
		if (!img->ops[i].active)
			return &img->ops[i];
	return NULL;
}

static void reset(struct bow_op *op, uint64_t first, uint64_t count, bool block0)
{
	op->active = true;
	op->first = op->core = op->taken = first;
	op->count = op->core_count = op->taken_count = count;
	op->block0 = block0;
	op->to_tail = false;
	op->old_live0 = 0;
	op->dests_left = 0;
	op->units = 0;
	op->n_dests = 0;
	op->n = 0;
}

struct bow_op *bow_op_begin(struct bowimg *img, uint64_t first, uint64_t count,
			    struct bowimg_error *err)
{
	struct bow_op *op;
	bool block0;

	pthread_mutex_lock(&img->lock);
	for (;;) {
		if (bow_engine_failed(img, err))
			return NULL;
		block0 = first == 0 || (img->live0_blk >= first && img->live0_blk < first + count);
		op = idle_slot(img);
		if (op && !in_the_way(img, first, count, block0))
			break;
		pthread_cond_wait(&img->changed, &img->lock);
	}
	reset(op, first, count, block0);
	img->active_ops++;
	return op;
}

/* The share of the free space in use that the user should be told of now, in percent; 0 if none. */
static unsigned warning_due(struct bowimg *img)
{
	uint64_t total = img->sb.free_total_blk;
	unsigned used, mark;

	if (!total || img->sb.flags & BOW_SUPER_STORE_TAIL)
		return 0;
	used = (unsigned)(100 - img->alloc.free_blk * 100 / total);
	mark = used >= 90 ? 90 : used >= 75 ? 75 : 0;
	if (mark <= img->warned)
		return 0;
	img->warned = mark;
	return mark;
}

static void warn_of_space(const struct bowimg *img, unsigned percent)
{
	char text[160];

	snprintf(text, sizeof(text), "%u%% of the free space for backups is used; when it ends, %s",
		 percent,
		 img->sb.flags & BOW_SUPER_ON_FULL_TAIL ? "the file grows"
							: "writes fail with 'no space'");
	img->opts.events.notice(img->opts.events.ctx, text);
}

void bow_op_let_go(struct bowimg *img, struct bow_op *op)
{
	if (op->to_tail)
		img->tail_promised -= op->dests_left;
	else
		img->dests_promised -= op->dests_left;
	img->units_promised -= op->units;
	op->active = false;
	img->active_ops--;
	pthread_cond_broadcast(&img->changed);
}

void bow_op_end(struct bowimg *img, struct bow_op *op)
{
	unsigned percent = img->opts.events.notice ? warning_due(img) : 0;

	bow_op_let_go(img, op);
	pthread_mutex_unlock(&img->lock);
	if (percent)
		warn_of_space(img, percent);
}

/* ---- space ------------------------------------------------------------------------------------
 */

/*
 * What n entries cost in the log at worst, in the units of units_in_blk(). A record behind a
 * segment's header or a piece of one that was split holds at least `per` entries a sector.
 */
static uint64_t units_for(const struct bowimg *img, uint64_t n)
{
	return bow_div_up(n, bow_log_unit_entries(&img->log));
}

/* Such units in the shortest segment, one block: its sectors, the header's not counted at 512. */
static uint64_t units_in_blk(const struct bowimg *img)
{
	return img->log.sector_size == 512 ? BOW_BLOCK / 512 - 1 : 1;
}

/*
 * On a device the plan of the last step lies in free blocks, too: a run for each piece of the log,
 * of the map and of block 0's copies at worst.
 */
static uint64_t plan_blk(const struct bowimg *img)
{
	uint64_t runs = img->log_blk + bow_div_up(img->blocks.count, BOW_MAP_LEAF_BLK) + 2;

	return img->dev->can_grow ? 0 : bow_finish_plan_blk(runs, false);
}

/*
 * Rule 14: what must stay free for the log and block 0's copy, in blocks: two segments, one move of
 * the copy, and everything that was promised room in the log, in segments of one block.
 */
static uint64_t reserve_blk(const struct bowimg *img, uint64_t more_lifts)
{
	uint64_t units = img->units_promised + units_for(img, img->lifts + more_lifts) +
			 units_for(img, img->n_promises + img->led_promises);

	return 2 + 1 + plan_blk(img) + bow_div_up(units, units_in_blk(img));
}

static int no_space(struct bowimg *img, struct bowimg_error *err)
{
	bow_err(err, -ENOSPC,
		"no room for another backup (%" PRIu64 " free blocks are left, in reserve)",
		img->alloc.free_blk);
	bow_err_hint(err, "everything up to here can still be rolled back or committed");
	return -ENOSPC;
}

/* The tail takes the backups, and the log's reserve as well. */
static int reserve_in_tail(struct bowimg *img, struct bow_op *op, uint64_t dests, uint64_t lifts,
			   struct bowimg_error *err)
{
	int rc;

	if (!(img->sb.flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL)))
		return no_space(img, err);
	for (;;) {
		uint64_t need = img->tail_promised + dests + reserve_blk(img, lifts);

		if (img->alloc.tail_end - img->alloc.tail_next >= need)
			break;
		rc = bow_engine_grow(img, need, err);
		if (rc)
			return rc;
	}
	op->to_tail = true;
	img->tail_promised += dests;
	return 0;
}

int bow_op_reserve(struct bowimg *img, struct bow_op *op, uint64_t dests, uint64_t entries,
		   uint64_t lifts, struct bowimg_error *err)
{
	int rc = 0;

	/* An op that drives the log out of its segment leaves the rest of that segment unused. */
	uint64_t units = units_for(img, entries) + (dests ? units_in_blk(img) : 0);

	op->units += units;
	img->units_promised += units;
	if (!(img->sb.flags & BOW_SUPER_STORE_TAIL) &&
	    img->alloc.free_blk >= img->dests_promised + dests + reserve_blk(img, lifts))
		img->dests_promised += dests;
	else
		rc = reserve_in_tail(img, op, dests, lifts, err);
	if (!rc) {
		op->dests_left += dests;
	} else {
		op->units -= units;
		img->units_promised -= units;
	}
	return rc;
}

uint64_t bow_op_dest(struct bowimg *img, struct bow_op *op, uint64_t most, uint64_t *start)
{
	uint64_t n = bow_min(most, op->dests_left);

	if (op->to_tail)
		n = bow_alloc_tail_run(&img->alloc, 1, n, start);
	else
		n = bow_alloc_free_run(&img->alloc, 1, n, start);
	if (!n)
		return 0;
	op->dests_left -= n;
	if (op->to_tail)
		img->tail_promised -= n;
	else
		img->dests_promised -= n;
	img->moves++;
	assert(op->n_dests < BOW_OP_ENTRIES);
	op->dests[op->n_dests++] = (struct bow_run){*start, n};
	return n;
}

int bow_engine_fail(struct bowimg *img, int rc)
{
	pthread_mutex_lock(&img->lock);
	if (!img->failed)
		img->failed = rc;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	return rc;
}

int bow_engine_failed(struct bowimg *img, struct bowimg_error *err)
{
	if (!img->failed)
		return 0;
	bow_err(err, -EIO, "writes are refused since the disk reported an error (%s)",
		strerror(-img->failed));
	bow_err_hint(err, "what is on the disk can still be rolled back; detach it first");
	return -EIO;
}
