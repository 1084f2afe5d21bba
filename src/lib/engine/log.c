/* SPDX-License-Identifier: MIT */
/*
 * What the leader of the log does (leader/leader.c): all that waits is one record, or more if one
 * cannot hold it, and passes one barrier. When a segment is full, the log goes on in another one.
 *
 * Order [I1, I2, I4]: a record is written only after the one before it is past its barrier (rule
 * 1); the first record of a new segment only after its header is past a barrier and the superblock
 * that names it past another (rule 5). Only the leader writes the superblock.
 *
 * Failure modes: a barrier or a superblock write that fails is latched, since the state of the disk
 * is not known then (rule 13). Nothing names a segment that could not be begun: its requests fail
 * with the reason, and later ones may try again.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define GROW_BLK 4096u	/* the tail grows by 16 MiB where the host has as much */
#define PLENTY_BLK 256u /* with so many FREE blocks, a segment need not be the shortest */

int bow_engine_barrier(struct bow_engine *img, struct bowimg_error *err)
{
	int rc;

	/* Rule 13: after a barrier that failed, one that succeeds would prove nothing. */
	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	pthread_mutex_unlock(&img->lock);
	if (rc || img->opts.durability == BOWIMG_DURABILITY_PROCESS)
		return rc;
	atomic_fetch_add(&img->barriers, 1);
	rc = bow_disk_flush(img->dev, err);
	return rc ? bow_engine_fail(img, rc) : 0;
}

/* The room for the last step's plan moves along: growth must not use it up. */
static int grow_to(struct bow_engine *img, uint64_t end_blk, struct bowimg_error *err)
{
	uint64_t size = bow_disk_size(img->dev), end = end_blk * BOW_BLOCK;
	int rc = 0;

	if (end <= size)
		return 0;
	rc = bow_finish_reserve(img->dev, end - size, err);
	return rc ? rc : bow_disk_resize(img->dev, end, err);
}

int bow_engine_grow(struct bow_engine *img, uint64_t need, struct bowimg_error *err)
{
	uint64_t left = bow_alloc_tail_left(&img->alloc);
	uint64_t end = img->alloc.tail_end + (need > left ? need - left : 0);
	uint64_t more = end + GROW_BLK;
	int rc;

	if (img->growing) {
		pthread_cond_wait(&img->changed, &img->lock);
		return 0;
	}
	img->growing = true;
	pthread_mutex_unlock(&img->lock);
	rc = grow_to(img, more, err);
	if (rc == -ENOSPC) {
		more = end;
		rc = grow_to(img, more, err);
	}
	/* The new size is durable before an entry can name a block beyond the old one. */
	if (!rc)
		rc = bow_engine_barrier(img, err);
	pthread_mutex_lock(&img->lock);
	if (!rc)
		img->alloc.tail_end = more;
	img->growing = false;
	pthread_cond_broadcast(&img->changed);
	return rc ? bow_err_wrap(err, rc, "make the file longer") : 0;
}

/*
 * Returns how long the next segment should be, if so many blocks can be had for it. What was taken
 * ahead comes back when it is needed, by a long record: in short segments it would need a switch,
 * with its barriers, for each few hundred entries.
 */
static uint64_t segment_want(const struct bow_engine *img, uint64_t spare)
{
	uint64_t want = bow_segment_want(spare);

	if (!img->ahead_wide || spare < PLENTY_BLK)
		return want;
	return bow_max(want, bow_min(bow_segment_want(spare + bow_share_taken(img)), spare / 16));
}

/*
 * With the lock held: find blocks for the next segment, a long run if there is plenty, but never
 * reserved ones.
 */
static int segment_run(struct bow_engine *img, uint64_t *start, uint64_t *n,
		       struct bowimg_error *err)
{
	bool tail = img->sb.flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL);
	uint64_t spare = img->alloc.free_blk - img->dests_reserved, most;
	int rc = 0;

	*n = 0;
	if (!(img->sb.flags & BOW_SUPER_STORE_TAIL) && spare)
		*n = bow_alloc_free_run(&img->alloc, 1, segment_want(img, spare), start);
	while (!*n && tail && !rc) {
		spare = bow_alloc_tail_left(&img->alloc);
		if (spare > img->tail_reserved) {
			most = (spare - img->tail_reserved) / 8;
			most = bow_max(1, bow_min(most, BOW_SEGMENT_MAX_BLK));
			*n = bow_alloc_tail_run(&img->alloc, 1, most, start);
		} else {
			rc = bow_engine_grow(img, img->tail_reserved + 1, err);
		}
	}
	if (!*n && !rc)
		rc = bow_err(err, -ENOSPC, "no room for another log segment");
	return rc;
}

int bow_engine_write_super(struct bow_engine *img, struct bowimg_error *err)
{
	int rc;

	bow_carry_announce_super(img);
	rc = bow_super_write(img->dev, &img->sb, err);
	if (rc)
		return bow_engine_fail(img, rc);
	bow_carry_note_super(img);
	return 0;
}

int bow_engine_switch_segment(struct bow_engine *img, struct bowimg_error *err)
{
	const struct bow_segment_header left = img->log.newest;
	uint64_t start = 0, n = 0;
	int rc;

	pthread_mutex_lock(&img->lock);
	rc = segment_run(img, &start, &n, err);
	img->moves++;
	img->log_blk += n;
	img->segments++;
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	rc = bow_log_write_segment(&img->log, start, (uint32_t)n, err);
	if (!rc)
		rc = bow_engine_barrier(img, err);
	if (rc)
		return rc;
	bow_log_use_segment(&img->log, start, (uint32_t)n);
	rc = bow_engine_write_super(img, err);
	if (!rc)
		rc = bow_engine_barrier(img, err);
	if (rc || img->log.next_seq != left.first_seq)
		return rc;
	/* It was empty. No request writes there: it would wait in bow_engine_leave_segment(). */
	rc = bow_log_wipe_header(img->dev, &left, err);
	/* [I2] One may move this block next: what a copy is made of must not change by a crash. */
	return rc ? bow_engine_fail(img, rc) : bow_engine_barrier(img, err);
}

struct batch {
	struct bow_engine *img;
	uint32_t n;
	bool written; /* a record of this round is in the log */
};

static int flush_batch(struct batch *b, struct bowimg_error *err)
{
	struct bow_engine *img = b->img;
	int rc;

	if (b->n) {
		rc = bow_log_append(&img->log, img->batch, b->n, err);
		if (rc)
			return bow_engine_fail(img, rc);
		b->written = true;
		b->n = 0;
	}
	rc = bow_engine_barrier(img, err);
	if (!rc)
		bow_log_settle(&img->log);
	return rc;
}

/* Add entries to the batch, flushing it each time the segment cannot take more. */
static int add_entries(struct batch *b, const struct bow_entry *e, uint32_t n,
		       struct bowimg_error *err)
{
	int rc = 0;

	while (n && !rc) {
		uint32_t room = bow_log_room(&b->img->log);

		if (!room) {
			rc = bow_engine_switch_segment(b->img, err);
		} else if (b->n == room) {
			rc = flush_batch(b, err);
		} else {
			uint32_t k = (uint32_t)bow_min(n, room - b->n);

			memcpy(b->img->batch + b->n, e, k * sizeof(*e));
			b->n += k;
			e += k;
			n -= k;
		}
	}
	return rc;
}

/* Pending zeros and tickets, in the order they came, and one barrier behind the last. */
int bow_engine_log_round(struct bow_engine *img, const struct bow_ticket *t,
			 struct bowimg_error *err)
{
	struct batch b = {.img = img};
	int rc = add_entries(&b, img->led, img->led_zero_pending, err);

	for (; t && !rc; t = t->next)
		rc = add_entries(&b, t->entries, t->n, err);
	if (!rc)
		rc = flush_batch(&b, err);
	/* Half a round is in the log: its requests must not report that nothing happened. */
	return rc && b.written ? bow_engine_fail(img, rc) : rc;
}

bool bow_engine_queue_zero_pending(struct bow_engine *img, uint64_t start, uint64_t n)
{
	struct bow_entry *last = img->n_zero_pending ? &img->zero_pending[img->n_zero_pending - 1]
						     : NULL;

	if (last && last->source_blk + last->count_blk == start &&
	    last->count_blk + n <= UINT32_MAX) {
		last->count_blk += (uint32_t)n;
	} else if (img->n_zero_pending + img->led_zero_pending >= BOW_ZERO_PENDING_MAX) {
		return false;
	} else {
		img->zero_pending[img->n_zero_pending++] = (struct bow_entry){
			.type = BOW_ENTRY_ZERO_PENDING,
			.source_blk = start,
			.count_blk = (uint32_t)n,
		};
	}
	bow_carry_zero_pending(img, start, n);
	return true;
}
