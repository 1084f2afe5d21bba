/* SPDX-License-Identifier: MIT */
/*
 * The end of loading: everything that was collected is checked against the free map, so that no
 * number from the disk leads to a write that the state table does not allow [I7]. Then the blocks
 * get their states.
 */
#include "lib/log/loader.h"

#include "lib/base/bytes.h"

static bool is_subset(const struct bow_bitmap *map, const struct bow_bitmap *of, uint64_t count)
{
	uint64_t s = 0, n;

	for (; bow_bitmap_next_run(map, &s, &n, count); s += n)
		if (!bow_bitmap_all(of, s, n, true))
			return false;
	return true;
}

/* Only the superblock names block 0's live copy, and nothing else may be in its place. */
static int load_live0(struct bow_loader *l, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = l->cp;
	uint64_t blk = cp->sb.live0_blk, end = bow_disk_size(cp->dev) / BOW_BLOCK;
	uint8_t block[BOW_BLOCK];
	int rc;

	if (!bow_parking_ok(&cp->sb, blk, 1, bow_max(end, cp->blocks.count)))
		return bow_err(err, -EUCLEAN, "block 0's live copy lies outside the image");
	if (blk < cp->blocks.count &&
	    (bow_bitmap_test(l->live, blk) || bow_bitmap_test(cp->blocks.held, blk)))
		return bow_err(err, -EUCLEAN, "block 0's live copy lies on other data");
	rc = bow_loader_hold(l, blk, 1);
	if (!rc)
		rc = bow_loader_keep(cp, blk, 1, err);
	if (rc)
		return rc == -ENOMEM ? bow_err_errno(err, rc, "note block 0's live copy") : rc;
	rc = bow_disk_read(cp->dev, block, sizeof(block), blk * BOW_BLOCK, err);
	if (!rc && bow_hash(block, sizeof(block), cp->sb.seed) != cp->original0_hash)
		cp->changed_blk++;
	return rc;
}

/* The log's beginning was reached: give the epochs away, and with them what was saved. */
static int end_epochs(struct bow_loader *l, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = l->cp;
	int rc = bow_epochs_end(&l->epochs, &cp->epochs, &cp->n_epochs, err);

	if (rc)
		return rc;
	cp->original0_blk = cp->epochs[0].block0_blk;
	cp->original0_hash = cp->epochs[0].block0_hash;
	return 0;
}

/* If everything is stored in the tail, free blocks are the file system's from the start. */
static bool all_used_at_marks(const struct bow_checkpoint *cp)
{
	return cp->sb.flags & BOW_SUPER_STORE_TAIL;
}

static int check_against_map(struct bow_loader *l, struct bowimg_error *err)
{
	struct bow_blocks *b = &l->cp->blocks;
	uint64_t partial = l->cp->sb.image_size % BOW_BLOCK ? b->count - 1 : 0;

	if (bow_bitmap_count(b->free) != l->cp->sb.free_total_blk)
		return bow_err(err, -EUCLEAN, "the saved free map is not complete");
	if (bow_bitmap_test(b->free, 0) || (partial && bow_bitmap_test(b->free, partial)))
		return bow_err(err, -EUCLEAN, "the saved free map names a block that is in use");
	if (!is_subset(b->held, b->free, b->count) || !is_subset(l->known, b->free, b->count))
		return bow_err(err, -EUCLEAN, "the log uses a block that is not free");
	/* Nothing is parked on the file system's blocks. */
	if (bow_bitmap_intersects(b->held, l->live) || bow_bitmap_intersects(b->held, l->used))
		return bow_err(err, -EUCLEAN, "the log parks something on a block that is in use");
	if (bow_bitmap_intersects(l->cp->epochs[0].saved, b->free) ||
	    (!all_used_at_marks(l->cp) && bow_bitmap_intersects(l->must, b->free)))
		return bow_err(err, -EUCLEAN, "the log backs up a block that is free");
	if (bow_bitmap_test(b->zero_pending, 0))
		return bow_err(err, -EUCLEAN, "the log zeroes block 0");
	if (!l->original0)
		return bow_err(err, -EUCLEAN, "the log does not save block 0");
	return 0;
}

/* Used blocks that were saved in any epoch; block 0 is counted by load_live0(). */
static int count_changed(struct bow_loader *l)
{
	struct bow_checkpoint *cp = l->cp;
	struct bow_bitmap *all = bow_bitmap_new(cp->blocks.count);
	uint64_t s = 0, n;
	int rc = all ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < cp->n_epochs && !rc; i++)
		rc = bow_bitmap_merge(all, cp->epochs[i].saved);
	for (; !rc && bow_bitmap_next_run(all, &s, &n, cp->blocks.count); s += n)
		cp->changed_blk += n - bow_bitmap_count_range(cp->blocks.free, s, n);
	bow_bitmap_free(all);
	return rc;
}

/* Without a mark there is one epoch, and its blocks are those of the state table. */
static int take_saved(struct bow_loader *l)
{
	struct bow_checkpoint *cp = l->cp;
	struct bow_epoch *newest = &cp->epochs[cp->n_epochs - 1];

	if (cp->n_epochs > 1)
		return bow_bitmap_merge(cp->blocks.taken, newest->saved);
	cp->changed_blk += bow_bitmap_count(newest->saved);
	bow_bitmap_free(cp->blocks.taken);
	cp->blocks.taken = newest->saved;
	newest->saved = NULL;
	return 0;
}

/* From the newest mark on, what the file system had then is used. */
static int use_marked(struct bow_loader *l)
{
	struct bow_checkpoint *cp = l->cp;
	uint64_t s = 0, n;
	int rc = count_changed(l);

	if (!rc && !(cp->free0 = bow_bitmap_dup(cp->blocks.free)))
		rc = -ENOMEM;
	if (!rc && all_used_at_marks(cp))
		rc = bow_bitmap_merge(l->used, cp->free0);
	for (; !rc && bow_bitmap_next_run(l->used, &s, &n, cp->blocks.count); s += n)
		rc = bow_bitmap_clear(cp->blocks.free, s, n);
	return rc;
}

static int settle(struct bow_loader *l, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = l->cp;
	int rc = take_saved(l);

	if (!rc && cp->n_epochs > 1)
		rc = use_marked(l);
	/* Block 0 is always saved, and its live copy elsewhere: a write to it needs nothing. */
	if (!rc)
		rc = bow_bitmap_set(cp->blocks.taken, 0, 1);
	if (!rc)
		rc = bow_bitmap_merge(cp->blocks.taken, l->live);
	return rc ? bow_err_errno(err, rc, "keep the block states") : 0;
}

int bow_loader_end(struct bow_loader *l, struct bowimg_error *err)
{
	int rc = end_epochs(l, err);

	if (!rc)
		rc = load_live0(l, err);
	if (!rc)
		rc = check_against_map(l, err);
	return rc ? rc : settle(l, err);
}
