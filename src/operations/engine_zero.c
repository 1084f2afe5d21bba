/* SPDX-License-Identifier: MIT */
/*
 * Zeroes and discards. Where nothing of the guest's has been written yet, a promise is enough: the
 * block reads as zeros from now on, its content stays as it is, nothing is copied and no space is
 * used. Blocks that are the guest's already (SAVED, LIVE) are zeroed in place.
 */
#include <string.h>

#include "base/bytes.h"
#include "operations/engine.h"

#define CHUNK_BLK (1u << 18) /* held at a time: 1 GiB */

/* Zero [start, start + n), which the op holds; lets go of the lock meanwhile. */
static int zero_in_place(struct bowimg *img, uint64_t start, uint64_t n, enum bow_block_state state,
			 struct bowimg_error *err)
{
	enum bow_zero_mode mode = state == BOW_LIVE ? BOW_ZERO_PUNCH : BOW_ZERO_KEEP;
	uint64_t at = start ? start : img->live0_blk;
	int rc;

	/* What rollback writes to must stay allocated, or a full host disk could stop it. */
	pthread_mutex_unlock(&img->lock);
	rc = bow_dev_zero(img->dev, at * BOW_BLOCK, bow_super_bytes(&img->sb, at, n), mode, err);
	pthread_mutex_lock(&img->lock);
	return rc;
}

/* Queue a promise; when the queue is full, log it first. */
static int promise(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n,
		   struct bowimg_error *err)
{
	int rc = bow_op_reserve(img, op, 0, 0, 1, err);

	if (rc)
		return rc;
	while (!bow_engine_promise(img, start, n)) {
		pthread_mutex_unlock(&img->lock);
		rc = bow_engine_log(img, NULL, 0, err);
		pthread_mutex_lock(&img->lock);
		if (rc)
			return rc;
	}
	/* From here on reads see zeros; before a flush neither they nor the log need be durable. */
	return bow_bitmap_set(img->blocks.zero, start, n);
}

/* Blocks from `blk` on that need a promise only, whatever their state. */
static uint64_t promise_run(struct bowimg *img, uint64_t blk, uint64_t end)
{
	uint64_t s = bow_bitmap_next(img->blocks.zero, blk, end, true);

	return bow_bitmap_next(img->blocks.taken, blk, s, true) - blk;
}

static int zero_held(struct bowimg *img, struct bow_op *op, struct bowimg_error *err)
{
	uint64_t end = op->first + op->count, run;
	enum bow_block_state state;
	bool zero;
	int rc = 0;

	for (uint64_t blk = op->first; blk < end && !rc; blk += run) {
		run = blk == 0 ? 1 : end - blk;
		run = bow_blocks_run(&img->blocks, blk, run, &state, &zero);
		if (zero)
			continue;
		if (state == BOW_SAVED || state == BOW_LIVE) {
			rc = zero_in_place(img, blk, run, state, err);
		} else {
			run = promise_run(img, blk, end);
			rc = promise(img, op, blk, run, err);
		}
	}
	return rc;
}

static int zero_blocks(struct bowimg *img, uint64_t first, uint64_t count, struct bowimg_error *err)
{
	struct bow_op *op = bow_op_begin(img, first, count, err);
	int rc;

	if (!op) {
		pthread_mutex_unlock(&img->lock);
		return -EIO;
	}
	rc = bow_bitmap_reserve(img->blocks.zero, first, count);
	if (rc)
		bow_err_errno(err, rc, "zero blocks");
	else
		rc = zero_held(img, op, err);
	bow_op_end(img, op);
	return rc;
}

/* Whole blocks of a range; the last block of the image counts as whole. False: none. */
static bool whole_blocks(const struct bowimg *img, uint64_t off, uint64_t bytes, uint64_t *first,
			 uint64_t *end)
{
	*first = bow_div_up(off, BOW_BLOCK);
	*end = off + bytes == img->size ? img->blocks.count : (off + bytes) / BOW_BLOCK;
	return *first < *end;
}

static int zero_whole(struct bowimg *img, uint64_t first, uint64_t end, struct bowimg_error *err)
{
	uint64_t k;
	int rc = 0;

	for (; first < end && !rc; first += k) {
		k = bow_min(end - first, CHUNK_BLK);
		rc = zero_blocks(img, first, k, err);
	}
	return rc;
}

static int check_range(const struct bowimg *img, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err)
{
	if (off > img->size || bytes > img->size - off)
		return bow_err(err, -EINVAL, "zero beyond the end of the disk");
	return 0;
}

/* The edges that are no whole blocks are ordinary writes of zeros. */
static int zero_range(struct bowimg *img, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	static const uint8_t zeros[2 * BOW_BLOCK];
	uint64_t first, end, after;
	int rc = 0;

	if (!whole_blocks(img, off, bytes, &first, &end))
		return bytes ? bowimg_write(img, zeros, (size_t)bytes, off, 0, err) : 0;
	if (first * BOW_BLOCK > off)
		rc = bowimg_write(img, zeros, (size_t)(first * BOW_BLOCK - off), off, 0, err);
	if (!rc)
		rc = zero_whole(img, first, end, err);
	after = bow_min(end * BOW_BLOCK, img->size);
	if (!rc && after < off + bytes)
		rc = bowimg_write(img, zeros, (size_t)(off + bytes - after), after, 0, err);
	return rc;
}

int bowimg_zero(struct bowimg *img, uint64_t off, uint64_t bytes, unsigned flags,
		struct bowimg_error *err)
{
	int rc = check_range(img, off, bytes, err);

	if (!rc)
		rc = zero_range(img, off, bytes, err);
	if (!rc && flags & BOWIMG_FUA)
		rc = bowimg_flush(img, err);
	return rc;
}

/*
 * A discard promises nothing to the guest, so partial blocks are left alone. On a device there is
 * nothing to gain: the space is there in any case, and a promise would have to be kept at commit.
 */
int bowimg_discard(struct bowimg *img, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	uint64_t first, end;
	int rc = check_range(img, off, bytes, err);

	if (rc || !img->dev->can_grow || !whole_blocks(img, off, bytes, &first, &end))
		return rc;
	return zero_whole(img, first, end, err);
}
