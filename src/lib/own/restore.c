/* SPDX-License-Identifier: MIT */
/*
 * Checking and restoring backups.
 *
 * Each used block was saved once in each epoch, and the oldest backup since the point to go back to
 * decides. All backups lie in free blocks or the tail, and only used blocks are written. So the
 * restore is a set of independent copies, in any order, restartable and idempotent [I5]. Backups
 * are collected and read in the order of their places (batch.c).
 *
 * All backups are checked before the first write [I6] (checkpoint/backup.c).
 */

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"

struct restorer {
	struct bow_checkpoint *cp;
	struct bow_shared_progress progress;
	struct bowimg_end_report *report; /* restored_bytes: under the lock of progress */
	struct bow_batch batch;
	struct bow_zeros zeros;
	bow_batch_piece *piece;		     /* what is to be done with backups that were read */
	const struct bow_restore_what *what; /* NULL: all backups */
	struct bow_decisions decisions;	     /* unless that is NULL */
};

/* Of the blocks that an entry saved, does some, or each, decide what is restored? */
static void share(const struct restorer *r, const struct bow_walk *w, const struct bow_entry *e,
		  bool *some, bool *all)
{
	uint32_t in = bow_epoch_of(r->cp, w->sequence);
	uint64_t blk = e->source_blk, end = blk + e->count_blk, n;
	bool yes;

	*some = false;
	*all = true;
	for (; blk < end && r->what; blk += n) {
		n = bow_decisions_get(&r->decisions, in, blk, end - blk, &yes);
		*some |= yes;
		*all &= yes;
	}
	*some |= !r->what;
}

static size_t backup_bytes(const struct bow_backup *b)
{
	return (size_t)b->count_blk * BOW_BLOCK;
}

/* A backup that this entry made and that is where the entry, or a later one, put it. */
static bool is_backup(const struct bow_entry *e)
{
	return e->type == BOW_ENTRY_COPY && !(e->flags & BOW_ENTRY_MOVE);
}

/* Collect a backup. One that has moved apart is read at once, as it is in many places. */
static int collect(struct restorer *r, struct bow_walk *w, const struct bow_entry *e,
		   struct bowimg_error *err)
{
	struct bow_backup b = {
		.source_blk = e->source_blk, .count_blk = e->count_blk, .hash = e->hash};
	int rc;

	if (bow_walk_locate(w, e->dest_blk, e->count_blk, &b.from_blk) == e->count_blk)
		return bow_batch_add(&r->batch, &b, err);
	rc = bow_walk_read(w, e->dest_blk, e->count_blk, w->buf, err);
	return rc ? rc : r->piece(r, &b, 1, w->buf, err);
}

/* ---- checking -------------------------------------------------------------------- */

static int check_one(const struct restorer *r, const struct bow_backup *b, uint8_t *buf,
		     struct bowimg_error *err)
{
	int rc = 0;

	if (!bow_backup_ok(b, &r->cp->sb, buf))
		rc = bow_backup_try_source(b, r->cp->dev, &r->cp->sb, buf, err);
	return rc ? rc : bow_backup_refuse_zeros(b, &r->cp->sb, buf, err);
}

static int check_piece(void *ctx, const struct bow_backup *it, uint32_t n, uint8_t *buf,
		       struct bowimg_error *err)
{
	struct restorer *r = ctx;
	uint64_t bytes = 0;
	int rc = 0;

	for (; n-- && !rc; buf += backup_bytes(it++)) {
		rc = check_one(r, it, buf, err);
		bytes += backup_bytes(it);
	}
	return rc ? rc : bow_shared_add(&r->progress, bytes, err);
}

/* Block 0 is saved by prepare, and by each mark. */
static bool decides_block0(const struct restorer *r, const struct bow_walk *w)
{
	uint64_t mark_seq = r->what ? r->cp->epochs[r->what->epoch].mark_seq : 0;

	return !r->what || w->sequence == (mark_seq ? mark_seq : 1);
}

static int check_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		       struct bowimg_error *err)
{
	struct restorer *r = ctx;
	bool some, all;

	if (!is_backup(e) || bow_walk_is_redo(w, e))
		return 0;
	if (e->source_blk == 0)
		return decides_block0(r, w) ? collect(r, w, e, err) : 0;
	share(r, w, e, &some, &all);
	return some ? collect(r, w, e, err) : 0;
}

/* ---- restoring ------------------------------------------------------------------- */

static int write_back(struct restorer *r, uint64_t source_blk, uint64_t count_blk,
		      const uint8_t *buf, struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(&r->cp->sb, source_blk, count_blk);
	int rc = bow_disk_write(r->cp->dev, buf, bytes, source_blk * BOW_BLOCK, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&r->progress.lock);
	r->report->restored_bytes += bytes;
	pthread_mutex_unlock(&r->progress.lock);
	return bow_shared_add(&r->progress, bytes, err);
}

/*
 * Returns how many of n backups that match their hashes go to blocks side by side; 0: the first one
 * does not match.
 */
static uint32_t one_write(const struct restorer *r, const struct bow_backup *it, uint32_t n,
			  const uint8_t *buf, uint64_t *blocks)
{
	uint32_t k = 0;

	for (*blocks = 0; k < n && it[k].source_blk == it->source_blk + *blocks &&
			  bow_backup_ok(&it[k], &r->cp->sb, buf);
	     buf += backup_bytes(&it[k++]))
		*blocks += it[k].count_blk;
	return k;
}

static int restore_piece(void *ctx, const struct bow_backup *it, uint32_t n, uint8_t *buf,
			 struct bowimg_error *err)
{
	struct restorer *r = ctx;
	uint64_t blocks;
	int rc = 0;

	for (uint32_t k; n && !rc; it += k, n -= k, buf += blocks * BOW_BLOCK) {
		k = one_write(r, it, n, buf, &blocks);
		if (k) {
			rc = write_back(r, it->source_blk, blocks, buf, err);
			continue;
		}
		/* The backup is damaged, so the block must be right. */
		rc = bow_backup_try_source(it, r->cp->dev, &r->cp->sb, buf, err);
		k = 1;
		blocks = it->count_blk;
	}
	return rc;
}

static int restore_zeros(struct restorer *r, const struct bow_entry *e, uint64_t blk, uint64_t n,
			 struct bowimg_error *err)
{
	struct bow_zero_run run = {
		.off = blk * BOW_BLOCK,
		.bytes = bow_super_bytes(&r->cp->sb, blk, n),
		.mode = e->flags & BOW_ENTRY_HOLE ? BOW_ZERO_PUNCH : BOW_ZERO_KEEP,
	};

	r->report->restored_bytes += run.bytes;
	return bow_zeros_add(&r->zeros, &run, err);
}

/* Only these blocks of the entry decide; `buf` has all that it saved. */
static int restore_run(struct restorer *r, const struct bow_entry *e, uint64_t blk, uint64_t n,
		       const uint8_t *buf, struct bowimg_error *err)
{
	if (e->type == BOW_ENTRY_ZERO)
		return restore_zeros(r, e, blk, n, err);
	return write_back(r, blk, n, buf + (blk - e->source_blk) * BOW_BLOCK, err);
}

static int restore_runs(struct restorer *r, const struct bow_walk *w, const struct bow_entry *e,
			struct bowimg_error *err)
{
	uint32_t in = bow_epoch_of(r->cp, w->sequence);
	uint64_t blk = e->source_blk, end = blk + e->count_blk, n;
	bool yes;
	int rc = 0;

	for (; blk < end && !rc; blk += n) {
		n = bow_decisions_get(&r->decisions, in, blk, end - blk, &yes);
		if (yes)
			rc = restore_run(r, e, blk, n, w->buf, err);
	}
	return rc;
}

/* A part of a backup decides: all of it is read, as its hash covers all. */
static int restore_part(struct restorer *r, struct bow_walk *w, const struct bow_entry *e,
			struct bowimg_error *err)
{
	const struct bow_backup b = {
		.source_blk = e->source_blk, .count_blk = e->count_blk, .hash = e->hash};
	int rc = 0;

	if (e->type == BOW_ENTRY_COPY) {
		rc = bow_walk_read(w, e->dest_blk, e->count_blk, w->buf, err);
		if (!rc && !bow_backup_ok(&b, &r->cp->sb, w->buf))
			rc = bow_backup_try_source(&b, r->cp->dev, &r->cp->sb, w->buf, err);
	}
	return rc ? rc : restore_runs(r, w, e, err);
}

static int restore_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
			 struct bowimg_error *err)
{
	struct restorer *r = ctx;
	bool some, all;

	if ((!is_backup(e) && e->type != BOW_ENTRY_ZERO) || e->source_blk == 0)
		return 0;
	share(r, w, e, &some, &all);
	if (!some)
		return 0;
	if (!all)
		return restore_part(r, w, e, err);
	return e->type == BOW_ENTRY_ZERO ? restore_zeros(r, e, e->source_blk, e->count_blk, err)
					 : collect(r, w, e, err);
}

/* ---- both ------------------------------------------------------------------------ */

static int walk_log(struct restorer *r, const struct bow_visitor *v, struct bowimg_error *err)
{
	struct bow_walk w;
	int rc = bow_walk_init(&w, r->cp->dev, &r->cp->sb, err);

	if (!rc)
		rc = bow_walk_run(&w, v, err);
	bow_walk_release(&w);
	if (!rc)
		rc = bow_batch_flush(&r->batch, err);
	return rc ? rc : bow_zeros_flush(&r->zeros, err);
}

static int run(struct restorer *r, const struct bow_visitor *v, const struct bow_progress *progress,
	       struct bowimg_error *err)
{
	const struct bow_restore_what *what = r->what;
	int rc = bow_batch_init(&r->batch, r->cp->dev, r->piece, r);

	if (!rc)
		rc = bow_zeros_init(&r->zeros, r->cp->dev);
	bow_shared_begin(&r->progress, progress);
	if (!rc && what)
		rc = bow_decisions_init(&r->decisions, r->cp, what->epoch, what->free_then);
	rc = rc ? bow_err_errno(err, rc, "cannot read the backups") : walk_log(r, v, err);
	bow_decisions_release(&r->decisions);
	bow_zeros_release(&r->zeros);
	bow_batch_release(&r->batch);
	return bow_shared_end(&r->progress, rc, err);
}

int bow_restore_check(struct bow_checkpoint *cp, const struct bow_restore_what *what,
		      const struct bowimg_events *events, struct bowimg_end_report *report,
		      struct bowimg_error *err)
{
	struct restorer r = {
		.cp = cp,
		.what = what,
		.report = report,
		.piece = check_piece,
	};
	/* And block 0's. */
	const struct bow_progress progress = {events, "verify", 0,
					      (cp->backup_blk + 1) * BOW_BLOCK};
	struct bow_visitor v = {.entry = check_entry, .ctx = &r};

	report->entries = cp->entries;
	return run(&r, &v, &progress, err);
}

int bow_restore_all(struct bow_checkpoint *cp, const struct bow_restore_what *what,
		    const struct bowimg_events *events, struct bowimg_end_report *report,
		    struct bowimg_error *err)
{
	struct restorer r = {
		.cp = cp,
		.what = what,
		.report = report,
		.piece = restore_piece,
	};
	const struct bow_progress progress = {events, "restore", 0, cp->backup_blk * BOW_BLOCK};
	struct bow_visitor v = {.entry = restore_entry, .ctx = &r};

	return run(&r, &v, &progress, err);
}

int bow_restore_count(const struct bow_checkpoint *cp, const struct bow_restore_what *what,
		      struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_bitmap *all = bow_bitmap_new(cp->blocks.count);
	uint64_t s = 0, n, blocks = 0;
	int rc = all ? 0 : -ENOMEM;

	for (uint32_t i = what->epoch; i < cp->n_epochs && !rc; i++)
		rc = bow_bitmap_merge(all, cp->epochs[i].saved);
	for (; !rc && bow_bitmap_next_run(all, &s, &n, cp->blocks.count); s += n)
		blocks += n - bow_bitmap_count_range(what->free_then, s, n);
	report->restored_bytes = blocks * BOW_BLOCK;
	bow_bitmap_free(all);
	return rc ? bow_err_errno(err, rc, "cannot count what changed") : 0;
}
