/* SPDX-License-Identifier: MIT */
/*
 * Zeroes and discards. If the guest has not written to a block yet, a pending zero is enough: the
 * block reads as zeros from now on, its content stays, nothing is copied and no space is used.
 * Blocks that are the guest's already (SAVED, LIVE) are zeroed in place; LIVE ones may be given
 * back later (give.c).
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define CHUNK_BLK (1u << 18) /* held at a time: 1 GiB */

/* Zero [start, start + n), which the request holds; drops the lock meanwhile. */
static int zero_in_place(struct bow_engine *img, uint64_t start, uint64_t n,
			 enum bow_block_state state, struct bowimg_error *err)
{
	enum bow_zero_mode mode = state == BOW_LIVE ? BOW_ZERO_PUNCH : BOW_ZERO_KEEP;
	uint64_t at = start ? start : img->live0_blk;
	int rc;

	/* Blocks that rollback writes to must stay allocated, or a full host disk could stop it. */
	pthread_mutex_unlock(&img->lock);
	rc = bow_disk_zero(img->dev, at * BOW_BLOCK, bow_super_bytes(&img->sb, at, n), mode, err);
	pthread_mutex_lock(&img->lock);
	return rc;
}

/* Queue a pending zero; when the queue is full, log it first. */
static int queue_pending(struct bow_engine *img, struct bow_request *req, uint64_t start,
			 uint64_t n, struct bowimg_error *err)
{
	int rc = bow_request_reserve(img, req, 0, 0, 1, err);

	if (rc)
		return rc;
	while (!bow_engine_queue_zero_pending(img, start, n)) {
		pthread_mutex_unlock(&img->lock);
		rc = bow_engine_log(img, NULL, 0, err);
		pthread_mutex_lock(&img->lock);
		if (rc)
			return rc;
	}
	/* Reads see zeros from here on; before a flush neither they nor the log need be durable. */
	return bow_bitmap_set(img->blocks.zero_pending, start, n);
}

/* Returns how many blocks from `blk` on need only a pending zero, whatever their state. */
static uint64_t zero_pending_run(struct bow_engine *img, uint64_t blk, uint64_t end)
{
	uint64_t s = bow_bitmap_next(img->blocks.zero_pending, blk, end, true);

	return bow_bitmap_next(img->blocks.taken, blk, s, true) - blk;
}

/*
 * The guest needs none of these LIVE blocks. They are noted first: a write that is in flight, and
 * may fill them after they were zeroed, looks at its end.
 */
static int empty(struct bow_engine *img, uint64_t start, uint64_t n, bool zero, bool only_note,
		 struct bowimg_error *err)
{
	int rc;

	bow_give_note_empty(img, start, n);
	if (zero || only_note)
		return 0;
	rc = zero_in_place(img, start, n, BOW_LIVE, err);
	if (rc)
		bow_give_note_filled(img, start, n);
	return rc;
}

/* only_note: LIVE blocks are noted as empty, and nothing else is done. */
static int zero_held(struct bow_engine *img, struct bow_request *req, bool only_note,
		     struct bowimg_error *err)
{
	uint64_t end = req->first + req->count, run;
	enum bow_block_state state;
	bool zero;
	int rc = 0;

	for (uint64_t blk = req->first; blk < end && !rc; blk += run) {
		run = blk == 0 ? 1 : end - blk;
		run = bow_blocks_run(&img->blocks, blk, run, &state, &zero);
		if (state == BOW_LIVE) {
			rc = empty(img, blk, run, zero, only_note, err);
		} else if (zero || only_note) {
			continue;
		} else if (state == BOW_SAVED) {
			rc = zero_in_place(img, blk, run, state, err);
		} else {
			run = zero_pending_run(img, blk, end);
			rc = queue_pending(img, req, blk, run, err);
		}
	}
	return rc;
}

static int zero_once(struct bow_engine *img, uint64_t first, uint64_t count, bool only_note,
		     bool give_first, struct bowimg_error *err)
{
	struct bow_request *req = bow_request_begin(img, first, count, err);
	int rc;

	if (!req) {
		pthread_mutex_unlock(&img->lock);
		return -EIO;
	}
	req->give_first = give_first;
	rc = bow_bitmap_reserve(img->blocks.zero_pending, first, count);
	if (rc)
		bow_err_errno(err, rc, "zero blocks");
	else
		rc = zero_held(img, req, only_note, err);
	bow_request_end(img, req);
	return rc;
}

static int zero_blocks(struct bow_engine *img, uint64_t first, uint64_t count, bool only_note,
		       struct bowimg_error *err)
{
	bool give_first = true;
	int rc;

	while ((rc = zero_once(img, first, count, only_note, give_first, err)) == BOW_GIVE_FIRST)
		give_first = bow_engine_make_room(img) > 0;
	return rc;
}

/* Finds the whole blocks of a range; the image's last block counts as whole. False: none. */
static bool whole_blocks(const struct bow_engine *img, uint64_t off, uint64_t bytes,
			 uint64_t *first, uint64_t *end)
{
	*first = bow_div_up(off, BOW_BLOCK);
	*end = off + bytes == img->disk.size ? img->blocks.count : (off + bytes) / BOW_BLOCK;
	return *first < *end;
}

static int zero_whole(struct bow_engine *img, uint64_t first, uint64_t end, bool only_note,
		      struct bowimg_error *err)
{
	uint64_t k;
	int rc = 0;

	for (; first < end && !rc; first += k) {
		k = bow_min(end - first, CHUNK_BLK);
		rc = zero_blocks(img, first, k, only_note, err);
	}
	return rc;
}

/* Edges that are not whole blocks are written with zeros. */
int bow_engine_zero(struct bow_engine *img, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	static const uint8_t zeros[2 * BOW_BLOCK];
	uint64_t first, end, after;
	int rc = 0;

	if (!whole_blocks(img, off, bytes, &first, &end))
		return bytes ? bow_engine_write(img, zeros, (size_t)bytes, off, err) : 0;
	if (first * BOW_BLOCK > off)
		rc = bow_engine_write(img, zeros, (size_t)(first * BOW_BLOCK - off), off, err);
	if (!rc)
		rc = zero_whole(img, first, end, false, err);
	after = bow_min(end * BOW_BLOCK, img->disk.size);
	if (!rc && after < off + bytes)
		rc = bow_engine_write(img, zeros, (size_t)(off + bytes - after), after, err);
	return rc;
}

/*
 * A discard guarantees nothing, so partial blocks are left alone. On a device there is no space to
 * gain, and a commit would have to write the pending zero. But what the guest took there can be
 * given back.
 */
int bow_engine_discard(struct bow_engine *img, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err)
{
	uint64_t first, end;

	if (!whole_blocks(img, off, bytes, &first, &end))
		return 0;
	return zero_whole(img, first, end, !img->dev->can_grow, err);
}
