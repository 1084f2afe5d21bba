/* SPDX-License-Identifier: MIT */
/*
 * The chain of dm-bow's log blocks.
 *
 * Block 0 is the newest. The first entry of each log block names the place of the one before it, or
 * at sequence 0 that of block 0's original. dm-bow moves its backups, and log blocks, when the file
 * system wants their place, so all places are followed through cur[] (rule 7, as in walk.c). At the
 * end, cur[] has the place of every block's content that must be brought back.
 *
 * dm-bow parks only in blocks that were free when the checkpoint began, never twice in the same
 * one, and saves each block once. So a log that it wrote has no source that a newer entry saved, no
 * destination that a newer entry used, and no source that a newer entry used as destination. A log
 * that has is refused. In all others no place that must be read is ever written, so the restore is
 * a set of independent copies. Destinations that do not overlap also bound the work by the disk's
 * size, even for a hostile log; sequence numbers that fall one by one end a chain that loops.
 */
#include "lib/dmbow/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

uint64_t bow_dmbow_locate(const struct bow_dmbow *d, uint64_t blk, uint64_t n, uint64_t *now)
{
	uint64_t value = 0, run;
	bool found = false;

	run = bow_rangemap_get(d->cur, blk, n, &value, &found);
	*now = found ? value : blk;
	return run;
}

/* Add n blocks at blk, which lie there in one run, to the sum. */
static int sum_run(struct bow_dmbow *d, uint64_t blk, uint64_t n, uint32_t *sum,
		   struct bowimg_error *err)
{
	uint32_t size = d->head.block_size;
	int rc = 0;

	for (uint64_t piece; n && !rc; blk += piece, n -= piece) {
		piece = bow_min(n, BOW_DMBOW_PIECE / size);
		rc = bow_disk_read(d->dev, d->buf, piece * size, blk * size, err);
		if (!rc)
			*sum = bow_dmbow_crc(*sum, d->buf, piece * size);
	}
	return rc;
}

int bow_dmbow_sum(struct bow_dmbow *d, uint64_t blk, uint64_t n, uint64_t seed, bool moved,
		  uint32_t *sum, struct bowimg_error *err)
{
	uint64_t now, run;
	int rc = 0;

	*sum = (uint32_t)seed;
	for (; n && !rc; blk += run, n -= run) {
		now = blk;
		run = moved ? bow_dmbow_locate(d, blk, n, &now) : n;
		rc = sum_run(d, now, run, sum, err);
	}
	return rc;
}

/* ---- one entry ------------------------------------------------------------------- */

static int check_consistent(const struct bow_dmbow *d, const struct bow_dmbow_entry *e,
			    struct bowimg_error *err)
{
	uint64_t value;
	bool found;

	if (!bow_bitmap_all(d->dests, e->dest_blk, e->count_blk, false))
		return bow_err(err, -EUCLEAN, "a newer entry uses its destination, too");
	if (e->source_blk == 0)
		return 0;
	if (!bow_bitmap_all(d->dests, e->source_blk, e->count_blk, false))
		return bow_err(err, -EUCLEAN, "its source is a newer entry's destination");
	if (bow_rangemap_get(d->cur, e->source_blk, e->count_blk, &value, &found) < e->count_blk ||
	    found)
		return bow_err(err, -EUCLEAN, "a newer entry saves its source, too");
	return 0;
}

/*
 * An entry that moves block 0's live content has the checksum 0. (A backup's sum may be 0 by
 * chance: then it matches.) All such moves lead to the place where that content is now; once a
 * restore has begun they need not, because the header may be that of an older log block.
 */
static int check_live(struct bow_dmbow *d, const struct bow_dmbow_entry *e,
		      struct bowimg_error *err)
{
	uint32_t sum = 0;
	int rc;

	d->is_live = false;
	if (e->checksum || e->source_blk == 0 || e->count_blk != 1)
		return 0;
	rc = bow_dmbow_sum(d, e->dest_blk, 1, e->source_blk, true, &sum, err);
	if (rc || sum == 0)
		return rc;
	if (!d->head.restoring && e->dest_blk != d->live_blk) {
		if (!d->skip)
			return bow_err(err, -EBADMSG, "it is a backup without a checksum");
		d->skipped++;
	}
	d->is_live = true;
	d->live_blk = e->source_blk;
	return 0;
}

/*
 * Go back over this entry: what is at dest now was at source then, and dest held nothing. The older
 * places of block 0's live content do not matter.
 */
static int go_back(struct bow_dmbow *d, const struct bow_dmbow_entry *e, struct bowimg_error *err)
{
	uint64_t now, run, n = e->source_blk && !d->is_live ? e->count_blk : 0;
	int rc = bow_bitmap_set(d->dests, e->dest_blk, e->count_blk);

	for (uint64_t i = 0; i < n && !rc; i += run) {
		run = bow_dmbow_locate(d, e->dest_blk + i, n - i, &now);
		rc = bow_rangemap_set(d->cur, e->source_blk + i, run, now);
	}
	if (!rc)
		rc = bow_rangemap_erase(d->cur, e->dest_blk, e->count_blk);
	return rc ? bow_err_errno(err, rc, "cannot follow moved blocks") : 0;
}

static int visit(struct bow_dmbow *d, const struct bow_dmbow_visitor *v, uint32_t i,
		 struct bow_dmbow_entry *e, struct bowimg_error *err)
{
	const char *why;
	int rc = 0;

	if (!bow_dmbow_entry_decode(d->block, i, d->head.block_size, d->image_blk, e, &why))
		rc = bow_err(err, -EUCLEAN, "%s", why);
	if (!rc)
		rc = check_consistent(d, e, err);
	if (!rc)
		rc = check_live(d, e, err);
	if (rc)
		return bow_err_wrap(err, rc, "log block %" PRIu32 ": entry %" PRIu32, d->sequence,
				    i);
	d->entries++;
	d->entry_blk += e->count_blk;
	return v ? v->entry(v->ctx, d, e, i, err) : 0;
}

/* ---- the chain ------------------------------------------------------------------- */

/* Does the block hold the header that comes next in this chain? */
static int check_header(struct bow_dmbow *d, uint32_t sequence, struct bowimg_error *err)
{
	struct bow_dmbow_header h;

	if (bow_dmbow_decode(d->block, &h) != BOW_DECODE_OK || h.restoring ||
	    h.block_size != d->head.block_size)
		return bow_err(err, -EUCLEAN, "it is not a log block");
	if (h.sequence != sequence)
		return bow_err(err, -EUCLEAN, "it has the sequence number %" PRIu32, h.sequence);
	d->sequence = sequence;
	d->count = h.count;
	return 0;
}

/* Read the log block before this one; `e` names its place. */
static int read_older(struct bow_dmbow *d, const struct bow_dmbow_entry *e,
		      struct bowimg_error *err)
{
	uint32_t size = d->head.block_size, older = d->sequence - 1;
	int rc;

	bow_dmbow_locate(d, e->dest_blk, 1, &d->log_blk);
	rc = bow_disk_read(d->dev, d->block, size, d->log_blk * size, err);
	if (!rc && bow_dmbow_crc(0, d->block, size) != e->checksum)
		rc = bow_err(err, -EBADMSG, "its checksum is wrong");
	if (!rc)
		rc = check_header(d, older, err);
	if (rc)
		return bow_err_wrap(err, rc, "log block %" PRIu32 " (at block %" PRIu64 ")", older,
				    d->log_blk);
	d->log_blocks++;
	return 0;
}

/* Visit the entries; the first comes last, and leads to the next older log block. */
static int walk_block(struct bow_dmbow *d, const struct bow_dmbow_visitor *v,
		      struct bow_dmbow_entry *first, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = d->count; i-- > 0 && !rc;) {
		struct bow_dmbow_entry e;

		rc = visit(d, v, i, &e, err);
		if (rc && rc != -ENOMEM && d->skip && i) {
			d->skipped++;
			rc = 0;
			continue;
		}
		if (!rc && i == 0)
			*first = e;
		else if (!rc)
			rc = go_back(d, &e, err);
	}
	return rc;
}

static int start(struct bow_dmbow *d, struct bowimg_error *err)
{
	bow_rangemap_free(d->cur);
	bow_bitmap_free(d->dests);
	d->cur = bow_rangemap_new();
	d->dests = bow_bitmap_new(d->image_blk);
	if (!d->cur || !d->dests)
		return bow_err_errno(err, -ENOMEM, "cannot read the log");
	d->log_blocks = 1;
	d->live_blk = d->live0_blk;
	d->entries = d->entry_blk = d->skipped = d->original0_blk = d->log_blk = 0;
	d->sequence = d->head.sequence;
	d->count = d->head.count;
	memcpy(d->block, d->newest, d->head.block_size);
	return 0;
}

/* A log block in the place of block 0's content means that the sequence number is wrong. */
static int end_chain(struct bow_dmbow *d, const struct bow_dmbow_entry *first,
		     struct bowimg_error *err)
{
	uint32_t size = d->head.block_size;
	struct bow_dmbow_header h;
	uint64_t now;
	int rc;

	bow_dmbow_locate(d, first->dest_blk, 1, &now);
	rc = bow_disk_read(d->dev, d->block, size, now * size, err);
	if (!rc && bow_dmbow_decode(d->block, &h) == BOW_DECODE_OK && h.block_size == size)
		rc = bow_err(err, -EUCLEAN,
			     "log block 0: another log block is where block 0's content should "
			     "be, at block %" PRIu64,
			     now);
	if (!rc)
		rc = go_back(d, first, err);
	d->original0_blk = rc ? 0 : now;
	return rc;
}

static int walk_on(struct bow_dmbow *d, const struct bow_dmbow_visitor *v, struct bowimg_error *err)
{
	struct bow_dmbow_entry first = {0};
	int rc;

	for (;;) {
		rc = walk_block(d, v, &first, err);
		if (rc)
			return rc;
		if (d->sequence == 0)
			break;
		rc = read_older(d, &first, err);
		if (!rc)
			rc = go_back(d, &first, err);
		if (rc)
			return rc;
	}
	return end_chain(d, &first, err);
}

int bow_dmbow_walk(struct bow_dmbow *d, const struct bow_dmbow_visitor *v, struct bowimg_error *err)
{
	int rc = start(d, err);

	if (rc)
		return rc;
	rc = walk_on(d, v, err);
	/* Nothing leads past a damaged log block to the older ones. */
	if (rc && rc != -ENOMEM && d->skip) {
		d->original0_blk = 0;
		d->skipped++;
		return 0;
	}
	return rc;
}
