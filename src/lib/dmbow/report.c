/* SPDX-License-Identifier: MIT */
/* What is on a disk that dm-bow left: how much was changed, and the entries of the log. */
#include "lib/dmbow/steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"

/* ---- status ---------------------------------------------------------------------- */

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
	out->backup_bytes = (changed + 1) * size; /* with block 0's */
	out->log_bytes = d->log_blocks * size;
	out->entries = d->entries;
}

int bow_dmbow_status(struct bow_opened *o, struct bowimg_status *out, struct bowimg_error *err)
{
	struct bow_dmbow d;
	int rc = bow_dmbow_open(&d, o->dev, err);

	if (!rc)
		rc = bow_dmbow_walk(&d, NULL, err);
	if (!rc) {
		memset(out, 0, sizeof(*out));
		out->state = o->state;
		snprintf(out->format, sizeof(out->format), "%s", o->kind->name);
		out->virtual_size = o->dev->size;
		fill(&d, out);
		snprintf(out->next, sizeof(out->next), "%s", next_step(o->state));
	}
	bow_dmbow_release(&d);
	return rc;
}

/* ---- log ------------------------------------------------------------------------- */

struct lister {
	int (*entry)(void *ctx, const struct bowimg_log_entry *e);
	void *ctx;
	struct bow_bitmap *parked; /* every destination in the log */
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

	/* The first walk collects all destinations; the second one reports damage. */
	(void)bow_dmbow_walk(d, NULL, NULL);
	if (!d->dests)
		return bow_err_errno(err, -ENOMEM, "cannot list dm-bow's log");
	l->parked = bow_bitmap_dup(d->dests);
	rc = l->parked ? bow_dmbow_walk(d, &v, err)
		       : bow_err_errno(err, -ENOMEM, "cannot list dm-bow's log");
	bow_bitmap_free(l->parked);
	return rc;
}

int bow_dmbow_log(struct bow_opened *o, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		  void *ctx, struct bowimg_error *err)
{
	struct lister l = {.entry = entry, .ctx = ctx};
	struct bow_dmbow d;
	int rc = bow_dmbow_open(&d, o->dev, err);

	if (!rc)
		rc = list(&d, &l, err);
	bow_dmbow_release(&d);
	return rc;
}
