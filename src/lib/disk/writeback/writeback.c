/* SPDX-License-Identifier: MIT */
/*
 * The cache as a disk. Small writes become dirty blocks; all else passes to the disk below, after
 * the dirty blocks in its way are written. So no block is at any time in both ways,
 * and a write that was answered is never dropped in favour of one that is not yet there: after a
 * flush and a power cut the disk would have neither.
 */
#include "lib/disk/writeback/writeback.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/disk/writeback/private.h"

#define BLK BOW_WRITEBACK_BLK
#define SMALL_BYTES (64u << 10)
#define SMALL_FAR_BYTES (1u << 20) /* where each request waits, but many do so at a time */
#define LEAST_BLK 64u
#define MOST_BLK (1u << 20)
#define READ_TRIES 4 /* then nothing of it is dirty while it is read */
#define MUST_PASS 1  /* there is no room for what may fail late */

static struct bow_writeback *self(const struct bowimg_disk *disk)
{
	return (struct bow_writeback *)disk;
}

/* ---- writes ---------------------------------------------------------------------------- */

static int pass_write(struct bow_writeback *w, const void *buf, size_t bytes, uint64_t off,
		      struct bowimg_error *err)
{
	struct bow_passing p;
	int rc = bow_writeback_begin_passing(w, &p, off, bytes, BOW_PASSING_WRITES, err);

	if (rc)
		return rc;
	rc = bow_disk_write(w->below, buf, bytes, off, err);
	bow_writeback_end_passing(w, &p);
	return rc;
}

/* With the lock held: a new place, for which there is room; NULL if it must be waited for. */
static struct bow_dirty *add_place(struct bow_writeback *w, uint64_t blk)
{
	return bow_writeback_has_room(w, BOW_WRITEBACK_COST) ? bow_dirty_add(&w->set, blk) : NULL;
}

/* With the lock held: waiting is in vain, but what is known of the room may be old. */
static bool lacks_room(const struct bow_writeback *w)
{
	return !w->set.used && !bow_writeback_has_room(w, BOW_WRITEBACK_COST);
}

/*
 * With the lock held: get the block's place in memory, which may be changed: DIRTY or FILLING.
 * MUST_PASS: there is none.
 */
static int get_place(struct bow_writeback *w, uint64_t blk, struct bow_dirty **d,
		     struct bowimg_error *err)
{
	bool asked = false;
	int rc;

	while (!(rc = bow_writeback_failed(w, err))) {
		*d = bow_dirty_find(&w->set, blk);
		if (!*d && lacks_room(w)) {
			if (asked)
				return MUST_PASS;
			bow_writeback_ask_room(w);
			asked = true;
			continue;
		}
		if (*d && (*d)->state == BOW_DIRTY)
			return 0;
		if (!*d && !bow_writeback_is_passed(w, blk) && (*d = add_place(w, blk)))
			return 0;
		bow_writeback_wait(w);
	}
	return rc;
}

/* With the lock held, which is dropped meanwhile: read what the write leaves of the block. */
static int fill(struct bow_writeback *w, struct bow_dirty *d, size_t bytes,
		struct bowimg_error *err)
{
	int rc;

	pthread_mutex_unlock(&w->lock);
	rc = bow_disk_read(w->below, bow_dirty_data(&w->set, d), bytes, d->blk * BLK, err);
	pthread_mutex_lock(&w->lock);
	if (rc) {
		bow_dirty_remove(&w->set, d);
		pthread_cond_broadcast(&w->changed);
	}
	return rc;
}

/* A write inside one block. */
static int write_block(struct bow_writeback *w, const uint8_t *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t blk = off / BLK;
	size_t whole = (size_t)bow_min(BLK, w->disk.size - blk * BLK);
	struct bow_dirty *d;
	int rc;

	pthread_mutex_lock(&w->lock);
	rc = get_place(w, blk, &d, err);
	if (!rc && d->state == BOW_FILLING && bytes < whole)
		rc = fill(w, d, whole, err);
	if (!rc && d->state == BOW_DIRTY) {
		bow_store_change(&w->set, d, buf, (uint32_t)bytes, off % BLK);
	} else if (!rc) {
		memcpy(bow_dirty_data(&w->set, d) + off % BLK, buf, bytes);
		bow_store_answer(d);
		bow_writeback_note_dirty(w);
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static int write_small(struct bow_writeback *w, const uint8_t *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	size_t k;
	int rc = 0;

	for (; bytes && !rc; buf += k, off += k, bytes -= k) {
		k = (size_t)bow_min(bytes, BLK - off % BLK);
		rc = write_block(w, buf, k, off, err);
		if (rc == MUST_PASS)
			return pass_write(w, buf, bytes, off, err);
	}
	return rc;
}

static int op_write(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	size_t small = w->below->queue_depth > 1 ? SMALL_FAR_BYTES : SMALL_BYTES;

	return bytes <= small ? write_small(w, buf, bytes, off, err)
			      : pass_write(w, buf, bytes, off, err);
}

/* ---- zeros ----------------------------------------------------------------------------- */

static int op_zero(struct bowimg_disk *disk, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	struct bow_passing p;
	int rc = bow_writeback_begin_passing(w, &p, off, bytes, BOW_PASSING_ZEROS, err);

	if (rc)
		return rc;
	rc = bow_disk_zero(w->below, off, bytes, BOW_ZERO_PUNCH, err);
	bow_writeback_end_passing(w, &p);
	return rc;
}

static int op_discard(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		      struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	struct bow_passing p;
	int rc = bow_writeback_begin_passing(w, &p, off, bytes, BOW_PASSING_ZEROS, err);

	if (rc)
		return rc;
	rc = bow_disk_discard(w->below, off, bytes, err);
	bow_writeback_end_passing(w, &p);
	return rc;
}

/* ---- reading --------------------------------------------------------------------------- */

static bool has_content(const struct bow_dirty *d)
{
	return d && (d->state == BOW_DIRTY || d->state == BOW_WRITING);
}

/* With the lock held: put what is in memory over what was read. */
static void lay_over(const struct bow_writeback *w, uint8_t *buf, size_t bytes, uint64_t off)
{
	size_t k;

	for (; bytes && w->set.used; buf += k, off += k, bytes -= k) {
		const struct bow_dirty *d = bow_dirty_find(&w->set, off / BLK);

		k = (size_t)bow_min(bytes, BLK - off % BLK);
		if (has_content(d))
			memcpy(buf, bow_dirty_data(&w->set, d) + off % BLK, k);
	}
}

/*
 * What is written while the disk below is read may be neither in what was read nor in memory any
 * more. -EAGAIN: that may have happened.
 */
static int try_to_read(struct bow_writeback *w, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t cleaned;
	bool mixed;
	int rc;

	pthread_mutex_lock(&w->lock);
	mixed = bow_dirty_any(&w->set, off / BLK, bow_div_up(off + bytes, BLK));
	cleaned = w->cleaned;
	pthread_mutex_unlock(&w->lock);
	rc = bow_disk_read(w->below, buf, bytes, off, err);
	if (rc)
		return rc;
	pthread_mutex_lock(&w->lock);
	if (mixed && w->cleaned != cleaned)
		rc = -EAGAIN;
	else
		lay_over(w, buf, bytes, off);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static int op_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		   struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	struct bow_passing p;
	int rc = -EAGAIN;

	for (int i = 0; i < READ_TRIES && rc == -EAGAIN; i++)
		rc = try_to_read(w, buf, bytes, off, err);
	if (rc != -EAGAIN)
		return rc;
	rc = bow_writeback_begin_passing(w, &p, off, bytes, BOW_PASSING_READS, err);
	if (rc)
		return rc;
	rc = bow_disk_read(w->below, buf, bytes, off, err);
	bow_writeback_end_passing(w, &p);
	return rc;
}

/* ---- the other calls ------------------------------------------------------------------- */

static int settle(struct bow_writeback *w, struct bowimg_error *err)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	bow_writeback_settle(w);
	rc = bow_writeback_failed(w, err);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static int op_flush(struct bowimg_disk *disk, struct bowimg_error *err)
{
	int rc = settle(self(disk), err);

	return rc ? rc : bow_disk_flush(self(disk)->below, err);
}

static int op_extent(struct bowimg_disk *disk, uint64_t off, bool *hole, uint64_t *bytes,
		     struct bowimg_error *err)
{
	int rc = settle(self(disk), err);

	return rc ? rc : bow_disk_extent(self(disk)->below, off, hole, bytes, err);
}

static int op_before(struct bowimg_disk *disk, const char *mark, struct bowimg_disk **out,
		     struct bowimg_error *err)
{
	return bowimg_disk_at(self(disk)->below, mark, out, err);
}

static void op_counters(const struct bowimg_disk *disk, struct bowimg_counters *out)
{
	bowimg_disk_get_counters(self(disk)->below, out);
	out->carried = out->carried && !((const struct bow_writeback *)disk)->lost;
}

static void release(struct bow_writeback *w)
{
	bow_crew_free(w->crew);
	free(w->order);
	free(w->runs);
	free(w->writes);
	bow_dirty_release(&w->set);
	pthread_cond_destroy(&w->wanted);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static int op_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	int rc, rc_below;

	bow_writeback_stop(w);
	rc = bow_writeback_failed(w, err);
	rc_below = bow_disk_close(w->below, rc ? NULL : err);
	release(w);
	return rc ? rc : rc_below;
}

static const struct bow_disk_ops ops = {
	.read = op_read,
	.write = op_write,
	.zero = op_zero,
	.discard = op_discard,
	.flush = op_flush,
	.extent = op_extent,
	.close = op_close,
	.before = op_before,
	.counters = op_counters,
};

static void init_locks(struct bow_writeback *w)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wanted, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&w->changed, NULL);
}

/* What a killed process left is due at once. */
static int begin(struct bow_writeback *w, const struct bow_writeback_options *opts)
{
	int rc = bow_dirty_init(&w->set, opts, w->disk.size, &w->lost);

	if (rc)
		return rc;
	w->dirty = w->set.used;
	pthread_mutex_lock(&w->lock);
	bow_writeback_ask_room(w);
	pthread_mutex_unlock(&w->lock);
	return bow_writeback_start(w);
}

static void say_what_is_lost(const struct bow_writeback *w, const struct bowimg_events *events)
{
	if (w->lost && events->notice)
		events->notice(events->ctx,
			       "writes that were answered and not flushed are lost: another "
			       "process has used the image since");
}

int bow_writeback_new(struct bowimg_disk *below, const struct bow_writeback_options *opts,
		      struct bowimg_disk **out, struct bowimg_error *err)
{
	struct bow_writeback *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return bow_err_errno(err, -ENOMEM, "make a write-back cache");
	w->disk = (struct bowimg_disk){.built = &ops,
				       .name = below->name,
				       .size = bow_disk_size(below),
				       .sector_size = below->sector_size,
				       .io_hint = below->io_hint};
	w->below = below;
	w->set.n = (uint32_t)bow_min(bow_max(opts->bytes / BLK, LEAST_BLK), MOST_BLK);
	init_locks(w);
	rc = begin(w, opts);
	if (rc) {
		release(w);
		return bow_err_errno(err, rc, "make a write-back cache");
	}
	say_what_is_lost(w, &opts->events);
	*out = &w->disk;
	return 0;
}
