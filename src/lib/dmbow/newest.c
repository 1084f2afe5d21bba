/* SPDX-License-Identifier: MIT */
/*
 * The newest end of dm-bow's log. Block 0 has no checksum; it is judged by how dm-bow writes it.
 *
 * dm-bow writes the block in place, each time with one entry more. Only when that is on the disk,
 * it lets the file system overwrite what the entry saves. The block may be larger than what the
 * disk writes as one. So after a power cut the header may count an entry that is missing, or torn,
 * or whose backup is missing. What that entry was to protect has not been overwritten, so the entry
 * is left out. This needs a sign: the entry's place holds, in whole or on one side of a sector's
 * edge, what was there before; or the source still has the entry's checksum.
 *
 * What was there before is known, because dm-bow uses its block in memory again and again: beyond
 * the count stand the entries that the log block before had in the same places; in the first log
 * block, zeros. So a count that is too small is found, too. One uncounted entry is allowed: the
 * header's sector did not reach the disk, and again nothing was overwritten.
 */
#include "lib/dmbow/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

int bow_dmbow_bad_header(struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "the header of dm-bow's log in block 0 is damaged");
	bow_err_hint(err, "keep a copy of the disk; the backups are still in its free space");
	return -EUCLEAN;
}

static int check_head(struct bow_dmbow *d, const uint8_t *sector, struct bowimg_error *err)
{
	int rc;

	switch (bow_dmbow_decode(sector, &d->head)) {
	case BOW_DECODE_OK:
		break;
	case BOW_DECODE_FOREIGN:
		return bow_err(err, -ENODATA, "block 0 is not a log of dm-bow");
	case BOW_DECODE_NEWER:
		return bow_err(err, -EOPNOTSUPP,
			       "it has a log of dm-bow of an unknown version; known is 1.0");
	case BOW_DECODE_DAMAGED:
		return bow_dmbow_bad_header(err);
	}
	d->image_blk = d->dev->size / d->head.block_size;
	/* All older log blocks lie on the disk, each in a block of its own. */
	if (d->head.sequence < d->image_blk)
		return 0;
	rc = bow_dmbow_bad_header(err);
	return bow_err_wrap(err, rc, "%" PRIu32 " older log blocks on a disk of %" PRIu64 " blocks",
			    d->head.sequence, d->image_blk);
}

static bool decode(const struct bow_dmbow *d, uint32_t i, struct bow_dmbow_entry *e)
{
	const char *why;

	return bow_dmbow_entry_decode(d->newest, i, d->head.block_size, d->image_blk, e, &why);
}

/* If the newest entry moved that content, the header's field may not have followed yet. */
static uint64_t find_live0(const struct bow_dmbow *d)
{
	uint64_t sectors = d->head.block_size / BOW_DMBOW_SECTOR;
	uint64_t blk = d->head.sector0 / sectors;
	struct bow_dmbow_entry e;

	if (d->head.sector0 % sectors || blk == 0 || blk >= d->image_blk)
		return 0;
	if (decode(d, d->head.count - 1, &e) && e.source_blk == blk && e.count_blk == 1)
		return e.dest_blk;
	return blk;
}

/* ---- what was there before ------------------------------------------------------- */

struct before {
	uint8_t block[BOW_DMBOW_MAX_BLOCK];
	bool known;
	uint32_t newest; /* sequence number */
};

/* Keep the log block before the newest, and end the walk. */
static int keep_block(void *ctx, struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint32_t i,
		      struct bowimg_error *err)
{
	struct before *b = ctx;

	(void)e;
	(void)i;
	(void)err;
	if (d->sequence == b->newest)
		return 0;
	memcpy(b->block, d->block, d->head.block_size);
	b->known = true;
	return -ECANCELED;
}

/* Read the log block before, by the first `count` entries of the newest. */
static int read_before(struct bow_dmbow *d, struct before *b, uint32_t count,
		       struct bowimg_error *err)
{
	struct bow_dmbow_visitor v = {keep_block, b};
	uint32_t counted = d->head.count;
	int rc;

	if (b->known)
		return 0;
	b->newest = d->head.sequence;
	b->known = d->head.sequence == 0;
	if (b->known)
		return 0;
	d->head.count = count;
	d->live0_blk = find_live0(d);
	rc = bow_dmbow_walk(d, &v, NULL);
	d->head.count = counted;
	/* The walk that follows meets all other errors again, and reports them. */
	return rc == -ENOMEM ? bow_err_errno(err, rc, "cannot read dm-bow's log") : 0;
}

static bool same_slot(const struct bow_dmbow *d, const struct before *b, uint32_t i, size_t from,
		      size_t to)
{
	size_t off = bow_dmbow_entry_off(i);

	return !memcmp(d->newest + off + from, b->block + off + from, to - from);
}

/* ---- the newest entry, and the places after it ----------------------------------- */

enum content { AS_SAVED, ANOTHER, UNREADABLE };

/* Compare what is at blk with what the entry saved. */
static enum content compare(struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint64_t blk)
{
	uint32_t sum;

	if (bow_dmbow_sum(d, blk, e->count_blk, e->source_blk, false, &sum, NULL))
		return UNREADABLE;
	return sum == e->checksum ? AS_SAVED : ANOTHER;
}

/*
 * Is the backup there? If the checksum is 0 and the header names the source, the entry moves block
 * 0's live content, and there is nothing to compare. Otherwise a 0 is a sum like any other.
 */
static enum content compare_backup(struct bow_dmbow *d, const struct bow_dmbow_entry *e)
{
	uint64_t sector0 = d->head.sector0 / (d->head.block_size / BOW_DMBOW_SECTOR);

	if (e->checksum == 0 && e->source_blk == sector0)
		return AS_SAVED;
	return compare(d, e, e->dest_blk);
}

/* A sector ends inside the entry, and on one side of that edge it is as before. */
static bool half_written(const struct bow_dmbow *d, const struct before *b, uint32_t i)
{
	size_t edge = bow_dmbow_entry_off(i) % BOW_DMBOW_SECTOR, all = BOW_DMBOW_ENTRY_BYTES;
	size_t split = BOW_DMBOW_SECTOR - edge;

	return b->known && split < all &&
	       (same_slot(d, b, i, 0, split) || same_slot(d, b, i, split, all));
}

static bool is_torn(struct bow_dmbow *d, const struct before *b, uint32_t i)
{
	struct bow_dmbow_entry e;

	if (b->known && same_slot(d, b, i, 0, BOW_DMBOW_ENTRY_BYTES))
		return true;
	if (!decode(d, i, &e))
		return half_written(d, b, i);
	return compare_backup(d, &e) != AS_SAVED &&
	       (compare(d, &e, e.source_blk) == AS_SAVED || half_written(d, b, i));
}

/* Source and backup are alike. */
static bool not_overwritten(struct bow_dmbow *d, const struct bow_dmbow_entry *e)
{
	uint32_t here, there;

	return !bow_dmbow_sum(d, e->source_blk, e->count_blk, 0, false, &here, NULL) &&
	       !bow_dmbow_sum(d, e->dest_blk, e->count_blk, 0, false, &there, NULL) &&
	       here == there;
}

/* Can this be an entry that was written when the header's sector was not? */
static bool may_be_uncounted(struct bow_dmbow *d, uint32_t i)
{
	struct bow_dmbow_entry e;

	if (i != d->head.count ||
	    bow_dmbow_entry_off(i) + BOW_DMBOW_ENTRY_BYTES <= BOW_DMBOW_SECTOR)
		return false;
	return !decode(d, i, &e) || compare_backup(d, &e) == ANOTHER || not_overwritten(d, &e);
}

static uint32_t count_anew(struct bow_dmbow *d, const struct before *b)
{
	uint32_t i, n = 0, end = bow_dmbow_capacity(d->head.block_size);

	for (i = d->head.count; b->known && i < end; i++)
		if (!same_slot(d, b, i, 0, BOW_DMBOW_ENTRY_BYTES) && !may_be_uncounted(d, i))
			n = i + 1;
	return n;
}

static int judge(struct bow_dmbow *d, struct bowimg_error *err)
{
	struct before b = {.known = false};
	uint32_t i = d->head.count - 1;
	int rc = 0;

	/* The first entry leads to the older blocks. If it is the only one, it cannot be torn. */
	if (i > 0) {
		rc = read_before(d, &b, i, err);
		if (!rc)
			d->torn = is_torn(d, &b, i);
	}
	if (!rc)
		rc = read_before(d, &b, d->head.count, err);
	if (!rc)
		d->miscounted = count_anew(d, &b);
	d->head.count -= d->torn;
	return rc;
}

static int read_newest(struct bow_dmbow *d, struct bowimg_error *err)
{
	int rc = bow_disk_read(d->dev, d->newest, BOW_DMBOW_SECTOR, 0, err);

	if (!rc)
		rc = check_head(d, d->newest, err);
	return rc ? rc : bow_disk_read(d->dev, d->newest, d->head.block_size, 0, err);
}

int bow_dmbow_open(struct bow_dmbow *d, struct bowimg_disk *dev, struct bowimg_error *err)
{
	int rc = 0;

	memset(d, 0, sizeof(*d));
	d->dev = dev;
	d->block = malloc(BOW_DMBOW_MAX_BLOCK);
	d->newest = malloc(BOW_DMBOW_MAX_BLOCK);
	d->buf = malloc(BOW_DMBOW_PIECE);
	if (!d->block || !d->newest || !d->buf)
		rc = bow_err_errno(err, -ENOMEM, "cannot read dm-bow's log");
	if (!rc)
		rc = read_newest(d, err);
	/* dm-bow's block 0 may be smaller than bowimg's; the rest is restored like other blocks. */
	if (!rc)
		bow_disk_narrow_first(dev, d->head.block_size);
	/* A restore that has begun found the end in order, and leaves entries beyond the count. */
	if (!rc && !d->head.restoring)
		rc = judge(d, err);
	if (!rc)
		d->live0_blk = find_live0(d);
	return rc;
}

void bow_dmbow_release(struct bow_dmbow *d)
{
	bow_rangemap_free(d->cur);
	bow_bitmap_free(d->dests);
	free(d->block);
	free(d->newest);
	free(d->buf);
	memset(d, 0, sizeof(*d));
}
