/* SPDX-License-Identifier: MIT */
/* Where a log that is being loaded has things: what load.c and load_end.c share. */
#include "lib/log/loader.h"

#include <inttypes.h>

#include "lib/base/bytes.h"

/* Set the bits of a run that are clear in `unless`. */
int bow_set_unless(struct bow_bitmap *map, const struct bow_bitmap *unless, uint64_t start,
		   uint64_t n)
{
	uint64_t end = start + n, stop;
	int rc = 0;

	while (!rc && (start = bow_bitmap_next(unless, start, end, false)) < end) {
		stop = bow_bitmap_next(unless, start, end, true);
		rc = bow_bitmap_set(map, start, stop - start);
		start = stop;
	}
	return rc;
}

/* bowimg holds [blk, blk + n), unless the file system took it over later. */
int bow_loader_hold(struct bow_loader *l, uint64_t blk, uint64_t n)
{
	struct bow_checkpoint *cp = l->cp;

	if (blk < cp->blocks.count)
		return bow_set_unless(cp->blocks.held, l->live, blk, n);
	cp->tail_next = bow_max(cp->tail_next, blk + n);
	return bow_rangemap_set(cp->tail, blk, n, blk);
}

/* Each of these is somewhere now, so no two are in one place: a chain reads no block twice. */
int bow_loader_keep(struct bow_checkpoint *cp, uint64_t blk, uint64_t n, struct bowimg_error *err)
{
	if (blk >= cp->blocks.count)
		return 0;
	if (!bow_bitmap_all(cp->kept, blk, n, false))
		return bow_err(err, -EUCLEAN, "two parts of the log are at block %" PRIu64,
			       bow_bitmap_next(cp->kept, blk, blk + n, true));
	return bow_bitmap_set(cp->kept, blk, n);
}
