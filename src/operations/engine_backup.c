/* SPDX-License-Identifier: MIT */
/*
 * Backing up the blocks of an op: originals are copied, or only named where they are all zeros;
 * blocks that bowimg holds itself are moved on. Nothing is durable, and nothing is in the log, when
 * this returns: that is bow_engine_log()'s part [I1, I2].
 */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/engine.h"

/* Is all of this run, which reads as zeros, a hole in the file? Then rollback makes it one again.
 */
static bool is_hole(struct bowimg *img, uint64_t start, uint64_t n)
{
	uint64_t reach;
	bool hole;

	return !bow_dev_extent(img->dev, start * BOW_BLOCK, &hole, &reach, NULL) && hole &&
	       reach >= bow_super_bytes(&img->sb, start, n);
}

static void add_zero(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n)
{
	uint8_t flags = is_hole(img, start, n) ? BOW_ENTRY_HOLE : 0;

	op->entries[op->n++] = (struct bow_entry){
		.type = BOW_ENTRY_ZERO,
		.flags = flags,
		.source_blk = start,
		.count_blk = (uint32_t)n,
	};
}

/* Copy blocks whose content is in buf to wherever there is room, an entry for each piece. */
static int copy_run(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n,
		    const uint8_t *buf, bool move, struct bowimg_error *err)
{
	struct bow_entry *e;
	uint64_t k, dest;
	int rc = 0;

	for (; n && !rc; start += k, n -= k, buf += k * BOW_BLOCK) {
		pthread_mutex_lock(&img->lock);
		k = bow_op_dest(img, op, n, &dest);
		pthread_mutex_unlock(&img->lock);
		if (!k)
			return bow_err_errno(err, -ENOMEM, "find a block for a backup");
		e = &op->entries[op->n++];
		*e = (struct bow_entry){
			.type = BOW_ENTRY_COPY,
			.flags = move ? BOW_ENTRY_MOVE : 0,
			.source_blk = start,
			.dest_blk = dest,
			.count_blk = (uint32_t)k,
			.hash = bow_hash(buf, bow_super_bytes(&img->sb, start, k), img->sb.seed),
		};
		rc = bow_dev_write(img->dev, buf, k * BOW_BLOCK, dest * BOW_BLOCK, err);
	}
	return rc;
}

/* Blocks of zeros need no copy, only to be named. */
static int save_originals(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n,
			  struct bowimg_error *err)
{
	const uint8_t *p = op->buf;
	uint64_t k;
	int rc = 0;

	for (; n && !rc; start += k, n -= k, p += k * BOW_BLOCK) {
		bool zero = bow_is_zero(p, BOW_BLOCK);

		for (k = 1; k < n && bow_is_zero(p + k * BOW_BLOCK, BOW_BLOCK) == zero;)
			k++;
		if (zero)
			add_zero(img, op, start, k);
		else
			rc = copy_run(img, op, start, k, p, false, err);
	}
	return rc;
}

static int back_up_run(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n, bool move,
		       struct bowimg_error *err)
{
	uint64_t k;
	int rc = 0;

	for (; n && !rc; start += k, n -= k) {
		size_t bytes;

		k = bow_min(n, BOW_COPY_MAX_BLK);
		bytes = bow_super_bytes(&img->sb, start, k);
		memset(op->buf + bytes, 0, k * BOW_BLOCK - bytes);
		rc = bow_dev_read(img->dev, op->buf, bytes, start * BOW_BLOCK, err);
		if (rc)
			break;
		rc = move ? copy_run(img, op, start, k, op->buf, true, err)
			  : save_originals(img, op, start, k, err);
	}
	return rc ? bow_err_wrap(err, rc, "back up block %" PRIu64, start) : 0;
}

int bow_op_back_up(struct bowimg *img, struct bow_op *op, struct bowimg_error *err)
{
	uint64_t end = op->core + op->core_count, run;
	enum bow_block_state state;
	bool zero;
	int rc = 0;

	for (uint64_t blk = op->core; blk < end && !rc; blk += run) {
		pthread_mutex_lock(&img->lock);
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		pthread_mutex_unlock(&img->lock);
		/* What block 0's copy left behind has moved already. */
		if (op->old_live0 == blk)
			run = 1;
		else if (op->old_live0 > blk)
			run = bow_min(run, op->old_live0 - blk);
		if ((state == BOW_ORIGINAL || state == BOW_HELD) && blk != op->old_live0)
			rc = back_up_run(img, op, blk, run, state == BOW_HELD, err);
	}
	return rc;
}

/*
 * Around the request: originals without a promise, as long as there is room for entries. What is
 * not reached is let go: [first, first + count) shrinks to what was backed up.
 */
static int back_up_around(struct bowimg *img, struct bow_op *op, uint64_t from, uint64_t end,
			  uint64_t *reached, struct bowimg_error *err)
{
	enum bow_block_state state;
	uint64_t run;
	bool zero;
	int rc = 0;

	for (*reached = from; *reached < end && !rc; *reached += run) {
		if (op->n + BOW_COPY_MAX_BLK > BOW_OP_ENTRIES ||
		    op->n_dests + BOW_COPY_MAX_BLK > BOW_OP_ENTRIES)
			break;
		pthread_mutex_lock(&img->lock);
		run = bow_blocks_run(&img->blocks, *reached,
				     bow_min(end - *reached, BOW_COPY_MAX_BLK), &state, &zero);
		pthread_mutex_unlock(&img->lock);
		if (state == BOW_ORIGINAL && !zero)
			rc = back_up_run(img, op, *reached, run, false, err);
	}
	return rc;
}

int bow_op_back_up_ahead(struct bowimg *img, struct bow_op *op, struct bowimg_error *err)
{
	uint64_t core_end = op->core + op->core_count, end = op->first + op->count, reached;
	int rc = back_up_around(img, op, core_end, end, &reached, err);

	end = reached;
	if (!rc)
		rc = back_up_around(img, op, op->first, op->core, &reached, err);
	pthread_mutex_lock(&img->lock);
	/* In front of the request all or nothing counts: the range has no holes. */
	if (reached < op->core)
		op->first = op->core;
	op->count = end - op->first;
	pthread_mutex_unlock(&img->lock);
	return rc;
}
