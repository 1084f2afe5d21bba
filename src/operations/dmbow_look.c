/* SPDX-License-Identifier: MIT */
/* Looking at a disk that dm-bow left: which state it is in, how much was changed, the log. */
#include "operations/dmbow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/*
 * A commit of ours that was cut has a log of one entry, which names block 0's live content where a
 * rollback's last step names its original; dm-bow itself never puts both in one place.
 */
static bool is_committing(const uint8_t *sector, const struct bow_dmbow_header *h,
			  uint64_t image_blk)
{
	struct bow_dmbow_entry e;
	const char *why;

	return h->restoring && h->sequence == 0 && h->count == 1 &&
	       bow_dmbow_entry_decode(sector, 0, h->block_size, image_blk, &e, &why) &&
	       e.dest_blk * (h->block_size / BOW_DMBOW_SECTOR) == h->sector0;
}

int bow_dmbow_identify(struct bow_dev *dev, enum bowimg_state *state, struct bowimg_error *err)
{
	uint8_t sector[BOW_DMBOW_SECTOR];
	struct bow_dmbow_header h;
	int rc;

	*state = BOWIMG_STATE_NONE;
	if (dev->size < sizeof(sector))
		return 0;
	rc = bow_dev_read(dev, sector, sizeof(sector), 0, err);
	if (rc)
		return rc;
	switch (bow_dmbow_decode(sector, &h)) {
	case BOW_DECODE_FOREIGN:
		return 0;
	case BOW_DECODE_DAMAGED:
		return bow_dmbow_bad_header(err);
	case BOW_DECODE_NEWER:
		bow_err(err, -EOPNOTSUPP,
			"it has a log of dm-bow of an unknown version; known is 1.0");
		bow_err_hint(err, "keep a copy of the disk; nothing was changed");
		return -EOPNOTSUPP;
	case BOW_DECODE_OK:
		break;
	}
	*state = !h.restoring					       ? BOWIMG_STATE_CHECKPOINT
		 : is_committing(sector, &h, dev->size / h.block_size) ? BOWIMG_STATE_COMMITTING
								       : BOWIMG_STATE_ROLLING_BACK;
	return 0;
}

int bow_dmbow_refuse(const char *verb, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"cannot %s it: it holds a checkpoint of the kernel's dm-bow, which bowimg can only "
		"end",
		verb);
	bow_err_hint(err, "'bowimg rollback' brings back what was there when that checkpoint "
			  "began, 'bowimg commit' keeps what is there now");
	return -EOPNOTSUPP;
}

/* ---- status -----------------------------------------------------------------------------------
 */

static const char *next_step(enum bowimg_state state)
{
	switch (state) {
	case BOWIMG_STATE_ROLLING_BACK:
		return "run 'bowimg rollback' to finish it; nothing is lost";
	case BOWIMG_STATE_COMMITTING:
		return "run 'bowimg commit' again to finish it; nothing is lost";
	default:
		return "left by the kernel's dm-bow: 'bowimg rollback' brings everything back, "
		       "'bowimg commit' keeps the changes";
	}
}

uint64_t bow_dmbow_changed_blk(const struct bow_dmbow *d)
{
	uint64_t changed = 0, run, from;
	bool found;

	for (uint64_t at = 1; at < d->image_blk; at += run) {
		run = bow_rangemap_get(d->cur, at, d->image_blk - at, &from, &found);
		changed += found ? run : 0;
	}
	return changed;
}

static void fill(const struct bow_dmbow *d, struct bowimg_status *out)
{
	uint32_t size = d->head.block_size;
	uint64_t changed = bow_dmbow_changed_blk(d);

	out->block_size = size;
	out->changed_bytes = changed * size;
	out->backup_bytes = (changed + 1) * size; /* block 0's, too */
	out->log_bytes = d->log_blocks * size;
	out->entries = d->entries;
}

int bow_dmbow_status(struct bow_dev *dev, enum bowimg_state state, struct bowimg_status *out,
		     struct bowimg_error *err)
{
	struct bow_dmbow d;
	int rc = bow_dmbow_open(&d, dev, err);

	if (!rc)
		rc = bow_dmbow_walk(&d, NULL, err);
	if (!rc) {
		memset(out, 0, sizeof(*out));
		out->state = state;
		snprintf(out->format, sizeof(out->format), "dm-bow");
		out->virtual_size = dev->size;
		fill(&d, out);
		snprintf(out->next, sizeof(out->next), "%s", next_step(state));
	}
	bow_dmbow_release(&d);
	return rc;
}

/* ---- log --------------------------------------------------------------------------------------
 */

struct lister {
	int (*entry)(void *ctx, const struct bowimg_log_entry *e);
	void *ctx;
	struct bow_bitmap *parked; /* what is a destination anywhere in the log */
};

static const char *type_of(const struct lister *l, const struct bow_dmbow *d,
			   const struct bow_dmbow_entry *e)
{
	if (e->source_blk == 0)
		return d->sequence ? "log" : "copy";
	if (d->is_live)
		return "live";
	return bow_bitmap_test(l->parked, e->source_blk) ? "move" : "copy";
}

static int pass_entry(void *ctx, struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint32_t i,
		      struct bowimg_error *err)
{
	struct lister *l = ctx;
	struct bowimg_log_entry out = {
		.segment_blk = d->log_blk,
		.sequence = d->sequence,
		.type = type_of(l, d, e),
		.source_blk = e->source_blk,
		.dest_blk = e->dest_blk,
		.count_blk = e->count_blk,
		.hash = e->checksum,
	};

	(void)i;
	(void)err;
	return l->entry(l->ctx, &out);
}

static int list(struct bow_dmbow *d, struct lister *l, struct bowimg_error *err)
{
	struct bow_dmbow_visitor v = {pass_entry, l};
	int rc;

	/* First all of it, to tell backups from what the file system had; damage comes up below. */
	(void)bow_dmbow_walk(d, NULL, NULL);
	if (!d->dests)
		return bow_err_errno(err, -ENOMEM, "list dm-bow's log");
	l->parked = bow_bitmap_dup(d->dests);
	rc = l->parked ? bow_dmbow_walk(d, &v, err)
		       : bow_err_errno(err, -ENOMEM, "list dm-bow's log");
	bow_bitmap_free(l->parked);
	return rc;
}

int bow_dmbow_log(struct bow_dev *dev, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		  void *ctx, struct bowimg_error *err)
{
	struct lister l = {.entry = entry, .ctx = ctx};
	struct bow_dmbow d;
	int rc = bow_dmbow_open(&d, dev, err);

	if (!rc)
		rc = list(&d, &l, err);
	bow_dmbow_release(&d);
	return rc;
}
