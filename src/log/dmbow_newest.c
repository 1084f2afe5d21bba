/* SPDX-License-Identifier: MIT */
/*
 * The newest end of dm-bow's log. Nothing protects block 0 but what is known of how it is written.
 *
 * dm-bow writes it in place, one entry more each time, and only when that is on the disk does it
 * let the file system overwrite what the entry saves. The block may be larger than what the disk
 * writes as one. So after a power cut the header may count an entry that is not there, or is there
 * in part, or whose backup is not there: what it was to protect has not been overwritten, and the
 * entry is left out. That is not believed without a sign of it: either the entry's place holds what
 * was there before, in whole or on one side of a sector's edge; or the source still has the entry's
 * checksum.
 *
 * What was there before is known, since the block in memory is used again and again: beyond the
 * count are the entries that the log block before had in the same places; in the first, zeros. So
 * a count that is too small is found out, too. One entry may stand there that is not counted: the
 * header's sector did not reach the disk, and again nothing was overwritten.
 */
#include "log/dmbow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

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
		return bow_err(err, -ENODATA, "block 0 is no log of dm-bow");
	case BOW_DECODE_NEWER:
		return bow_err(err, -EOPNOTSUPP,
			       "its log has a version of dm-bow's format that "
			       "is not known here; known is 1.0");
	case BOW_DECODE_DAMAGED:
		return bow_dmbow_bad_header(err);
	}
	d->image_blk = d->dev->size / d->head.block_size;
	/* The log blocks before this one all lie somewhere on the disk. */
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

/* The entry that says that it moved is written before the header's field. */
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

/* ---- what was there before --------------------------------------------------------------------
 */

struct before {
	uint8_t block[BOW_DMBOW_MAX_BLOCK];
	bool known;
	uint32_t newest; /* sequence number */
};

/* The walk has come to the log block before the newest: that is all that is wanted. */
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

/* Of so many entries of the newest block: where is the one before? */
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
	/* Whatever else is wrong here is wrong in the walk proper, too, and is reported there. */
	return rc == -ENOMEM ? bow_err_errno(err, rc, "read dm-bow's log") : 0;
}

static bool same_slot(const struct bow_dmbow *d, const struct before *b, uint32_t i, size_t from,
		      size_t to)
{
	size_t off = bow_dmbow_entry_off(i);

	return !memcmp(d->newest + off + from, b->block + off + from, to - from);
}

/* ---- the newest entry, and the places after it ------------------------------------------------
 */

enum content { AS_SAVED, ANOTHER, UNREADABLE };

/* What is at blk, compared with what the entry saved. */
static enum content look(struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint64_t blk)
{
	uint32_t sum;

	if (bow_dmbow_sum(d, blk, e->count_blk, e->source_blk, false, &sum, NULL))
		return UNREADABLE;
	return sum == e->checksum ? AS_SAVED : ANOTHER;
}

/*
 * Is the backup there? A checksum of 0 is block 0's live content that moved on, and says nothing;
 * the header still names the place it moved from then. Any other would be the sum itself.
 */
static enum content look_at_backup(struct bow_dmbow *d, const struct bow_dmbow_entry *e)
{
	uint64_t sector0 = d->head.sector0 / (d->head.block_size / BOW_DMBOW_SECTOR);

	if (e->checksum == 0 && e->source_blk == sector0)
		return AS_SAVED;
	return look(d, e, e->dest_blk);
}

/* A sector ends inside the entry, and one side of it is as before. */
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
	return look_at_backup(d, &e) != AS_SAVED &&
	       (look(d, &e, e.source_blk) == AS_SAVED || half_written(d, b, i));
}

/* Source and backup are alike, of whatever kind the entry is. */
static bool not_overwritten(struct bow_dmbow *d, const struct bow_dmbow_entry *e)
{
	uint32_t here, there;

	return !bow_dmbow_sum(d, e->source_blk, e->count_blk, 0, false, &here, NULL) &&
	       !bow_dmbow_sum(d, e->dest_blk, e->count_blk, 0, false, &there, NULL) &&
	       here == there;
}

/* An entry beyond the count: written, without the header's sector, and then came the end? */
static bool may_be_uncounted(struct bow_dmbow *d, uint32_t i)
{
	struct bow_dmbow_entry e;

	if (i != d->head.count ||
	    bow_dmbow_entry_off(i) + BOW_DMBOW_ENTRY_BYTES <= BOW_DMBOW_SECTOR)
		return false;
	return !decode(d, i, &e) || look_at_backup(d, &e) == ANOTHER || not_overwritten(d, &e);
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

	/* The first entry is what leads on; and where it is the only one, no sector is doubtful. */
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
	int rc = bow_dev_read(d->dev, d->newest, BOW_DMBOW_SECTOR, 0, err);

	if (!rc)
		rc = check_head(d, d->newest, err);
	return rc ? rc : bow_dev_read(d->dev, d->newest, d->head.block_size, 0, err);
}

int bow_dmbow_open(struct bow_dmbow *d, struct bow_dev *dev, struct bowimg_error *err)
{
	int rc = 0;

	memset(d, 0, sizeof(*d));
	d->dev = dev;
	d->block = malloc(BOW_DMBOW_MAX_BLOCK);
	d->newest = malloc(BOW_DMBOW_MAX_BLOCK);
	d->buf = malloc(BOW_DMBOW_PIECE);
	if (!d->block || !d->newest || !d->buf)
		rc = bow_err_errno(err, -ENOMEM, "read dm-bow's log");
	if (!rc)
		rc = read_newest(d, err);
	/* A restore begins only where all of this was in order, and leaves entries behind. */
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
