/* SPDX-License-Identifier: MIT */
/*
 * The log's leader. Requests queue their entries; whoever finds nobody leading takes the whole
 * queue, writes it as one record (more only where one cannot hold it), passes one barrier, and
 * wakes the others: one barrier for as many requests as came together meanwhile.
 *
 * Order [I1, I2, I4]: a record is written only after the one before it is past its barrier (rule
 * 1); the first record of a new segment only after its header is past a barrier and the superblock
 * that names it past another (rule 5). The leader is also the only one who writes the superblock.
 *
 * Failure modes: a barrier or a superblock write that fails is latched, since it is not known what
 * is on the disk (rule 13). A segment that could not be begun is named by nothing: its requests
 * fail with the reason, and later ones may try again.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/engine.h"

#define GROW_BLK 4096u /* the tail grows by 16 MiB where the host has as much */

int bow_engine_barrier(struct bowimg *img, struct bowimg_error *err)
{
	int rc;

	/* Rule 13: after one that failed, another that succeeds would prove nothing. */
	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	pthread_mutex_unlock(&img->lock);
	if (rc || img->opts.durability == BOWIMG_DURABILITY_PROCESS)
		return rc;
	atomic_fetch_add(&img->barriers, 1);
	rc = bow_dev_flush(img->dev, err);
	return rc ? bow_engine_fail(img, rc) : 0;
}

void bow_engine_lead(struct bowimg *img)
{
	pthread_mutex_lock(&img->lock);
	while (img->leading)
		pthread_cond_wait(&img->changed, &img->lock);
	img->leading = true;
	pthread_mutex_unlock(&img->lock);
}

void bow_engine_step_down(struct bowimg *img)
{
	pthread_mutex_lock(&img->lock);
	img->leading = false;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
}

/* The room for the last step's plan moves along: growth must not eat it up. */
static int grow_to(struct bowimg *img, uint64_t end_blk, struct bowimg_error *err)
{
	uint64_t size = bow_dev_size(img->dev), end = end_blk * BOW_BLOCK;
	int rc = 0;

	if (end <= size)
		return 0;
	rc = bow_finish_reserve(img->dev, end - size, err);
	return rc ? rc : bow_dev_resize(img->dev, end, err);
}

int bow_engine_grow(struct bowimg *img, uint64_t need, struct bowimg_error *err)
{
	uint64_t end = bow_max(img->alloc.tail_end, img->alloc.tail_next + need);
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
 * With the lock held: blocks for the next segment, long where there is plenty, never at the cost of
 * promised ones.
 */
static int segment_run(struct bowimg *img, uint64_t *start, uint64_t *n, struct bowimg_error *err)
{
	bool tail = img->sb.flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL);
	uint64_t spare = img->alloc.free_blk - img->dests_promised, most;
	int rc = 0;

	*n = 0;
	if (!(img->sb.flags & BOW_SUPER_STORE_TAIL) && spare)
		*n = bow_alloc_free_run(&img->alloc, 1, bow_segment_want(spare), start);
	while (!*n && tail && !rc) {
		spare = img->alloc.tail_end - img->alloc.tail_next;
		if (spare > img->tail_promised) {
			most = (spare - img->tail_promised) / 8;
			most = bow_max(1, bow_min(most, BOW_SEGMENT_MAX_BLK));
			*n = bow_alloc_tail_run(&img->alloc, 1, most, start);
		} else {
			rc = bow_engine_grow(img, img->tail_promised + 1, err);
		}
	}
	if (!*n && !rc)
		rc = bow_err(err, -ENOSPC, "no room for the log to go on");
	return rc;
}

/* Rule 5. The leader only; all records so far are past their barriers. */
static int switch_segment(struct bowimg *img, struct bowimg_error *err)
{
	uint64_t start = 0, n = 0;
	int rc;

	pthread_mutex_lock(&img->lock);
	rc = segment_run(img, &start, &n, err);
	img->moves++;
	img->log_blk += n;
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	rc = bow_log_write_segment(&img->log, start, (uint32_t)n, err);
	if (!rc)
		rc = bow_engine_barrier(img, err);
	if (rc)
		return rc;
	bow_log_use_segment(&img->log, start, (uint32_t)n);
	rc = bow_super_write(img->dev, &img->sb, err);
	if (rc)
		return bow_engine_fail(img, rc);
	return bow_engine_barrier(img, err);
}

struct batch {
	struct bowimg *img;
	uint32_t n;
	bool written; /* a record of this round is in the log */
};

static int flush_batch(struct batch *b, struct bowimg_error *err)
{
	struct bowimg *img = b->img;
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
			rc = switch_segment(b->img, err);
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

/* Promises and tickets, in the order they came, and one barrier behind the last. */
static int log_round(struct bowimg *img, const struct bow_ticket *t, struct bowimg_error *err)
{
	struct batch b = {.img = img};
	int rc = add_entries(&b, img->led, img->led_promises, err);

	for (; t && !rc; t = t->next)
		rc = add_entries(&b, t->entries, t->n, err);
	if (!rc)
		rc = flush_batch(&b, err);
	/* Half a round is in the log: its requests cannot be told that nothing happened. */
	return rc && b.written ? bow_engine_fail(img, rc) : rc;
}

/* Promises of a round that failed wait for the next; the queue keeps room for them. */
static void take_back_promises(struct bowimg *img)
{
	memmove(img->promises + img->led_promises, img->promises,
		img->n_promises * sizeof(img->promises[0]));
	memcpy(img->promises, img->led, img->led_promises * sizeof(img->led[0]));
	img->n_promises += img->led_promises;
}

static void finish_tickets(struct bow_ticket *t, int rc, const struct bowimg_error *err)
{
	struct bow_ticket *next;

	for (; t; t = next) {
		next = t->next; /* t is its owner's again once it is done */
		t->result = rc;
		if (rc)
			t->err = *err;
		t->done = true;
	}
}

/* With the lock held, and leading: log everything that waits. */
static void lead_round(struct bowimg *img)
{
	struct bow_ticket *tickets = img->queue;
	struct bowimg_error err;
	int rc;

	bow_err_clear(&err);
	img->queue = NULL;
	img->queue_end = &img->queue;
	rc = bow_engine_failed(img, &err);
	if (rc) {
		finish_tickets(tickets, rc, &err);
		return;
	}
	memcpy(img->led, img->promises, img->n_promises * sizeof(img->led[0]));
	img->led_promises = img->n_promises;
	img->n_promises = 0;
	pthread_mutex_unlock(&img->lock);
	rc = log_round(img, tickets, &err);
	pthread_mutex_lock(&img->lock);
	if (rc)
		take_back_promises(img);
	img->led_promises = 0;
	finish_tickets(tickets, rc, &err);
}

int bow_engine_log(struct bowimg *img, const struct bow_entry *entries, uint32_t n,
		   struct bowimg_error *err)
{
	struct bow_ticket t = {.entries = entries, .n = n};

	pthread_mutex_lock(&img->lock);
	*img->queue_end = &t;
	/* A ticket is off the queue before it is done, so the queue never outlives it. */
	img->queue_end = &t.next; /* cppcheck-suppress autoVariables */
	while (!t.done) {
		if (img->leading) {
			pthread_cond_wait(&img->changed, &img->lock);
			continue;
		}
		img->leading = true;
		lead_round(img);
		img->leading = false;
		pthread_cond_broadcast(&img->changed);
	}
	pthread_mutex_unlock(&img->lock);
	if (t.result && err)
		*err = t.err;
	return t.result;
}

bool bow_engine_promise(struct bowimg *img, uint64_t start, uint64_t n)
{
	struct bow_entry *last = img->n_promises ? &img->promises[img->n_promises - 1] : NULL;

	if (last && last->source_blk + last->count_blk == start &&
	    last->count_blk + n <= UINT32_MAX) {
		last->count_blk += (uint32_t)n;
		return true;
	}
	if (img->n_promises + img->led_promises >= BOW_PROMISES)
		return false;
	img->promises[img->n_promises++] = (struct bow_entry){
		.type = BOW_ENTRY_PROMISE,
		.source_blk = start,
		.count_blk = (uint32_t)n,
	};
	return true;
}

static int copy_live0(struct bowimg *img, struct bow_op *op, uint64_t to, struct bowimg_error *err)
{
	int rc = bow_dev_read(img->dev, op->buf, BOW_BLOCK, img->live0_blk * BOW_BLOCK, err);

	if (!rc)
		rc = bow_dev_write(img->dev, op->buf, BOW_BLOCK, to * BOW_BLOCK, err);
	if (!rc)
		rc = bow_engine_barrier(img, err);
	if (rc)
		return rc;
	img->sb.live0_blk = to;
	rc = bow_super_write(img->dev, &img->sb, err);
	if (rc)
		return bow_engine_fail(img, rc);
	return bow_engine_barrier(img, err);
}

/*
 * Rule 6: the copy is named by the superblock alone. Writes to block 0 wait meanwhile (the op holds
 * it); the place it leaves stays HELD, and is LIVE when the op settles, by the TAKE added here.
 */
int bow_engine_move_live0(struct bowimg *img, struct bow_op *op, struct bowimg_error *err)
{
	uint64_t old = img->live0_blk, to;
	int rc = -ENOMEM;

	assert(op->block0);
	bow_engine_lead(img);
	pthread_mutex_lock(&img->lock);
	if (bow_op_dest(img, op, 1, &to))
		rc = 0;
	pthread_mutex_unlock(&img->lock);
	rc = rc ? bow_err_errno(err, rc, "move block 0's copy") : copy_live0(img, op, to, err);
	if (!rc) {
		pthread_mutex_lock(&img->lock);
		img->live0_blk = to;
		img->moves++;
		op->old_live0 = old;
		pthread_mutex_unlock(&img->lock);
		op->entries[op->n++] = (struct bow_entry){
			.type = BOW_ENTRY_TAKE,
			.source_blk = old,
			.count_blk = 1,
		};
	}
	bow_engine_step_down(img);
	return rc;
}

int bow_engine_leave_segment(struct bowimg *img, const struct bow_op *op, struct bowimg_error *err)
{
	const struct bow_super *sb = &img->sb;
	int rc = 0;

	bow_engine_lead(img);
	if (sb->seg_blk < op->first + op->count && op->first < sb->seg_blk + sb->seg_len_blk)
		rc = switch_segment(img, err);
	bow_engine_step_down(img);
	return rc;
}
