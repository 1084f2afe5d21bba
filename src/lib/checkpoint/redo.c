/* SPDX-License-Identifier: MIT */
/*
 * A power cut took copies of the last record: they are made again (rule 9). The walk found each
 * source with its content [I3], and no other copy of the record goes there, so that any order will
 * do; storage that is far away is asked for many at a time. Restartable: until the next record is
 * logged, the walk finds again what is missing.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/checkpoint/checkpoint.h"

#define COPY_BYTES ((size_t)BOW_COPY_MAX_BLK * BOW_BLOCK)

struct redoing {
	const struct bow_checkpoint *cp;
	uint8_t *bufs; /* COPY_BYTES for each thread */
};

static int copy_again(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	const struct redoing *all = ctx;
	const struct bow_checkpoint *cp = all->cp;
	const struct bow_redo *r = &cp->redo[i];
	uint8_t *buf = all->bufs + number * COPY_BYTES;
	size_t whole = (size_t)r->count_blk * BOW_BLOCK;
	size_t bytes = bow_super_bytes(&cp->sb, r->source_blk, r->count_blk);
	int rc = bow_disk_read(cp->dev, buf, bytes, r->source_blk * BOW_BLOCK, err);

	memset(buf + bytes, 0, whole - bytes);
	return rc ? rc : bow_disk_write(cp->dev, buf, whole, r->dest_blk * BOW_BLOCK, err);
}

static int copy_all(const struct bow_checkpoint *cp, struct bowimg_error *err)
{
	unsigned threads = (unsigned)bow_min(bow_crew_size(cp->dev->queue_depth), cp->redos);
	struct redoing r = {cp, malloc(threads * COPY_BYTES)};
	int rc = r.bufs ? bow_crew_each(threads, cp->redos, copy_again, &r, err)
			: bow_err_errno(err, -ENOMEM, "cannot redo the last backups");

	free(r.bufs);
	return rc;
}

/* If a block is a piece of the log that moved, it is read from its destination now. */
static int keep(struct bow_checkpoint *cp)
{
	int rc = 0;

	for (uint32_t i = 0; i < cp->redos && !rc; i++)
		if (cp->redo[i].dest_blk < cp->blocks.count)
			rc = bow_bitmap_set(cp->kept, cp->redo[i].dest_blk, cp->redo[i].count_blk);
	return rc;
}

int bow_checkpoint_redo(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	int rc = cp->redos ? copy_all(cp, err) : 0;

	if (!rc && keep(cp))
		rc = bow_err_errno(err, -ENOMEM, "cannot redo the last backups");
	return rc ? rc : bow_disk_flush(cp->dev, err);
}
