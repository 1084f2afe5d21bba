/* SPDX-License-Identifier: MIT */
/*
 * What the log says about every block. One walk from the newest entry to the oldest: a block's
 * life only goes forward (FREE -> HELD -> LIVE, ORIGINAL -> SAVED), so the first entry met decides,
 * and of PROMISE and LIFT the newer one. The free map comes last, with the oldest records; what was
 * collected is then held against it, so that no number from the disk leads to a write that the
 * state table does not allow [I7].
 */
#include "log/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct loader {
	struct bow_checkpoint *cp;
	struct bow_bitmap *live;    /* free blocks the file system took */
	struct bow_bitmap *decided; /* a newer PROMISE or LIFT was seen */
	bool original0;
};

/* Set the bits of a run that are clear in `unless`. */
static int set_unless(struct bow_bitmap *map, const struct bow_bitmap *unless, uint64_t start,
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
static int add_held(struct loader *l, uint64_t blk, uint64_t n)
{
	struct bow_checkpoint *cp = l->cp;

	if (blk >= cp->blocks.count) {
		cp->tail_next = bow_max(cp->tail_next, blk + n);
		return 0;
	}
	return set_unless(cp->blocks.held, l->live, blk, n);
}

static int keep(struct bow_checkpoint *cp, uint64_t blk, uint64_t n)
{
	return blk < cp->blocks.count ? bow_bitmap_set(cp->kept, blk, n) : 0;
}

static int load_piece(void *ctx, struct bow_walk *w, uint64_t blk, uint64_t n,
		      struct bowimg_error *err)
{
	struct loader *l = ctx;

	(void)w;
	l->cp->log_blk += n;
	if (add_held(l, blk, n) || keep(l->cp, blk, n))
		return bow_err_errno(err, -ENOMEM, "note the log's blocks");
	return 0;
}

/* A used block was overwritten; that can be said once only. */
static int load_saved(struct loader *l, const struct bow_entry *e, struct bowimg_error *err)
{
	struct bow_bitmap *taken = l->cp->blocks.taken;

	if (!bow_bitmap_all(taken, e->source_blk, e->count_blk, false))
		return bow_err(err, -EUCLEAN, "block %" PRIu64 " is backed up twice",
			       e->source_blk);
	if (e->source_blk != 0)
		l->cp->changed_blk += e->count_blk;
	return bow_bitmap_set(taken, e->source_blk, e->count_blk);
}

static int load_copy(struct loader *l, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err)
{
	uint64_t now;
	int rc;

	if (e->flags & BOW_ENTRY_MOVE) {
		rc = bow_bitmap_set(l->live, e->source_blk, e->count_blk);
		return rc ? rc : add_held(l, e->dest_blk, e->count_blk);
	}
	rc = load_saved(l, e, err);
	if (!rc)
		rc = add_held(l, e->dest_blk, e->count_blk);
	if (rc || e->source_blk != 0) {
		l->cp->backup_blk += e->count_blk;
		return rc;
	}
	/* Block 0 is saved by prepare, overwritten or not; load_live0() tells. */
	if (e->count_blk != 1)
		return bow_err(err, -EUCLEAN, "block 0 is saved together with others");
	bow_walk_locate(w, e->dest_blk, 1, &now);
	l->original0 = true;
	l->cp->original0_blk = now;
	l->cp->original0_hash = e->hash;
	return keep(l->cp, now, 1);
}

static int load_map_bits(struct loader *l, struct bow_walk *w, const struct bow_entry *e,
			 struct bowimg_error *err)
{
	uint64_t count = bow_min(BOW_MAP_LEAF_BLK, l->cp->blocks.count - e->source_blk), now, s, n;
	const uint8_t *bits = w->buf;
	int rc = bow_walk_read(w, e->dest_blk, 1, w->buf, err);

	if (rc)
		return rc;
	if (bow_hash(w->buf, BOW_BLOCK, l->cp->sb.seed) != e->hash)
		return bow_err(err, -EBADMSG, "the saved free map is damaged");
	for (s = 0; s < count && !rc; s += n) {
		bool set = bits[s / 8] >> s % 8 & 1;

		for (n = 1; s + n < count && (bits[(s + n) / 8] >> (s + n) % 8 & 1) == set;)
			n++;
		if (set)
			rc = bow_bitmap_set(l->cp->blocks.free, e->source_blk + s, n);
	}
	bow_walk_locate(w, e->dest_blk, 1, &now);
	if (!rc)
		rc = add_held(l, e->dest_blk, 1);
	return rc ? rc : keep(l->cp, now, 1);
}

/* The newer of PROMISE and LIFT counts; older ones are skipped. */
static int load_promise(struct loader *l, const struct bow_entry *e)
{
	int rc = 0;

	if (e->type == BOW_ENTRY_PROMISE)
		rc = set_unless(l->cp->blocks.zero, l->decided, e->source_blk, e->count_blk);
	return rc ? rc : bow_bitmap_set(l->decided, e->source_blk, e->count_blk);
}

static int load_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct loader *l = ctx;
	int rc = 0;

	switch (e->type) {
	case BOW_ENTRY_COPY:
		rc = load_copy(l, w, e, err);
		break;
	case BOW_ENTRY_ZERO:
		rc = load_saved(l, e, err);
		break;
	case BOW_ENTRY_TAKE:
		rc = bow_bitmap_set(l->live, e->source_blk, e->count_blk);
		break;
	case BOW_ENTRY_PROMISE:
	case BOW_ENTRY_LIFT:
		rc = load_promise(l, e);
		break;
	case BOW_ENTRY_MAP_RUN:
		rc = bow_bitmap_set(l->cp->blocks.free, e->source_blk, e->dest_blk);
		break;
	case BOW_ENTRY_MAP_BITS:
		rc = load_map_bits(l, w, e, err);
		break;
	}
	if (rc == -ENOMEM)
		return bow_err_errno(err, rc, "note what the log says");
	return rc;
}

static bool is_subset(const struct bow_bitmap *map, const struct bow_bitmap *of, uint64_t count)
{
	uint64_t s = 0, n;

	for (; bow_bitmap_next_run(map, &s, &n, count); s += n)
		if (!bow_bitmap_all(of, s, n, true))
			return false;
	return true;
}

/* Block 0's live copy is named by the superblock alone, and nothing else may be there. */
static int load_live0(struct loader *l, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = l->cp;
	uint64_t blk = cp->sb.live0_blk, end = cp->dev->size / BOW_BLOCK;
	uint8_t block[BOW_BLOCK];
	int rc;

	if (!bow_parking_ok(&cp->sb, blk, 1, bow_max(end, cp->blocks.count)))
		return bow_err(err, -EUCLEAN, "block 0's live copy lies outside the image");
	if (blk < cp->blocks.count &&
	    (bow_bitmap_test(l->live, blk) || bow_bitmap_test(cp->blocks.held, blk)))
		return bow_err(err, -EUCLEAN, "block 0's live copy lies on other data");
	if (add_held(l, blk, 1) || keep(cp, blk, 1))
		return bow_err_errno(err, -ENOMEM, "note block 0's live copy");
	rc = bow_dev_read(cp->dev, block, sizeof(block), blk * BOW_BLOCK, err);
	if (!rc && bow_hash(block, sizeof(block), cp->sb.seed) != cp->original0_hash)
		cp->changed_blk++;
	return rc;
}

static int check_against_map(struct loader *l, struct bowimg_error *err)
{
	struct bow_blocks *b = &l->cp->blocks;
	uint64_t partial = l->cp->sb.image_size % BOW_BLOCK ? b->count - 1 : 0;

	if (bow_bitmap_count(b->free) != l->cp->sb.free_total_blk)
		return bow_err(err, -EUCLEAN, "the saved free map is not complete");
	if (bow_bitmap_test(b->free, 0) || (partial && bow_bitmap_test(b->free, partial)))
		return bow_err(err, -EUCLEAN, "the saved free map names a block that is in use");
	if (!is_subset(b->held, b->free, b->count) || !is_subset(l->live, b->free, b->count))
		return bow_err(err, -EUCLEAN, "the log uses a block that is not free");
	/* A block's life goes forward only: once the file system's, it is nobody's parking place.
	 */
	if (bow_bitmap_intersects(b->held, l->live))
		return bow_err(err, -EUCLEAN, "the log parks something on a block that is in use");
	if (bow_bitmap_intersects(b->taken, b->free))
		return bow_err(err, -EUCLEAN, "the log backs up a block that is free");
	if (bow_bitmap_test(b->zero, 0))
		return bow_err(err, -EUCLEAN, "the log zeroes block 0");
	if (!l->original0)
		return bow_err(err, -EUCLEAN, "the log does not save block 0");
	if (bow_bitmap_merge(b->taken, l->live))
		return bow_err_errno(err, -ENOMEM, "note what the log says");
	return 0;
}

static void adopt(struct bow_checkpoint *cp, struct bow_walk *w)
{
	cp->entries = w->entries;
	cp->newest = w->newest;
	cp->next_seq = w->next_seq;
	cp->next_pos = w->next_pos;
	cp->redo = w->redo;
	cp->redos = w->redos;
	w->redo = NULL;
}

static int load(struct loader *l, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = l->cp;
	struct bow_visitor v = {load_piece, load_entry, l};
	struct bow_walk w;
	int rc = bow_walk_init(&w, cp->dev, &cp->sb, err);

	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	if (!rc)
		rc = load_live0(l, err);
	if (!rc)
		rc = check_against_map(l, err);
	if (!rc)
		adopt(cp, &w);
	bow_walk_release(&w);
	return rc;
}

int bow_checkpoint_load(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	uint64_t count = bow_super_image_blk(&cp->sb);
	struct loader l = {.cp = cp};
	int rc = -ENOMEM;

	cp->tail_next = count;
	l.live = bow_bitmap_new(count);
	l.decided = bow_bitmap_new(count);
	cp->kept = bow_bitmap_new(count);
	if (!l.live || !l.decided || !cp->kept || bow_blocks_init(&cp->blocks, count))
		bow_err_errno(err, -ENOMEM, "note the state of %" PRIu64 " blocks", count);
	else
		rc = load(&l, err);
	bow_bitmap_free(l.live);
	bow_bitmap_free(l.decided);
	return rc;
}

void bow_checkpoint_release(struct bow_checkpoint *cp)
{
	bow_blocks_release(&cp->blocks);
	bow_bitmap_free(cp->kept);
	free(cp->redo);
	cp->kept = NULL;
	cp->redo = NULL;
}
