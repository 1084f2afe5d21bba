/* SPDX-License-Identifier: MIT */
/*
 * Checking and restoring backups.
 *
 * Each used block was saved once, all originals lie in free blocks or the tail, and only used
 * blocks are written: so the restore is a set of independent copies, in any order, restartable and
 * idempotent [I5]. They are collected, sorted by where they go, and joined into big pieces.
 *
 * All backups are checked before the first write [I6] (backup.c).
 */
#include "operations/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define BATCH 65536u			  /* restores sorted at a time; 2.5 MiB */
#define PIECE_BLK (4u * BOW_COPY_MAX_BLK) /* largest single transfer: 1 MiB */

struct restorer {
	struct bow_checkpoint *cp;
	struct bowimg_end_report *report;
	struct bow_progress progress;
	struct bow_backup *items;
	uint32_t n;
	uint8_t *buf; /* PIECE_BLK blocks */
};

static int check_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		       struct bowimg_error *err)
{
	struct restorer *r = ctx;
	struct bow_backup b = {
		.source_blk = e->source_blk, .count_blk = e->count_blk, .hash = e->hash};
	int rc;

	if (e->type != BOW_ENTRY_COPY || e->flags & BOW_ENTRY_MOVE || bow_walk_is_redo(w, e))
		return 0;
	bow_walk_locate(w, e->dest_blk, e->count_blk, &b.from_blk);
	rc = bow_walk_read(w, e->dest_blk, e->count_blk, w->buf, err);
	if (!rc && !bow_backup_ok(&b, &r->cp->sb, w->buf))
		rc = bow_backup_try_source(&b, r->cp->dev, &r->cp->sb, w->buf, err);
	if (!rc)
		bow_progress_add(&r->progress, (uint64_t)e->count_blk * BOW_BLOCK);
	return rc;
}

static int write_back(struct restorer *r, uint64_t source_blk, uint64_t count_blk,
		      const uint8_t *buf, struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(&r->cp->sb, source_blk, count_blk);
	int rc = bow_dev_write(r->cp->dev, buf, bytes, source_blk * BOW_BLOCK, err);

	if (rc)
		return rc;
	r->report->restored_bytes += bytes;
	bow_progress_add(&r->progress, bytes);
	return 0;
}

/*
 * Restore one item whose content is in buf: write it, or leave the block alone where it is right
 * already and the backup is not.
 */
static int restore_one(struct restorer *r, const struct bow_backup *it, uint8_t *buf,
		       struct bowimg_error *err)
{
	if (!bow_backup_ok(it, &r->cp->sb, buf))
		return bow_backup_try_source(it, r->cp->dev, &r->cp->sb, buf, err);
	return write_back(r, it->source_blk, it->count_blk, buf, err);
}

static int by_source(const void *a, const void *b)
{
	const struct bow_backup *x = a, *y = b;

	return x->source_blk < y->source_blk ? -1 : x->source_blk > y->source_blk;
}

/* How many items from i on continue each other on both sides, up to one piece. */
static uint32_t joined(const struct restorer *r, uint32_t i, uint32_t *blocks)
{
	const struct bow_backup *it = &r->items[i];
	uint32_t k = 1, total = it->count_blk;

	while (i + k < r->n && it[k].source_blk == it->source_blk + total &&
	       it[k].from_blk == it->from_blk + total && total + it[k].count_blk <= PIECE_BLK)
		total += it[k++].count_blk;
	*blocks = total;
	return k;
}

static bool all_ok(const struct restorer *r, uint32_t i, uint32_t k)
{
	const uint8_t *p = r->buf;

	for (; k--; p += (size_t)r->items[i++].count_blk * BOW_BLOCK)
		if (!bow_backup_ok(&r->items[i], &r->cp->sb, p))
			return false;
	return true;
}

static int restore_each(struct restorer *r, uint32_t i, uint32_t k, struct bowimg_error *err)
{
	int rc = 0;

	for (; k-- && !rc; i++) {
		const struct bow_backup *it = &r->items[i];

		rc = bow_dev_read(r->cp->dev, r->buf, (size_t)it->count_blk * BOW_BLOCK,
				  it->from_blk * BOW_BLOCK, err);
		if (!rc)
			rc = restore_one(r, it, r->buf, err);
	}
	return rc;
}

static int flush_batch(struct restorer *r, struct bowimg_error *err)
{
	uint32_t k, blocks;
	int rc = 0;

	qsort(r->items, r->n, sizeof(r->items[0]), by_source);
	for (uint32_t i = 0; i < r->n && !rc; i += k) {
		k = joined(r, i, &blocks);
		rc = bow_dev_read(r->cp->dev, r->buf, (size_t)blocks * BOW_BLOCK,
				  r->items[i].from_blk * BOW_BLOCK, err);
		if (!rc)
			rc = all_ok(r, i, k)
				     ? write_back(r, r->items[i].source_blk, blocks, r->buf, err)
				     : restore_each(r, i, k, err);
	}
	r->n = 0;
	return rc;
}

static int restore_zeros(struct restorer *r, const struct bow_entry *e, struct bowimg_error *err)
{
	size_t unit = (size_t)BOW_BLOCK;
	uint64_t off = e->source_blk * unit;
	uint64_t bytes = (uint64_t)e->count_blk * unit;
	int rc;

	bytes = bow_min(bytes, r->cp->sb.image_size - off);
	/* A block that was allocated stays so: giving it back could meet a full host disk later. */
	rc = bow_dev_zero(r->cp->dev, off, bytes,
			  e->flags & BOW_ENTRY_HOLE ? BOW_ZERO_PUNCH : BOW_ZERO_KEEP, err);
	if (!rc)
		r->report->restored_bytes += bytes;
	return rc;
}

static int restore_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
			 struct bowimg_error *err)
{
	struct restorer *r = ctx;
	struct bow_backup *it = &r->items[r->n];
	int rc;

	if (e->type == BOW_ENTRY_ZERO)
		return restore_zeros(r, e, err);
	if (e->type != BOW_ENTRY_COPY || e->flags & BOW_ENTRY_MOVE || e->source_blk == 0)
		return 0;
	it->source_blk = e->source_blk;
	it->count_blk = e->count_blk;
	it->hash = e->hash;
	if (bow_walk_locate(w, e->dest_blk, e->count_blk, &it->from_blk) < e->count_blk) {
		/* Moved apart: no single place to copy from later. */
		rc = bow_walk_read(w, e->dest_blk, e->count_blk, w->buf, err);
		return rc ? rc : restore_one(r, it, w->buf, err);
	}
	return ++r->n == BATCH ? flush_batch(r, err) : 0;
}

static int run(struct restorer *r, const struct bow_visitor *v, struct bowimg_error *err)
{
	struct bow_walk w;
	int rc = bow_walk_init(&w, r->cp->dev, &r->cp->sb, err);

	if (!rc)
		rc = bow_walk_run(&w, v, err);
	if (!rc && r->items)
		rc = flush_batch(r, err);
	bow_walk_release(&w);
	return rc;
}

int bow_restore_check(struct bow_checkpoint *cp, const struct bowimg_events *events,
		      struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct restorer r = {
		.cp = cp,
		.report = report,
		.progress = {events, "verify", 0, (cp->backup_blk + 1) * BOW_BLOCK}, /* + block 0 */
	};
	struct bow_visitor v = {NULL, check_entry, &r};

	report->entries = cp->entries;
	return run(&r, &v, err);
}

int bow_restore_all(struct bow_checkpoint *cp, const struct bowimg_events *events,
		    struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct restorer r = {
		.cp = cp,
		.report = report,
		.progress = {events, "restore", 0, cp->backup_blk * BOW_BLOCK},
	};
	struct bow_visitor v = {NULL, restore_entry, &r};
	int rc = -ENOMEM;

	r.items = calloc(BATCH, sizeof(r.items[0]));
	r.buf = malloc((size_t)PIECE_BLK * BOW_BLOCK);
	if (!r.items || !r.buf)
		bow_err_errno(err, rc, "restore");
	else
		rc = run(&r, &v, err);
	free(r.items);
	free(r.buf);
	return rc;
}
