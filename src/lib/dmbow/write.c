/* SPDX-License-Identifier: MIT */
/*
 * All writes to a disk that dm-bow left, and their order. Block 0 is the log, so it comes last.
 * What a restore writes lies outside of what it reads (chain.c), so it can be cut anywhere and run
 * again [I5].
 *
 * Begin: sector 0 gets the magic WOB, which says that a restore has begun, and a count without a
 * torn entry; barrier. Copy back: everything but block 0, in order of destination; barrier. Cut
 * before the first barrier, the disk is as it was. Cut later, the log is whole and no backup was
 * overwritten, so another run has the same result. dm-bow's own tool would finish it, too.
 *
 * Put block 0 in place, which ends a rollback and is all of a commit: if a block is larger than the
 * 512 bytes that every disk writes as one, sector 0 becomes a log of one entry, "block 0 is there";
 * barrier. Then the other sectors of block 0; barrier; sector 0; barrier. Without the log of one
 * entry, a cut would leave half a log.
 */
#include "lib/dmbow/steps.h"

#include <inttypes.h>

#include "lib/base/bytes.h"

int bow_dmbow_begin(struct bow_dmbow *d, struct bowimg_error *err)
{
	int rc;

	if (d->head.restoring)
		return 0;
	d->head.restoring = true;
	bow_dmbow_encode(&d->head, d->newest);
	rc = bow_disk_write_first(d->dev, d->newest, BOW_DMBOW_SECTOR, 0, err);
	return rc ? rc : bow_disk_flush(d->dev, err);
}

/* ---- copying --------------------------------------------------------------------- */

struct copier {
	struct bow_dmbow *d;
	const struct bow_bitmap *lost; /* do not restore these */
	struct bow_progress progress;
};

/* Returns how many blocks at `at` come from one run of backups; 0: this block is not restored. */
static uint64_t next_run(const struct copier *c, uint64_t at, uint64_t most, uint64_t *from)
{
	bool found;
	uint64_t run = bow_rangemap_get(c->d->cur, at, most, from, &found);

	return found ? bow_bitmap_next(c->lost, at, at + run, true) - at : 0;
}

/* Fill the buffer with backups whose destinations lie side by side. */
static int gather(struct copier *c, uint64_t at, uint64_t most, uint64_t *got,
		  struct bowimg_error *err)
{
	uint32_t size = c->d->head.block_size;
	uint64_t from = 0, run;
	int rc = 0;

	for (*got = 0; *got < most && !rc; *got += run) {
		run = next_run(c, at + *got, most - *got, &from);
		if (!run)
			break;
		rc = bow_disk_read(c->d->dev, c->d->buf + *got * size, run * size, from * size,
				   err);
	}
	return rc;
}

/* Returns how many blocks at `at` are not restored. */
static uint64_t to_skip(const struct copier *c, uint64_t at, uint64_t most)
{
	uint64_t unused;
	bool found;
	uint64_t run = bow_rangemap_get(c->d->cur, at, most, &unused, &found);

	return found ? bow_bitmap_next(c->lost, at, at + run, false) - at : run;
}

int bow_dmbow_copy_back(struct bow_dmbow *d, const struct bow_bitmap *lost,
			const struct bowimg_events *events, struct bowimg_end_report *report,
			struct bowimg_error *err)
{
	struct copier c = {.d = d, .lost = lost};
	uint64_t at, n, end = d->image_blk, size = d->head.block_size;
	int rc = 0;

	c.progress = (struct bow_progress){events, "restore", 0, bow_dmbow_changed_blk(d) * size};
	for (at = 1; at < end && !rc; at += n) {
		rc = gather(&c, at, bow_min(end - at, BOW_DMBOW_PIECE / size), &n, err);
		if (rc)
			break;
		if (!n) {
			n = to_skip(&c, at, end - at);
			continue;
		}
		rc = bow_disk_write(d->dev, d->buf, n * size, at * size, err);
		report->restored_bytes += n * size;
		if (!rc)
			rc = bow_progress_add(&c.progress, n * size, err);
	}
	return rc ? rc : bow_disk_flush(d->dev, err);
}

/* ---- the last step --------------------------------------------------------------- */

/* Make sector 0 a log whose only entry names the place of block 0's content. */
static int write_pointer(struct bow_dmbow *d, uint64_t from_blk, bool committing, uint32_t sum,
			 struct bowimg_error *err)
{
	uint32_t size = d->head.block_size;
	struct bow_dmbow_header h = {.restoring = true, .block_size = size, .count = 1};
	struct bow_dmbow_entry e = {.dest_blk = from_blk, .count_blk = 1, .checksum = sum};
	uint8_t sector[BOW_DMBOW_SECTOR] = {0};
	int rc;

	h.sector0 = committing ? from_blk * (size / BOW_DMBOW_SECTOR) : 0;
	bow_dmbow_encode(&h, sector);
	bow_dmbow_entry_encode(&e, size, sector + bow_dmbow_entry_off(0));
	rc = bow_disk_write_first(d->dev, sector, sizeof(sector), 0, err);
	return rc ? rc : bow_disk_flush(d->dev, err);
}

int bow_dmbow_check_block0(struct bow_dmbow *d, uint64_t from_blk, struct bowimg_error *err)
{
	uint32_t size = d->head.block_size;
	uint8_t block[BOW_DMBOW_MAX_BLOCK];
	struct bow_dmbow_header h;
	int rc = bow_disk_read(d->dev, block, size, from_blk * size, err);

	if (rc)
		return bow_err_wrap(err, rc, "cannot read block 0's content");
	if (bow_dmbow_decode(block, &h) != BOW_DECODE_OK || h.block_size != size)
		return 0;
	bow_err(err, -EUCLEAN, "block 0's content, at block %" PRIu64 ", is a log block of dm-bow",
		from_blk);
	bow_err_hint(err, "nothing was changed; keep a copy of the disk as it is now");
	return -EUCLEAN;
}

int bow_dmbow_put_block0(struct bow_dmbow *d, uint64_t from_blk, bool committing,
			 struct bowimg_error *err)
{
	uint32_t size = d->head.block_size;
	uint8_t block[BOW_DMBOW_MAX_BLOCK];
	int rc = bow_disk_read(d->dev, block, size, from_blk * size, err);

	if (!rc && size > BOW_DMBOW_SECTOR) {
		rc = write_pointer(d, from_blk, committing, bow_dmbow_crc(0, block, size), err);
		if (!rc)
			rc = bow_disk_write_first(d->dev, block + BOW_DMBOW_SECTOR,
						  size - BOW_DMBOW_SECTOR, BOW_DMBOW_SECTOR, err);
		if (!rc)
			rc = bow_disk_flush(d->dev, err);
	}
	if (!rc)
		rc = bow_disk_write_first(d->dev, block, BOW_DMBOW_SECTOR, 0, err);
	if (!rc)
		rc = bow_disk_flush(d->dev, err);
	return rc ? bow_err_wrap(err, rc, "cannot put block 0 in place") : 0;
}
