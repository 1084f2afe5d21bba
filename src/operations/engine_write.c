/* SPDX-License-Identifier: MIT */
/*
 * Writing. Blocks that are SAVED or LIVE without a promise are written at once. All others are
 * prepared first, as one op:
 *
 *	hold the blocks - plan (what must be saved, is there room?) - back up - log, barrier -
 *	write the guest's data - change the states - release
 *
 * [I1, I2]: the data is written only after bow_engine_log() returned, which is after the barrier
 * that follows the backups and the record naming them.
 *
 * A block that the guest sees as zeros (promised, or held by bowimg) is written as a whole, zeros
 * around the new bytes. Its promise ends in memory then, and in the log once a barrier has made
 *that write durable (engine.c, rule 3).
 *
 * Failure modes: no room, nothing was written, the states are as before. Reading a block or writing
 * its backup fails: the same; blocks used for backups so far stay held, unused. The guest's data
 * cannot be written: the blocks are saved, the promise stays, the guest gets the error.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/engine.h"

/* ---- plan -------------------------------------------------------------------------------------
 */

struct needs {
	uint64_t dests, lifts;
	bool held, live0;
};

void bow_op_take(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n)
{
	bow_alloc_take(&img->alloc, start, n);
	op->entries[op->n++] = (struct bow_entry){
		.type = BOW_ENTRY_TAKE,
		.source_blk = start,
		.count_blk = (uint32_t)n,
	};
}

/* Nothing of the op is in the log: what it took is FREE again; block 0's old place stays HELD. */
static void untake_all(struct bowimg *img, struct bow_op *op)
{
	for (uint32_t i = 0; i < op->n; i++) {
		const struct bow_entry *e = &op->entries[i];

		if (e->type != BOW_ENTRY_TAKE || e->source_blk == op->old_live0)
			continue;
		bow_alloc_untake(&img->alloc, e->source_blk, e->count_blk);
		bow_bitmap_clear(img->ahead, e->source_blk, e->count_blk);
	}
	op->n = 0;
}

static void count_needs(struct bowimg *img, struct bow_op *op, struct needs *needs)
{
	uint64_t end = op->core + op->core_count, run;
	enum bow_block_state state;
	bool zero;

	memset(needs, 0, sizeof(*needs));
	for (uint64_t blk = op->core; blk < end; blk += run) {
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		if (zero)
			needs->lifts += run;
		if (state == BOW_ORIGINAL || state == BOW_HELD)
			needs->dests += run;
		else if (state == BOW_FREE)
			bow_op_take(img, op, blk, run);
		needs->held |= state == BOW_HELD;
	}
	/* Block 0's copy moves to one block like any other; its entry is a TAKE instead of a COPY.
	 */
	needs->live0 = img->live0_blk >= op->core && img->live0_blk < end;
}

/* On error nothing is promised, and the states are as before. */
static int plan_with(struct bowimg *img, struct bow_op *op, bool ahead, struct needs *needs,
		     struct bowimg_error *err)
{
	uint64_t dests;
	int rc = -EAGAIN;

	op->first = op->taken = op->core;
	op->count = op->taken_count = op->core_count;
	count_needs(img, op, needs);
	dests = needs->dests + (ahead ? bow_op_widen(img, op) : 0);
	if (img->alloc.free_blk >= img->dests_promised)
		rc = bow_op_reserve(img, op, dests, dests + op->n + 1, needs->lifts, err);
	if (rc)
		untake_all(img, op);
	return rc;
}

/*
 * With img->lock held. -EAGAIN: the FREE blocks that the request would take are needed for backups
 * that others were promised; those wait for nobody, so trying again later helps.
 */
static int plan(struct bowimg *img, struct bow_op *op, struct needs *needs,
		struct bowimg_error *err)
{
	int rc;

	if (bow_blocks_reserve(&img->blocks, op->core, op->core_count) ||
	    bow_bitmap_reserve(img->lift_ready, op->core, op->core_count))
		return bow_err_errno(err, -ENOMEM, "prepare blocks");
	rc = plan_with(img, op, true, needs, err);
	/* What was added for later must not be what there is no room for. */
	if ((rc == -ENOSPC || rc == -EAGAIN) && op->count > op->core_count)
		rc = plan_with(img, op, false, needs, err);
	return rc;
}

/*
 * Hold the blocks and plan. While waiting for others to end, nothing is held: what was FREE may be
 * anybody's by then, so all is looked at afresh. Returns with img->lock held.
 */
static struct bow_op *begin_planned(struct bowimg *img, uint64_t first, uint64_t count,
				    struct needs *needs, int *rc, struct bowimg_error *err)
{
	struct bow_op *op;

	for (;;) {
		*rc = -EIO;
		op = bow_op_begin(img, first, count, err);
		if (op)
			*rc = plan(img, op, needs, err);
		if (!op || *rc != -EAGAIN)
			return op;
		bow_op_let_go(img, op);
		pthread_cond_wait(&img->changed, &img->lock);
		pthread_mutex_unlock(&img->lock);
	}
}

/* ---- make safe ------------------------------------------------------------------------------ */

/* Everything up to the point where the guest's data may be written. */
static int make_safe(struct bowimg *img, struct bow_op *op, const struct needs *needs,
		     struct bowimg_error *err)
{
	int rc = 0;

	if (needs->live0)
		rc = bow_engine_move_live0(img, op, err);
	if (!rc && needs->held)
		rc = bow_engine_leave_segment(img, op, err);
	if (!rc)
		rc = bow_op_back_up(img, op, err);
	if (!rc && op->count > op->core_count)
		rc = bow_op_back_up_ahead(img, op, err);
	if (!rc && op->n)
		rc = bow_engine_log(img, op->entries, op->n, err);
	return rc;
}

/* ---- write the data ---------------------------------------------------------------------------
 */

/* Does the guest see zeros in what this write leaves of the block? */
static bool reads_zero(struct bowimg *img, const struct bow_op *op, uint64_t blk)
{
	bool yes;

	pthread_mutex_lock(&img->lock);
	yes = bow_bitmap_test(img->blocks.zero, blk) || bow_bitmap_test(img->blocks.held, blk) ||
	      (op->old_live0 && blk == op->old_live0);
	pthread_mutex_unlock(&img->lock);
	return yes;
}

/* Bytes inside one block: at block 0's copy, or with zeros around them where those are seen. */
static int write_in_block(struct bowimg *img, const struct bow_op *op, const uint8_t *buf,
			  size_t bytes, uint64_t off, struct bowimg_error *err)
{
	uint64_t blk = off / BOW_BLOCK;
	size_t in_blk = off % BOW_BLOCK, whole = bow_super_bytes(&img->sb, blk, 1);
	uint8_t block[BOW_BLOCK];

	if (blk == 0)
		return bow_dev_write(img->dev, buf, bytes, img->live0_blk * BOW_BLOCK + in_blk,
				     err);
	if (bytes == whole || !reads_zero(img, op, blk))
		return bow_dev_write(img->dev, buf, bytes, off, err);
	memset(block, 0, sizeof(block));
	memcpy(block + in_blk, buf, bytes);
	return bow_dev_write(img->dev, block, whole, blk * BOW_BLOCK, err);
}

/* First and last block apart, since they may be partial or block 0; the rest at once. */
static int write_data(struct bowimg *img, const struct bow_op *op, const uint8_t *buf, size_t bytes,
		      uint64_t off, struct bowimg_error *err)
{
	size_t head = (size_t)bow_min(bytes, BOW_BLOCK - off % BOW_BLOCK), tail, middle;
	int rc = write_in_block(img, op, buf, head, off, err);

	tail = (bytes - head) % BOW_BLOCK;
	middle = bytes - head - tail;
	if (!rc && middle)
		rc = bow_dev_write(img->dev, buf + head, middle, off + head, err);
	if (!rc && tail)
		rc = write_in_block(img, op, buf + head + middle, tail, off + head + middle, err);
	return rc;
}

/* ---- change the states ------------------------------------------------------------------------
 */

/* A block that was bowimg's and could not be written: its old content is none of the guest's. */
static void hide(struct bowimg *img, uint64_t blk, uint64_t n)
{
	bow_bitmap_set(img->blocks.zero, blk, n);
	bow_engine_promise(img, blk, n);
}

/* With img->lock held. The leaves are reserved, so that none of this can fail. */
static void settle_core(struct bowimg *img, struct bow_op *op, bool written)
{
	uint64_t end = op->core + op->core_count, run;
	enum bow_block_state state;
	bool zero;

	for (uint64_t blk = op->core; blk < end; blk += run) {
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		if (state == BOW_ORIGINAL)
			img->changed_blk += run;
		if (state == BOW_HELD) {
			img->moved_blk += run;
			bow_bitmap_clear(img->blocks.held, blk, run);
		}
		if (state == BOW_ORIGINAL || state == BOW_HELD)
			bow_bitmap_set(img->blocks.taken, blk, run);
		if (state == BOW_HELD && !zero && !written)
			hide(img, blk, run);
		if (zero && written) {
			bow_bitmap_clear(img->blocks.zero, blk, run);
			bow_bitmap_set(img->blocks.lift, blk, run);
			img->lifts += run;
		}
	}
}

/* Around the request: what back_up_around() did. */
static void settle_around(struct bowimg *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run;
	bool zero;

	for (; from < end; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		if (state == BOW_ORIGINAL && !zero) {
			bow_bitmap_set(img->blocks.taken, from, run);
			bow_bitmap_set(img->ahead, from, run);
			img->changed_blk += run;
		}
	}
}

static void settle(struct bowimg *img, struct bow_op *op, bool written)
{
	settle_core(img, op, written);
	/* Others may have prepared them while this op waited for its blocks. */
	bow_bitmap_clear(img->ahead, op->core, op->core_count);
	settle_around(img, op->core + op->core_count, op->first + op->count);
	settle_around(img, op->first, op->core);
	for (uint32_t i = 0; i < op->n; i++)
		if (op->entries[i].type == BOW_ENTRY_COPY &&
		    !(op->entries[i].flags & BOW_ENTRY_MOVE))
			img->backup_blk += op->entries[i].count_blk;
}

int bow_write_prepared(struct bowimg *img, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t first = off / BOW_BLOCK, count = (off + bytes - 1) / BOW_BLOCK - first + 1;
	struct needs needs = {0};
	int rc;
	struct bow_op *op = begin_planned(img, first, count, &needs, &rc, err);

	if (!op) {
		pthread_mutex_unlock(&img->lock);
		return rc;
	}
	if (rc)
		goto out;
	pthread_mutex_unlock(&img->lock);
	rc = make_safe(img, op, &needs, err);
	if (rc) {
		pthread_mutex_lock(&img->lock);
		untake_all(img, op);
		goto out;
	}
	rc = write_data(img, op, buf, bytes, off, err);
	pthread_mutex_lock(&img->lock);
	settle(img, op, !rc);
out:
	bow_op_end(img, op);
	return rc;
}

static int write_piece(struct bowimg *img, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t first = off / BOW_BLOCK, count = (off + bytes - 1) / BOW_BLOCK - first + 1;
	bool settled;
	int rc;

	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	settled = first > 0 && bow_blocks_settled(&img->blocks, first, count) &&
		  !bow_op_delays(img, first, count);
	if (settled && bow_bitmap_count(img->ahead))
		bow_bitmap_clear(img->ahead, first, count);
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	return settled ? bow_dev_write(img->dev, buf, bytes, off, err)
		       : bow_write_prepared(img, buf, bytes, off, err);
}

int bowimg_write(struct bowimg *img, const void *buf, size_t bytes, uint64_t off, unsigned flags,
		 struct bowimg_error *err)
{
	const uint8_t *p = buf;
	size_t k;
	int rc = 0;

	if (off > img->size || bytes > img->size - off)
		return bow_err(err, -EINVAL, "write beyond the end of the disk");
	for (; bytes && !rc; p += k, off += k, bytes -= k) {
		k = (size_t)bow_min(bytes, (uint64_t)BOW_OP_BLK * BOW_BLOCK - off % BOW_BLOCK);
		rc = write_piece(img, p, k, off, err);
	}
	if (!rc && flags & BOWIMG_FUA)
		rc = bowimg_flush(img, err);
	return rc;
}
