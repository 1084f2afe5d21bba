/* SPDX-License-Identifier: MIT */
/*
 * Checking every backup of dm-bow's log against its checksum, before anything is written [I6]. A
 * batch at a time is read, in the order in which the backups lie on the disk.
 */
#include "lib/dmbow/steps.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"

#define BATCH 65536u /* backups sorted at a time; 2.5 MiB */

struct item {
	uint64_t from_blk, source_blk, count_blk;
	uint32_t checksum, sequence, entry;
};

struct checker {
	struct bow_dmbow *d;
	struct bow_dmbow_lost *lost;
	struct bow_progress progress;
	struct item *items;
	uint32_t n, room;
};

static int lose(struct checker *c, const struct item *it, struct bowimg_error *err)
{
	int rc = bow_bitmap_set(c->lost->blocks, it->source_blk, it->count_blk);

	if (rc)
		return bow_err_errno(err, rc, "cannot note damaged blocks");
	bow_err_clear(err);
	c->lost->entries++;
	c->lost->original0 |= it->source_blk == 0;
	return 0;
}

static int judge(struct checker *c, const struct item *it, int rc, uint32_t sum,
		 struct bowimg_error *err)
{
	if (!rc && sum != it->checksum) {
		rc = bow_err(err, -EBADMSG,
			     "the backup of %" PRIu64 " block(s) from %" PRIu64
			     " is damaged (it is at block %" PRIu64 "): its checksum is wrong",
			     it->count_blk, it->source_blk, it->from_blk);
	}
	if (rc && c->d->skip)
		rc = lose(c, it, err);
	else if (rc)
		bow_err_wrap(err, rc, "log block %" PRIu32 ": entry %" PRIu32, it->sequence,
			     it->entry);
	return rc ? rc : bow_progress_add(&c->progress, it->count_blk * c->d->head.block_size, err);
}

static int by_place(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->from_blk < y->from_blk ? -1 : x->from_blk > y->from_blk;
}

static int check_batch(struct checker *c, struct bowimg_error *err)
{
	int rc = 0;

	bow_sort(c->items, c->n, sizeof(c->items[0]), by_place);
	for (uint32_t i = 0; i < c->n && !rc; i++) {
		const struct item *it = &c->items[i];
		uint32_t sum = 0;

		rc = bow_dmbow_sum(c->d, it->from_blk, it->count_blk, it->source_blk, false, &sum,
				   err);
		rc = judge(c, it, rc, sum, err);
	}
	c->n = 0;
	return rc;
}

static int check_entry(void *ctx, struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint32_t i,
		       struct bowimg_error *err)
{
	struct checker *c = ctx;
	struct item it = {.source_blk = e->source_blk,
			  .count_blk = e->count_blk,
			  .checksum = e->checksum,
			  .sequence = d->sequence,
			  .entry = i};
	uint32_t sum = 0;
	int rc;

	/* read_older() has checked the log blocks; block 0's live content is no backup. */
	if (d->is_live || (e->source_blk == 0 && d->sequence > 0))
		return bow_progress_add(&c->progress, e->count_blk * d->head.block_size, err);
	if (bow_dmbow_locate(d, e->dest_blk, e->count_blk, &it.from_blk) < e->count_blk) {
		rc = bow_dmbow_sum(d, e->dest_blk, e->count_blk, e->source_blk, true, &sum, err);
		return judge(c, &it, rc, sum, err);
	}
	c->items[c->n++] = it;
	return c->n == c->room ? check_batch(c, err) : 0;
}

int bow_dmbow_check(struct bow_dmbow *d, const struct bowimg_events *events,
		    struct bow_dmbow_lost *lost, struct bowimg_error *err)
{
	struct checker c = {.d = d, .lost = lost};
	struct bow_dmbow_visitor v = {check_entry, &c};
	int rc;

	if (d->miscounted && d->skip)
		d->head.count = d->miscounted;
	rc = bow_dmbow_walk(d, NULL, err);
	if (!rc && d->miscounted && !d->skip)
		rc = bow_err(err, -EUCLEAN,
			     "log block %" PRIu32 ": it has entries beyond the %" PRIu32
			     " that its header counts",
			     d->head.sequence, d->head.count);
	if (rc)
		return rc;
	c.progress = (struct bow_progress){events, "verify", 0, d->entry_blk * d->head.block_size};
	c.room = (uint32_t)bow_min(BATCH, d->entries + 1);
	c.items = calloc(c.room, sizeof(c.items[0]));
	lost->blocks = bow_bitmap_new(d->image_blk);
	if (!c.items || !lost->blocks)
		rc = bow_err_errno(err, -ENOMEM, "cannot check the backups");
	if (!rc)
		rc = bow_dmbow_walk(d, &v, err);
	if (!rc)
		rc = check_batch(&c, err);
	free(c.items);
	return rc;
}
