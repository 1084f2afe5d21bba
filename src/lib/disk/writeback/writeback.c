/* SPDX-License-Identifier: MIT */
/*
 * The cache as a disk. Writes of up to 64 KiB become dirty blocks; all else passes to the disk
 * below, after the dirty blocks in its way are written. So no block is at any time in both ways,
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
#define LEAST_BLK 64u
#define READ_TRIES 4 /* then nothing of it is dirty while it is read */

static struct bow_writeback *self(const struct bowimg_disk *disk)
{
	return (struct bow_writeback *)disk;
}

/* With the lock held: the writer has lost something. */
static int has_failed(const struct bow_writeback *w, struct bowimg_error *err)
{
	if (w->failed && err)
		*err = w->failure;
	return w->failed ? bow_err_wrap(err, w->failed, "an earlier write") : 0;
}

/* ---- small writes ---------------------------------------------------------------------- */

static bool is_passed(const struct bow_writeback *w, uint64_t blk)
{
	const struct bow_passing *p = w->passing;

	while (p && (blk < p->first || blk >= p->end))
		p = p->next;
	return p;
}

/* With the lock held: get the block's place in memory, which may be changed: DIRTY or FILLING. */
static int get_place(struct bow_writeback *w, uint64_t blk, struct bow_dirty **d,
		     struct bowimg_error *err)
{
	int rc;

	for (;;) {
		rc = has_failed(w, err);
		if (rc)
			return rc;
		*d = bow_dirty_find(&w->set, blk);
		if (*d && (*d)->state == BOW_DIRTY)
			return 0;
		if (!*d && !is_passed(w, blk)) {
			*d = bow_dirty_add(&w->set, blk, BOW_FILLING);
			if (*d)
				return 0;
		}
		bow_writeback_wait(w);
	}
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
	if (!rc) {
		memcpy(bow_dirty_data(&w->set, d) + off % BLK, buf, bytes);
		if (d->state == BOW_FILLING) {
			d->state = BOW_DIRTY;
			bow_writeback_note_dirty(w);
			pthread_cond_broadcast(&w->changed);
		}
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
	}
	return rc;
}

/* ---- what passes ----------------------------------------------------------------------- */

/* From now on no block of it becomes dirty; none is. */
static int begin_passing(struct bow_writeback *w, struct bow_passing *p, uint64_t off,
			 uint64_t bytes, struct bowimg_error *err)
{
	int rc;

	p->first = off / BLK;
	p->end = bow_div_up(off + bytes, BLK);
	pthread_mutex_lock(&w->lock);
	while (!(rc = has_failed(w, err)) && bow_dirty_any(&w->set, p->first, p->end))
		bow_writeback_wait(w);
	if (!rc) {
		p->next = w->passing;
		w->passing = p;
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static void end_passing(struct bow_writeback *w, const struct bow_passing *p)
{
	struct bow_passing **at = &w->passing;

	pthread_mutex_lock(&w->lock);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static int op_write(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	struct bow_passing p;
	int rc;

	if (bytes <= SMALL_BYTES)
		return write_small(w, buf, bytes, off, err);
	rc = begin_passing(w, &p, off, bytes, err);
	if (rc)
		return rc;
	rc = bow_disk_write(w->below, buf, bytes, off, err);
	end_passing(w, &p);
	return rc;
}

static int op_zero(struct bowimg_disk *disk, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	struct bow_passing p;
	int rc = begin_passing(w, &p, off, bytes, err);

	if (rc)
		return rc;
	rc = bow_disk_zero(w->below, off, bytes, BOW_ZERO_PUNCH, err);
	end_passing(w, &p);
	return rc;
}

static int op_discard(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		      struct bowimg_error *err)
{
	struct bow_writeback *w = self(disk);
	struct bow_passing p;
	int rc = begin_passing(w, &p, off, bytes, err);

	if (rc)
		return rc;
	rc = bow_disk_discard(w->below, off, bytes, err);
	end_passing(w, &p);
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

	for (; bytes; buf += k, off += k, bytes -= k) {
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
	rc = begin_passing(w, &p, off, bytes, err);
	if (rc)
		return rc;
	rc = bow_disk_read(w->below, buf, bytes, off, err);
	end_passing(w, &p);
	return rc;
}

/* ---- the other calls ------------------------------------------------------------------- */

static int settle(struct bow_writeback *w, struct bowimg_error *err)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	bow_writeback_settle(w);
	rc = has_failed(w, err);
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
}

static void release(struct bow_writeback *w)
{
	bow_crew_free(w->crew);
	free(w->order);
	free(w->runs);
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
	rc = has_failed(w, err);
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

int bow_writeback_new(struct bowimg_disk *below, size_t bytes, struct bowimg_disk **out,
		      struct bowimg_error *err)
{
	struct bow_writeback *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	int rc;

	if (!w)
		return bow_err_errno(err, -ENOMEM, "make a write-back cache");
	w->disk = (struct bowimg_disk){.built = &ops,
				       .name = below->name,
				       .size = bow_disk_size(below),
				       .sector_size = below->sector_size,
				       .io_hint = below->io_hint};
	w->below = below;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wanted, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&w->changed, NULL);
	rc = bow_dirty_init(&w->set, (uint32_t)bow_min(bow_max(bytes / BLK, LEAST_BLK), 1u << 20));
	if (!rc)
		rc = bow_writeback_start(w);
	if (rc) {
		release(w);
		return bow_err_errno(err, rc, "make a write-back cache");
	}
	*out = &w->disk;
	return 0;
}
