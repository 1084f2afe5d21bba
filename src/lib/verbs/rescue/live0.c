/* SPDX-License-Identifier: MIT */
/*
 * Finding block 0's live copy without the superblock.
 *
 * The newest segment's header names the copy's place at the time when that segment was begun. The
 * first segment's header does not, because it was begun before; but prepare parks the copy right
 * behind block 0's original. When the copy moves, a TAKE in the log gives its old place to the
 * guest. So if the log does not use the place, the copy is there. (A crash may have lost the TAKE;
 * then the copy is still whole there, because no write to block 0 comes before that entry is
 * durable.) If the log does use the place, nothing names the new one. The guest may have given the
 * place back since: then the log does not use it, but has a GIVE in that newest segment.
 */
#include "lib/verbs/rescue/rescue.h"

#include "lib/base/bytes.h"

#define PARKING_ZONE_BLK 4096u /* prepare parks ascending within a zone of this size */

struct finder {
	struct bow_bitmap *used;  /* image and tail: the log puts something there, or the guest */
	struct bow_bitmap *given; /* given back by the newest entry that names the block */
	struct bow_bitmap *left;  /* the same, but by an entry of the newest segment */
	struct bow_bitmap *free;  /* the free map */
	uint64_t original0_blk;	  /* where prepare parked block 0's original */
};

static int note_piece(void *ctx, struct bow_walk *w, uint64_t blk, uint64_t n,
		      struct bowimg_error *err)
{
	struct finder *f = ctx;

	(void)w;
	return bow_bitmap_set(f->used, blk, n) ? bow_err_errno(err, -ENOMEM, "cannot read the log")
					       : 0;
}

/* Use blocks, but for those that a newer entry gives back. */
static int use(struct finder *f, uint64_t blk, uint64_t n)
{
	uint64_t image_blk = bow_bitmap_bits(f->given), end = blk + n, stop;
	int rc = 0;

	if (blk >= image_blk)
		return bow_bitmap_set(f->used, blk, n);
	for (; !rc && (blk = bow_bitmap_next(f->given, blk, end, false)) < end; blk = stop) {
		stop = bow_bitmap_next(f->given, blk, end, true);
		rc = bow_bitmap_set(f->used, blk, stop - blk);
	}
	return rc;
}

/* These blocks are free, unless a newer entry uses them. */
static int give(struct finder *f, const struct bow_walk *w, const struct bow_entry *e)
{
	uint64_t blk = e->source_blk, end = blk + e->count_blk, stop;
	int rc = 0;

	for (; !rc && (blk = bow_bitmap_next(f->used, blk, end, false)) < end; blk = stop) {
		stop = bow_bitmap_next(f->used, blk, end, true);
		rc = bow_bitmap_set(f->given, blk, stop - blk);
		if (!rc && w->sequence >= w->newest.first_seq)
			rc = bow_bitmap_set(f->left, blk, stop - blk);
	}
	return rc;
}

static int note_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct finder *f = ctx;
	int rc = 0;

	if (e->type == BOW_ENTRY_COPY || e->type == BOW_ENTRY_MAP_BITS)
		rc = use(f, e->dest_blk, e->type == BOW_ENTRY_COPY ? e->count_blk : 1);
	if (!rc && (e->type == BOW_ENTRY_TAKE || e->flags & BOW_ENTRY_MOVE))
		rc = use(f, e->source_blk, e->count_blk);
	if (!rc && e->type == BOW_ENTRY_GIVE)
		rc = give(f, w, e);
	if (!rc && (e->type == BOW_ENTRY_MAP_RUN || e->type == BOW_ENTRY_MAP_BITS))
		rc = bow_walk_map_piece(w, e, f->free, err);
	if (e->type == BOW_ENTRY_COPY && !e->source_blk)
		f->original0_blk = e->dest_blk;
	return rc == -ENOMEM ? bow_err_errno(err, rc, "cannot read the log") : rc;
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

/* Any place that the log does not use: it stands in for a copy that cannot be found. */
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

	*known = unused(f, sb, blk) &&
		 (blk >= bow_bitmap_bits(f->left) || !bow_bitmap_test(f->left, blk));
	sb->live0_blk = *known ? blk : any_unused(f);
	if (unused(f, sb, sb->live0_blk))
		return 0;
	return bow_err(err, -EUCLEAN, "no block is left where block 0's live copy could be");
}

int bow_rescue_live0(struct bowimg_disk *dev, struct bow_super *sb, bool *known,
		     struct bowimg_error *err)
{
	uint64_t image_blk = bow_super_image_blk(sb);
	struct finder f = {0};
	struct bow_visitor v = {.segment_piece = note_piece, .entry = note_entry, .ctx = &f};
	struct bow_walk w;
	int rc;

	f.used = bow_bitmap_new(bow_max(image_blk, bow_disk_size(dev) / BOW_BLOCK));
	f.free = bow_bitmap_new(image_blk);
	f.given = bow_bitmap_new(image_blk);
	f.left = bow_bitmap_new(image_blk);
	rc = bow_walk_init(&w, dev, sb, err);
	if (!rc && (!f.used || !f.free || !f.given || !f.left))
		rc = bow_err_errno(err, -ENOMEM, "cannot read the log");
	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	bow_walk_release(&w);
	if (!rc)
		rc = choose_live0(&f, sb, known, err);
	bow_bitmap_free(f.used);
	bow_bitmap_free(f.free);
	bow_bitmap_free(f.given);
	bow_bitmap_free(f.left);
	return rc;
}
