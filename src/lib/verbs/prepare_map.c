/* SPDX-License-Identifier: MIT */
/*
 * Saving the free map. A leaf with few runs becomes an entry for each run (a fresh file system of
 * any size needs a handful); a leaf with many runs is parked as its bits.
 */
#include "lib/verbs/prepare.h"

#include "lib/base/bytes.h"

/* Park the bits of a leaf with many runs as a block. */
static int save_bits(struct prepare *p, uint64_t leaf, struct bowimg_error *err)
{
	struct bow_entry e = {
		.type = BOW_ENTRY_MAP_BITS,
		.count_blk = 1,
		.source_blk = leaf * BOW_MAP_LEAF_BLK,
	};
	uint8_t bits[BOW_LEAF_BYTES];
	int rc;

	bow_bitmap_get_leaf(p->plan->free, leaf, bits);
	if (!bow_prepare_park(p, 1, 1, &e.dest_blk))
		return bow_prepare_no_room(p, err);
	e.hash = bow_hash(bits, sizeof(bits), p->sb.seed);
	rc = bow_prepare_write_block(p, bits, e.dest_blk, err);
	return rc ? rc : bow_prepare_add_entry(p, &e, err);
}

/* Count the runs of free blocks in a leaf, up to one more than get an entry each. */
static uint32_t runs_in_leaf(const struct bow_bitmap *map, uint64_t start, uint64_t end)
{
	uint64_t n;
	uint32_t runs = 0;

	for (; runs <= BOW_MAP_RUNS_MAX && bow_bitmap_next_run(map, &start, &n, end); start += n)
		runs++;
	return runs;
}

static int save_runs(struct prepare *p, uint64_t start, uint64_t end, struct bowimg_error *err)
{
	struct bow_entry e = {.type = BOW_ENTRY_MAP_RUN};
	uint64_t n;
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(p->plan->free, &start, &n, end); start += n) {
		e.source_blk = start;
		e.dest_blk = n;
		rc = bow_prepare_add_entry(p, &e, err);
	}
	return rc;
}

/* Save the free map leaf by leaf; leaves side by side that are free as a whole share one entry. */
int bow_prepare_save_map(struct prepare *p, struct bowimg_error *err)
{
	const struct bow_bitmap *map = p->plan->free;
	uint64_t end = p->blocks.count, start, stop;
	int rc = 0;

	for (start = 0; start < end && !rc; start = stop) {
		stop = bow_min(start + BOW_MAP_LEAF_BLK, end);
		while (stop < end && bow_bitmap_all(map, start, stop - start, true) &&
		       bow_bitmap_all(map, stop, bow_min(BOW_MAP_LEAF_BLK, end - stop), true))
			stop = bow_min(stop + BOW_MAP_LEAF_BLK, end);
		if (runs_in_leaf(map, start, stop) > BOW_MAP_RUNS_MAX)
			rc = save_bits(p, start / BOW_MAP_LEAF_BLK, err);
		else
			rc = save_runs(p, start, stop, err);
	}
	return rc ? rc : bow_prepare_flush_entries(p, err);
}
