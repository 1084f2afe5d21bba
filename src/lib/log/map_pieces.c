/* SPDX-License-Identifier: MIT */
/*
 * The pieces of the saved free map. Prepare writes each part of the map once, so no two pieces
 * overlap; a log that names a block twice is refused.
 *
 * A fragmented map has a block for each 128 MiB of the image, so that a large disk has thousands of
 * them. They are read ahead: all that the record still names, in one go.
 */
#include "lib/log/log.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/disk/scatter.h"

struct bow_map_ahead {
	uint64_t dest_blk[BOW_SCATTER_MAX]; /* of entries, as the walk meets them */
	uint64_t now_blk[BOW_SCATTER_MAX];  /* where they are, in the order of the record */
	uint32_t n, met;
	uint64_t sequence;			  /* of the record */
	uint8_t bits[BOW_SCATTER_MAX][BOW_BLOCK]; /* as in now_blk */
};

void bow_map_ahead_free(struct bow_map_ahead *ahead)
{
	free(ahead);
}

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

/*
 * List the blocks of this MAP_BITS and of those that the walk meets next. Pieces of a map move
 * nothing, so that all of them are where they are now. What is wrong with an entry is said when the
 * walk is there.
 */
static void look_ahead(const struct bow_walk *w, struct bow_map_ahead *a)
{
	const char *why;
	struct bow_entry e;
	uint64_t now;

	a->n = a->met = 0;
	a->sequence = w->sequence;
	for (uint32_t i = w->index + 1; i-- > 0 && a->n < BOW_SCATTER_MAX;) {
		bow_record_entry(w->record, i, &e);
		if (e.type == BOW_ENTRY_MAP_RUN)
			continue;
		if (e.type != BOW_ENTRY_MAP_BITS || !bow_entry_ok(&e, w->sb, w->end_blk, &why))
			return;
		bow_walk_locate(w, e.dest_blk, 1, &now);
		a->dest_blk[a->n] = e.dest_blk;
		a->now_blk[BOW_SCATTER_MAX - ++a->n] = now;
	}
}

static int read_ahead(struct bow_walk *w, struct bowimg_error *err)
{
	struct bow_map_ahead *a = w->map_ahead;
	uint32_t first;

	if (!a)
		w->map_ahead = a = malloc(sizeof(*a));
	if (!a)
		return bow_err_errno(err, -ENOMEM, "read the log");
	look_ahead(w, a);
	first = BOW_SCATTER_MAX - a->n;
	return bow_disk_read_scattered(w->dev, a->now_blk + first, a->n, a->bits[first], err);
}

/* *bits: the block of this entry; valid until the next call. */
static int find_bits(struct bow_walk *w, const struct bow_entry *e, const uint8_t **bits,
		     struct bowimg_error *err)
{
	struct bow_map_ahead *a = w->map_ahead;
	int rc = 0;

	if (!a || a->sequence != w->sequence || a->met == a->n ||
	    a->dest_blk[a->met] != e->dest_blk) {
		rc = read_ahead(w, err);
		a = w->map_ahead;
	}
	if (!rc)
		*bits = a->bits[BOW_SCATTER_MAX - ++a->met];
	return rc;
}

static int map_bits(struct bow_walk *w, const struct bow_entry *e, struct bow_bitmap *map,
		    struct bowimg_error *err)
{
	uint64_t count = bow_min(BOW_MAP_LEAF_BLK, bow_bitmap_bits(map) - e->source_blk);
	uint64_t before = bow_bitmap_count(map);
	const uint8_t *bits;
	int rc = find_bits(w, e, &bits, err);

	if (rc)
		return rc;
	if (bow_hash(bits, BOW_BLOCK, w->sb->seed) != e->hash)
		return bow_err(err, -EBADMSG, "the saved free map is damaged");
	rc = mark_bits(map, bits, e->source_blk, count, err);
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
