/* SPDX-License-Identifier: MIT */
/*
 * Writing. Blocks that are SAVED or LIVE without a pending zero are written at once. All other
 * blocks are prepared first, as one request:
 *
 *	hold the blocks - plan (what must be saved, is there room?) - back up - log, barrier -
 *	write the guest's data - change the states - release
 *
 * [I1, I2]: the data is written only after bow_engine_log() returned, which is after the barrier
 * that follows the backups and the record naming them.
 *
 * A block that the guest sees as zeros (pending, or held by bowimg) is written as a whole, with
 * zeros around the new bytes. The zero is done in memory then, and in the log once a barrier has
 * made that write durable (flush.c, rule 3).
 *
 * Failure modes: no room: nothing was written, and the states are as before. Reading a block or
 * writing its backup fails: the same; blocks used for backups so far stay HELD, unused. Writing the
 * guest's data fails: the blocks are saved, the zero stays pending, the guest gets the error.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

/* ---- plan ------------------------------------------------------------------------ */

/* Block 0's old place stays HELD. */
void bow_request_untake(struct bow_engine *img, struct bow_request *req, uint32_t from)
{
	for (uint32_t i = from; i < req->n; i++) {
		const struct bow_entry *e = &req->entries[i];

		if (e->type != BOW_ENTRY_TAKE || e->source_blk == req->old_live0)
			continue;
		bow_alloc_untake(&img->alloc, e->source_blk, e->count_blk);
		bow_share_forget(img, e->source_blk, e->count_blk);
	}
	req->n = bow_min(req->n, from);
}

void bow_request_count_needs(struct bow_engine *img, struct bow_request *req, struct bow_run core,
			     struct bow_needs *needs)
{
	uint64_t end = core.start_blk + core.count_blk, run;
	enum bow_block_state state;
	bool zero;

	memset(needs, 0, sizeof(*needs));
	for (uint64_t blk = core.start_blk; blk < end; blk += run) {
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		if (zero)
			needs->zero_done += run;
		if (state == BOW_ORIGINAL || state == BOW_HELD)
			needs->dests += run;
		else if (state == BOW_FREE)
			bow_request_take(img, req, blk, run);
		needs->originals |= state == BOW_ORIGINAL;
		needs->held |= state == BOW_HELD;
	}
	/* Block 0's copy moves to one block like any other; its entry is a TAKE, not a COPY. */
	needs->live0 = img->live0_blk >= core.start_blk && img->live0_blk < end;
}

static struct bow_run core_of(const struct bow_request *req)
{
	return (struct bow_run){req->core, req->core_count};
}

/* On error nothing is reserved, and the states are as before. */
static int plan_with(struct bow_engine *img, struct bow_request *req, bool ahead,
		     struct bow_needs *needs, struct bowimg_error *err)
{
	uint64_t dests;
	int rc = -EAGAIN;

	req->first = req->taken = req->core;
	req->count = req->taken_count = req->core_count;
	bow_request_count_needs(img, req, core_of(req), needs);
	dests = needs->dests + (ahead ? bow_request_widen(img, req) : 0);
	if (needs->originals && req->give_first && bow_share_in_the_way(img))
		rc = BOW_GIVE_FIRST;
	else if (img->alloc.free_blk >= img->dests_reserved)
		rc = bow_request_reserve(img, req, dests, dests + req->n + 1, needs->zero_done,
					 err);
	if (rc)
		bow_request_untake(img, req, 0);
	return rc;
}

/*
 * With img->lock held. -EAGAIN: FREE blocks that the request would take are reserved for the
 * backups of other requests. Those do not wait for this one, so trying again later helps.
 */
static int plan(struct bow_engine *img, struct bow_request *req, struct bow_needs *needs,
		struct bowimg_error *err)
{
	int rc;

	if (bow_blocks_reserve(&img->blocks, req->core, req->core_count) ||
	    bow_bitmap_reserve(img->zero_done_ready, req->core, req->core_count))
		return bow_err_errno(err, -ENOMEM, "prepare blocks");
	rc = plan_with(img, req, true, needs, err);
	/* Try without the blocks that were added for later. */
	if ((rc == -ENOSPC || rc == -EAGAIN || rc == BOW_GIVE_FIRST) &&
	    req->count > req->core_count)
		rc = plan_with(img, req, false, needs, err);
	return rc;
}

/*
 * Hold the blocks and plan. Nothing is held while other requests are waited for, and they may take
 * FREE blocks, so everything is planned afresh. If space is short, all that can be given back is
 * given back first. Returns with img->lock held.
 */
static struct bow_request *begin_planned(struct bow_engine *img, uint64_t first, uint64_t count,
					 struct bow_needs *needs, int *rc, struct bowimg_error *err)
{
	struct bow_request *req;
	bool give_first = true;

	for (;;) {
		*rc = -EIO;
		req = bow_request_begin(img, first, count, err);
		if (!req)
			return NULL;
		req->give_first = give_first;
		*rc = plan(img, req, needs, err);
		if (*rc != -EAGAIN && *rc != BOW_GIVE_FIRST)
			return req;
		bow_request_let_go(img, req);
		if (*rc == -EAGAIN)
			pthread_cond_wait(&img->changed, &img->lock);
		pthread_mutex_unlock(&img->lock);
		if (*rc == BOW_GIVE_FIRST)
			give_first = bow_engine_make_room(img) > 0;
	}
}

/* ---- make safe ------------------------------------------------------------------- */

/* Do everything that comes before the guest's data may be written. */
static int make_safe(struct bow_engine *img, struct bow_request *req, const struct bow_needs *needs,
		     struct bowimg_error *err)
{
	int rc = 0;

	if (needs->live0)
		rc = bow_engine_move_live0(img, req, err);
	if (!rc && needs->held)
		rc = bow_engine_leave_segment(img, req, err);
	if (!rc)
		rc = bow_request_back_up(img, req, err);
	if (!rc && req->count > req->core_count)
		bow_request_back_up_ahead(img, req);
	if (!rc && req->n)
		rc = bow_engine_log(img, req->entries, req->n, err);
	return rc;
}

/* ---- write the data -------------------------------------------------------------- */

/* Does the guest see zeros in the part of the block that this write leaves? */
static bool reads_zero(struct bow_engine *img, const struct bow_request *req, uint64_t blk)
{
	bool yes;

	pthread_mutex_lock(&img->lock);
	yes = bow_bitmap_test(img->blocks.zero_pending, blk) ||
	      bow_bitmap_test(img->blocks.held, blk) || (req->old_live0 && blk == req->old_live0);
	pthread_mutex_unlock(&img->lock);
	return yes;
}

/* Write inside one block: to block 0's copy, or with zeros around the bytes if they are seen. */
static int write_in_block(struct bow_engine *img, const struct bow_request *req, const uint8_t *buf,
			  size_t bytes, uint64_t off, struct bowimg_error *err)
{
	uint64_t blk = off / BOW_BLOCK;
	size_t in_blk = off % BOW_BLOCK, whole = bow_super_bytes(&img->sb, blk, 1);
	uint8_t block[BOW_BLOCK];

	if (blk == 0)
		return bow_disk_write(img->dev, buf, bytes, img->live0_blk * BOW_BLOCK + in_blk,
				      err);
	if (bytes == whole || !reads_zero(img, req, blk))
		return bow_disk_write(img->dev, buf, bytes, off, err);
	memset(block, 0, sizeof(block));
	memcpy(block + in_blk, buf, bytes);
	return bow_disk_write(img->dev, block, whole, blk * BOW_BLOCK, err);
}

/* How much of a write goes apart, up to the end of its first block: it is partial, or block 0. */
static size_t head_of(size_t bytes, uint64_t off)
{
	size_t rest = BOW_BLOCK - off % BOW_BLOCK;

	return rest < BOW_BLOCK || off < BOW_BLOCK || bytes < rest ? bow_min(bytes, rest) : 0;
}

/* The first and last block go apart if they are partial, or block 0; the rest at once. */
int bow_request_write(struct bow_engine *img, const struct bow_request *req, const void *data,
		      size_t bytes, uint64_t off, struct bowimg_error *err)
{
	const uint8_t *buf = data;
	size_t head = head_of(bytes, off), tail = (bytes - head) % BOW_BLOCK;
	size_t middle = bytes - head - tail;
	int rc = head ? write_in_block(img, req, buf, head, off, err) : 0;

	if (!rc && middle)
		rc = bow_disk_write(img->dev, buf + head, middle, off + head, err);
	if (!rc && tail)
		rc = write_in_block(img, req, buf + head + middle, tail, off + head + middle, err);
	return rc;
}

/* ---- change the states ----------------------------------------------------------- */

/* A block that was bowimg's could not be written: the guest must not see its old content. */
static void hide(struct bow_engine *img, uint64_t blk, uint64_t n)
{
	bow_bitmap_set(img->blocks.zero_pending, blk, n);
	bow_engine_queue_zero_pending(img, blk, n);
}

static void settle_states(struct bow_engine *img, struct bow_run core, bool written)
{
	uint64_t end = core.start_blk + core.count_blk, run;
	enum bow_block_state state;
	bool zero;

	for (uint64_t blk = core.start_blk; blk < end; blk += run) {
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
			bow_bitmap_clear(img->blocks.zero_pending, blk, run);
			bow_bitmap_set(img->blocks.zero_done, blk, run);
			bow_carry_zero_done(img, blk, run);
			img->n_zero_done += run;
		}
	}
}

void bow_request_settle(struct bow_engine *img, struct bow_run core, bool written)
{
	settle_states(img, core, written);
	/* Other requests may have prepared them while this one waited for its blocks. */
	bow_share_forget(img, core.start_blk, core.count_blk);
	bow_give_note_filled(img, core.start_blk, core.count_blk);
}

void bow_request_count_backups(struct bow_engine *img, const struct bow_request *req)
{
	for (uint32_t i = 0; i < req->n; i++)
		if (req->entries[i].type == BOW_ENTRY_COPY &&
		    !(req->entries[i].flags & BOW_ENTRY_MOVE))
			img->backup_blk += req->entries[i].count_blk;
}

/* Around the request: settle what back_up_around() did. */
static void settle_around(struct bow_engine *img, uint64_t from, uint64_t end)
{
	enum bow_block_state state;
	uint64_t run;
	bool zero;

	for (; from < end; from += run) {
		run = bow_blocks_run(&img->blocks, from, end - from, &state, &zero);
		if (state == BOW_ORIGINAL && !zero) {
			bow_bitmap_set(img->blocks.taken, from, run);
			bow_share_note(img, from, run);
			img->changed_blk += run;
		}
	}
}

static void settle(struct bow_engine *img, struct bow_request *req, bool written)
{
	bow_request_settle(img, core_of(req), written);
	settle_around(img, req->core + req->core_count, req->first + req->count);
	settle_around(img, req->first, req->core);
	bow_request_count_backups(img, req);
}

int bow_write_prepared(struct bow_engine *img, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t first = off / BOW_BLOCK, count = (off + bytes - 1) / BOW_BLOCK - first + 1;
	struct bow_needs needs = {0};
	int rc;
	struct bow_request *req = begin_planned(img, first, count, &needs, &rc, err);

	if (!req) {
		pthread_mutex_unlock(&img->lock);
		return rc;
	}
	if (rc)
		goto out;
	pthread_mutex_unlock(&img->lock);
	rc = make_safe(img, req, &needs, err);
	if (rc) {
		pthread_mutex_lock(&img->lock);
		bow_request_untake(img, req, 0);
		goto out;
	}
	rc = bow_request_write(img, req, buf, bytes, off, err);
	pthread_mutex_lock(&img->lock);
	settle(img, req, !rc);
out:
	bow_request_end(img, req);
	return rc;
}

static int write_piece(struct bow_engine *img, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t first = off / BOW_BLOCK, count = (off + bytes - 1) / BOW_BLOCK - first + 1;
	struct bow_flight flight;
	bool settled;
	int rc;

	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	settled = !rc && first > 0 && bow_blocks_settled(&img->blocks, first, count) &&
		  !bow_request_delays(img, first, count);
	if (settled) {
		bow_share_forget(img, first, count);
		bow_give_note_filled(img, first, count);
		flight = bow_flight_begin(img);
	}
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	if (!settled)
		return bow_write_prepared(img, buf, bytes, off, err);
	rc = bow_disk_write(img->dev, buf, bytes, off, err);
	bow_flight_end_write(img, flight, first, count);
	return rc;
}

int bow_engine_write(struct bow_engine *img, const void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	const uint8_t *p = buf;
	size_t k;
	int rc = 0;

	for (; bytes && !rc; p += k, off += k, bytes -= k) {
		k = (size_t)bow_min(bytes, (uint64_t)BOW_REQUEST_BLK * BOW_BLOCK - off % BOW_BLOCK);
		rc = write_piece(img, p, k, off, err);
	}
	return rc;
}
