/* SPDX-License-Identifier: MIT */
/*
 * What is known of a disk as it was at a mark, beside its backups: which blocks were free, which
 * read as zeros, and which may have changed since.
 *
 * Whatever is free at a mark was free at prepare. What the file system had at the mark is used from
 * then on, so its content is saved before it is overwritten, and its backups tell what it was.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/log/log.h"

/* The states as of the mark say both, wherever things are now. */
static int load_states(struct bow_past *past, const struct bow_checkpoint *cp,
		       struct bowimg_error *err)
{
	struct bow_checkpoint then = {.dev = cp->dev, .sb = cp->sb, .end_seq = cp->end_seq};
	int rc = bow_checkpoint_load_at(&then, past->seq, err);

	if (!rc) {
		past->free = past->own_free = then.blocks.free;
		past->zeros = then.blocks.zero_pending;
		then.blocks.free = then.blocks.zero_pending = NULL;
	}
	bow_checkpoint_release(&then);
	return rc;
}

int bow_past_load(struct bow_past *past, const struct bow_checkpoint *cp, uint32_t epoch,
		  struct bowimg_error *err)
{
	*past = (struct bow_past){
		.epoch = epoch,
		.seq = cp->epochs[epoch].mark_seq,
		.free = bow_checkpoint_free0(cp),
	};
	return epoch ? load_states(past, cp, err) : 0;
}

void bow_past_release(struct bow_past *past)
{
	bow_bitmap_free(past->own_free);
	bow_bitmap_free(past->zeros);
	memset(past, 0, sizeof(*past));
}

uint64_t bow_past_run(const struct bow_past *past, uint64_t blk, uint64_t n, bool *was_free,
		      bool *zeros)
{
	uint64_t end = blk + n;

	*was_free = bow_bitmap_test(past->free, blk);
	end = bow_bitmap_next(past->free, blk, end, !*was_free);
	*zeros = past->zeros && bow_bitmap_test(past->zeros, blk);
	if (past->zeros)
		end = bow_bitmap_next(past->zeros, blk, end, !*zeros);
	return end - blk;
}

/* ---- what changed ---------------------------------------------------------------- */

/* Block 0 is saved by every mark, and then that says nothing. */
static bool may_change(const struct bow_entry *e)
{
	switch (e->type) {
	case BOW_ENTRY_MAP_RUN:
	case BOW_ENTRY_MAP_BITS:
	case BOW_ENTRY_MARK:
	case BOW_ENTRY_UNMARK:
	case BOW_ENTRY_REVERT:
	case BOW_ENTRY_PLACE:
		return false;
	default:
		return e->source_blk != 0;
	}
}

static int note_changed(void *ctx, struct bow_walk *w, const struct bow_entry *e,
			struct bowimg_error *err)
{
	uint64_t blk = e->source_blk;

	if (!may_change(e) || blk >= w->image_blk)
		return 0;
	if (bow_bitmap_set(ctx, blk, bow_min(e->count_blk, w->image_blk - blk)))
		return bow_err_errno(err, -ENOMEM, "note what changed");
	return 0;
}

int bow_past_changed(const struct bow_past *past, const struct bow_checkpoint *cp,
		     struct bow_bitmap *changed, struct bowimg_error *err)
{
	const struct bow_visitor v = {.entry = note_changed, .ctx = changed};
	struct bow_walk w;
	int rc = bow_walk_init(&w, cp->dev, &cp->sb, err);

	w.from_seq = past->seq + 1;
	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	bow_walk_release(&w);
	return rc;
}

void bow_past_info(const struct bow_past *past, const struct bow_super *sb,
		   struct bowimg_disk_info *out)
{
	memset(out, 0, sizeof(*out));
	bow_uuid_text(sb->uuid, out->uuid);
	out->size = sb->image_size;
	out->block_size = BOW_BLOCK;
	out->exact = sb->flags & BOW_SUPER_EXACT;
	out->prepared_at = sb->prepared_at;
	memcpy(out->free_source, sb->free_source, sizeof(out->free_source));
	out->free_source[sizeof(out->free_source) - 1] = '\0';
	out->record = past ? past->seq : 0;
}
