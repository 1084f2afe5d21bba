/* SPDX-License-Identifier: MIT */
/* What the walk back through the log knows of blocks: where things are now, and where they were
 * put. */
#include <inttypes.h>

#include "lib/base/bytes.h"
#include "lib/log/log.h"

uint64_t bow_walk_locate(const struct bow_walk *w, uint64_t blk, uint64_t n, uint64_t *now)
{
	uint64_t value = 0;
	bool found = false;
	uint64_t run = bow_rangemap_get(w->cur, blk, n, &value, &found);

	*now = found ? value : blk;
	/* Pieces that moved to both sides of the image's end may look like one. */
	return *now < w->image_blk ? bow_min(run, w->image_blk - *now) : run;
}

/*
 * A block that bowimg used becomes the file system's in the end, and bowimg uses it again only
 * after a GIVE. So nothing is put where something else was before, unless a GIVE lies between. This
 * bounds what a small log can ask for.
 */
int bow_walk_put(struct bow_walk *w, uint64_t blk, uint64_t n, struct bowimg_error *err)
{
	if (!bow_bitmap_all(w->put, blk, n, false))
		return bow_err(err, -EUCLEAN, "two things are put at block %" PRIu64,
			       bow_bitmap_next(w->put, blk, blk + n, true));
	if (blk < w->image_blk && !bow_bitmap_all(w->given, blk, n, false))
		return bow_err(err, -EUCLEAN,
			       "something is put at block %" PRIu64 ", which the file system has",
			       bow_bitmap_next(w->given, blk, blk + n, true));
	if (bow_bitmap_set(w->put, blk, n))
		return bow_err_errno(err, -ENOMEM, "note the log's blocks");
	return 0;
}

/* Before a GIVE the blocks are the file system's, back to the entry that took them. */
int bow_walk_given(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	uint64_t blk = e->source_blk, n = e->count_blk;

	if (!bow_bitmap_all(w->given, blk, n, false))
		return bow_err(err, -EUCLEAN, "block %" PRIu64 " is given back twice",
			       bow_bitmap_next(w->given, blk, blk + n, true));
	if (bow_bitmap_set(w->given, blk, n) || bow_bitmap_clear(w->put, blk, n))
		return bow_err_errno(err, -ENOMEM, "note the blocks that are given back");
	return 0;
}

/*
 * What is taken was free: what had been put there was moved away, and given back. A MOVE takes what
 * holds something, and tells where that goes. So no two things that were put are in one place now.
 */
int bow_walk_taken(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	uint64_t blk = e->source_blk, n = e->count_blk;

	if (bow_bitmap_clear(w->given, blk, n) ||
	    (e->type == BOW_ENTRY_TAKE && bow_bitmap_set(w->put, blk, n)))
		return bow_err_errno(err, -ENOMEM, "note the blocks that are given back");
	return 0;
}
