/* SPDX-License-Identifier: MIT */
/*
 * The pieces of the saved free map. Prepare writes each part of the map once, so no two pieces
 * overlap; a log that names a block twice is refused.
 */
#include "lib/log/log.h"

#include <inttypes.h>

#include "lib/base/bytes.h"

static int mark_run(struct bow_bitmap *map, uint64_t start, uint64_t n, struct bowimg_error *err)
{
	if (!bow_bitmap_all(map, start, n, false))
		return bow_err(err, -EUCLEAN,
			       "two pieces of the saved free map name block %" PRIu64,
			       bow_bitmap_next(map, start, start + n, true));
	return bow_bitmap_set(map, start, n);
}

static int mark_bits(struct bow_bitmap *map, const uint8_t *bits, uint64_t first, uint64_t count,
		     struct bowimg_error *err)
{
	uint64_t n;
	int rc = 0;

	for (uint64_t s = 0; s < count && !rc; s += n) {
		bool set = bits[s / 8] >> s % 8 & 1;

		for (n = 1; s + n < count && (bits[(s + n) / 8] >> (s + n) % 8 & 1) == set;)
			n++;
		if (set)
			rc = mark_run(map, first + s, n, err);
	}
	return rc;
}

static int map_bits(struct bow_walk *w, const struct bow_entry *e, struct bow_bitmap *map,
		    struct bowimg_error *err)
{
	uint64_t count = bow_min(BOW_MAP_LEAF_BLK, bow_bitmap_bits(map) - e->source_blk);
	uint64_t before = bow_bitmap_count(map);
	int rc = bow_walk_read(w, e->dest_blk, 1, w->buf, err);

	if (rc)
		return rc;
	if (bow_hash(w->buf, BOW_BLOCK, w->sb->seed) != e->hash)
		return bow_err(err, -EBADMSG, "the saved free map is damaged");
	rc = mark_bits(map, w->buf, e->source_blk, count, err);
	if (!rc && bow_bitmap_count(map) == before)
		rc = bow_err(err, -EUCLEAN, "a piece of the saved free map names no block");
	return rc;
}

int bow_walk_map_piece(struct bow_walk *w, const struct bow_entry *e, struct bow_bitmap *free_map,
		       struct bowimg_error *err)
{
	int rc = e->type == BOW_ENTRY_MAP_BITS
			 ? map_bits(w, e, free_map, err)
			 : mark_run(free_map, e->source_blk, e->dest_blk, err);

	return rc == -ENOMEM ? bow_err_errno(err, rc, "keep the free map") : rc;
}
