/* SPDX-License-Identifier: MIT */
/* The entries of the log, newest first, for people. */
#include "lib/own/steps.h"

struct lister {
	int (*entry)(void *ctx, const struct bowimg_log_entry *e);
	void *ctx;
};

static int pass_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct lister *l = ctx;
	struct bowimg_log_entry out = {
		.segment_blk = w->segment.header.start_blk,
		.sequence = w->sequence,
		.type = bow_entry_name(e),
		.source_blk = e->source_blk,
		.dest_blk = e->dest_blk,
		.count_blk = e->count_blk,
		.hash = e->hash,
	};

	(void)err;
	if (e->type == BOW_ENTRY_MARK) {
		bow_mark_name(e, out.name);
		out.record = w->sequence;
		out.source_blk = out.dest_blk = out.count_blk = out.hash = 0;
	} else if (e->type == BOW_ENTRY_UNMARK || e->type == BOW_ENTRY_REVERT) {
		out.record = e->source_blk;
		out.source_blk = out.dest_blk = 0;
	}
	if (e->type == BOW_ENTRY_MAP_RUN) {
		out.count_blk = e->dest_blk;
		out.dest_blk = 0;
	}
	return l->entry(l->ctx, &out);
}

int bow_own_log(struct bow_opened *o, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		void *ctx, struct bowimg_error *err)
{
	struct lister l = {entry, ctx};
	struct bow_visitor v = {.entry = pass_entry, .ctx = &l};
	struct bow_walk w;
	int rc;

	if (!o->loaded)
		return bow_own_refuse(o, "show", err);
	rc = bow_walk_init(&w, o->dev, &o->cp.sb, err);
	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	bow_walk_release(&w);
	return rc;
}
