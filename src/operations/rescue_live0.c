/* SPDX-License-Identifier: MIT */
/*
 * Where is block 0's live copy, if the superblock cannot say it?
 *
 * The newest segment's header says where it was when that segment was begun (the first segment's
 * does not: it was begun before; but prepare parks the copy right behind block 0's original). When
 * the copy moves, its old place becomes the guest's by a TAKE in the log. So as long as the log
 * does not use the place, the copy is there; or a crash lost that entry, and the copy is still
 * whole there, since nobody writes to block 0 before the entry is durable. If the log does use the
 * place, nothing says where the copy went.
 */
#include "operations/rescue.h"

#include "base/bytes.h"

#define PARKING_ZONE_BLK 4096u /* prepare parks ascending within a zone of this size */

struct finder {
	struct bow_bitmap *used; /* image and tail: in the log's words not free any more */
	struct bow_bitmap *free; /* the free map */
	uint64_t original0_blk;	 /* where prepare parked block 0's original */
};

static int note_piece(void *ctx, struct bow_walk *w, uint64_t blk, uint64_t n,
		      struct bowimg_error *err)
{
	struct finder *f = ctx;

	(void)w;
	return bow_bitmap_set(f->used, blk, n) ? bow_err_errno(err, -ENOMEM, "read the log") : 0;
}

static int note_map_bits(struct finder *f, struct bow_walk *w, const struct bow_entry *e,
			 struct bowimg_error *err)
{
	uint64_t count = bow_min(BOW_MAP_LEAF_BLK, bow_bitmap_bits(f->free) - e->source_blk);
	int rc = bow_walk_read(w, e->dest_blk, 1, w->buf, err);

	for (uint64_t i = 0; i < count && !rc; i++)
		if (w->buf[i / 8] >> i % 8 & 1)
			rc = bow_bitmap_set(f->free, e->source_blk + i, 1);
	return rc;
}

static int note_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct finder *f = ctx;
	int rc = 0;

	if (e->type == BOW_ENTRY_COPY || e->type == BOW_ENTRY_MAP_BITS)
		rc = bow_bitmap_set(f->used, e->dest_blk,
				    e->type == BOW_ENTRY_COPY ? e->count_blk : 1);
	if (!rc && (e->type == BOW_ENTRY_TAKE || e->flags & BOW_ENTRY_MOVE))
		rc = bow_bitmap_set(f->used, e->source_blk, e->count_blk);
	if (!rc && e->type == BOW_ENTRY_MAP_RUN)
		rc = bow_bitmap_set(f->free, e->source_blk, e->dest_blk);
	if (!rc && e->type == BOW_ENTRY_MAP_BITS)
		rc = note_map_bits(f, w, e, err);
	if (e->type == BOW_ENTRY_COPY && !e->source_blk)
		f->original0_blk = e->dest_blk;
	return rc == -ENOMEM ? bow_err_errno(err, rc, "read the log") : rc;
}

/* Prepare parks the live copy in the next free block behind the original. */
static uint64_t parked_behind(const struct finder *f)
{
	uint64_t blk = f->original0_blk, image_blk = bow_bitmap_bits(f->free), end;

	if (blk >= image_blk)
		return blk + 1;
	end = bow_min(image_blk, (blk / PARKING_ZONE_BLK + 1) * PARKING_ZONE_BLK);
	blk = bow_bitmap_next(f->free, blk + 1, end, true);
	return blk < end ? blk : 0;
}

static bool unused(const struct finder *f, const struct bow_super *sb, uint64_t blk)
{
	return bow_parking_ok(sb, blk, 1, bow_bitmap_bits(f->used)) &&
	       !bow_bitmap_test(f->used, blk);
}

/* Any place that the log does not use: what stands in for a copy that nobody can find. */
static uint64_t any_unused(const struct finder *f)
{
	uint64_t image_blk = bow_bitmap_bits(f->free), s = 0, n;

	for (; bow_bitmap_next_run(f->free, &s, &n, image_blk); s += n) {
		uint64_t blk = bow_bitmap_next(f->used, s, s + n, false);

		if (blk < s + n)
			return blk;
	}
	return bow_bitmap_next(f->used, image_blk, bow_bitmap_bits(f->used), false);
}

static int choose_live0(const struct finder *f, struct bow_super *sb, bool *known,
			struct bowimg_error *err)
{
	uint64_t blk = sb->live0_blk ? sb->live0_blk : parked_behind(f);

	*known = unused(f, sb, blk);
	sb->live0_blk = *known ? blk : any_unused(f);
	if (unused(f, sb, sb->live0_blk))
		return 0;
	return bow_err(err, -EUCLEAN, "no block is left where block 0's live copy could be");
}

int bow_rescue_live0(struct bow_dev *dev, struct bow_super *sb, bool *known,
		     struct bowimg_error *err)
{
	uint64_t image_blk = bow_super_image_blk(sb);
	struct finder f = {0};
	struct bow_visitor v = {note_piece, note_entry, &f};
	struct bow_walk w;
	int rc;

	f.used = bow_bitmap_new(bow_max(image_blk, bow_dev_size(dev) / BOW_BLOCK));
	f.free = bow_bitmap_new(image_blk);
	rc = bow_walk_init(&w, dev, sb, err);
	if (!rc && (!f.used || !f.free))
		rc = bow_err_errno(err, -ENOMEM, "read the log");
	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	bow_walk_release(&w);
	if (!rc)
		rc = choose_live0(&f, sb, known, err);
	bow_bitmap_free(f.used);
	bow_bitmap_free(f.free);
	return rc;
}
