/* SPDX-License-Identifier: MIT */
/*
 * Finds the state of every block by one walk from the newest entry to the oldest. The first entry
 * met decides: whether a free block is the file system's, by TAKE, a MOVE from it, or GIVE; whether
 * it reads as zeros, by ZERO_PENDING, GIVE or ZERO_DONE. The free map comes last, with the oldest
 * records. What the file system had at the newest mark counts as used from then on.
 *
 * The log tells a life for each block: what is given back was taken in the same epoch, what is
 * saved was used when its epoch began. At the end all of it is checked against the map
 * (load_end.c).
 */
#include "lib/log/loader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

/* Of what was put at [dest, dest + n), bowimg holds the places where it is now. */
static int hold_now(struct bow_loader *l, const struct bow_walk *w, uint64_t dest, uint64_t n)
{
	uint64_t now, run;
	int rc = 0;

	for (; n && !rc; dest += run, n -= run) {
		run = bow_walk_locate(w, dest, n, &now);
		rc = bow_loader_hold(l, now, run);
	}
	return rc;
}

static int load_piece(void *ctx, struct bow_walk *w, uint64_t blk, uint64_t n,
		      struct bowimg_error *err)
{
	struct bow_loader *l = ctx;
	int rc;

	if (w->segment.header.first_seq > l->upto_seq)
		return 0;
	l->cp->log_blk += n;
	rc = bow_loader_hold(l, blk, n);
	if (!rc)
		rc = bow_loader_keep(l->cp, blk, n, err);
	return rc == -ENOMEM ? bow_err_errno(err, rc, "note the log's blocks") : rc;
}

/* A used block was overwritten; the log may say so only once in an epoch. */
static int load_saved(struct bow_loader *l, const struct bow_entry *e, struct bowimg_error *err)
{
	struct bow_bitmap *saved = l->epochs.now.saved;

	if (!bow_bitmap_all(saved, e->source_blk, e->count_blk, false))
		return bow_err(err, -EUCLEAN, "block %" PRIu64 " is backed up twice",
			       e->source_blk);
	return bow_bitmap_set(saved, e->source_blk, e->count_blk);
}

/*
 * Prepare saves block 0, and each mark does, overwritten or not; load_live0() finds out which.
 */
static int load_block0(struct bow_loader *l, struct bow_walk *w, const struct bow_entry *e,
		       struct bowimg_error *err)
{
	struct bow_epoch *epoch = &l->epochs.now;
	uint64_t now;
	int rc;

	if (e->count_blk != 1)
		return bow_err(err, -EUCLEAN, "block 0 is saved together with others");
	bow_walk_locate(w, e->dest_blk, 1, &now);
	if (w->sequence != 1)
		epoch = &l->epochs.list[l->epochs.n - 1]; /* the mark's, which was met before */
	else
		l->original0 = true;
	epoch->block0_blk = now;
	epoch->block0_hash = e->hash;
	rc = bow_loader_hold(l, now, 1);
	return rc ? rc : bow_loader_keep(l->cp, now, 1, err);
}

static int load_backup(struct bow_loader *l, struct bow_walk *w, const struct bow_entry *e,
		       struct bowimg_error *err)
{
	int rc = load_saved(l, e, err);

	l->epochs.now.backup_blk += e->count_blk;
	l->cp->backup_blk += e->count_blk;
	return rc ? rc : hold_now(l, w, e->dest_blk, e->count_blk);
}

/* The file system has the blocks from here on. */
static int load_take(struct bow_loader *l, const struct bow_entry *e, struct bowimg_error *err)
{
	uint64_t blk = e->source_blk, n = e->count_blk;
	int rc;

	if (!bow_bitmap_all(l->epochs.now.saved, blk, n, false))
		return bow_err(err, -EUCLEAN, "the log backs up a block that is free");
	rc = bow_set_unless(l->behind_mark ? l->used : l->live, l->known, blk, n);
	if (!rc)
		rc = bow_bitmap_set(l->known, blk, n);
	return rc ? rc : bow_bitmap_clear(l->must, blk, n);
}

/* A MOVE's destination is named as well: what it holds may not be a part of the log any more. */
static int load_move(struct bow_loader *l, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err)
{
	int rc = load_take(l, e, err);

	return rc ? rc : hold_now(l, w, e->dest_blk, e->count_blk);
}

static int load_copy(struct bow_loader *l, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err)
{
	if (e->flags & BOW_ENTRY_MOVE)
		return load_move(l, w, e, err);
	return e->source_blk ? load_backup(l, w, e, err) : load_block0(l, w, e, err);
}

/* Refuse a map with more blocks than the superblock counts before it has all of them. */
static int load_map(struct bow_loader *l, struct bow_walk *w, const struct bow_entry *e,
		    struct bowimg_error *err)
{
	struct bow_bitmap *free_map = l->cp->blocks.free;
	uint64_t now;
	int rc = bow_walk_map_piece(w, e, free_map, err);

	if (!rc && bow_bitmap_count(free_map) > l->cp->sb.free_total_blk)
		rc = bow_err(err, -EUCLEAN,
			     "the saved free map has more blocks than the superblock counts");
	if (rc || e->type != BOW_ENTRY_MAP_BITS)
		return rc;
	bow_walk_locate(w, e->dest_blk, 1, &now);
	rc = bow_loader_hold(l, now, 1);
	return rc ? rc : bow_loader_keep(l->cp, now, 1, err);
}

/* The newest of ZERO_PENDING, GIVE and ZERO_DONE counts; older ones are skipped. */
static int load_zero(struct bow_loader *l, const struct bow_entry *e)
{
	int rc = 0;

	if (e->type != BOW_ENTRY_ZERO_DONE)
		rc = bow_set_unless(l->cp->blocks.zero_pending, l->decided, e->source_blk,
				    e->count_blk);
	return rc ? rc : bow_bitmap_set(l->decided, e->source_blk, e->count_blk);
}

/* The block is free from here on: the walk checks that it was taken before. */
static int load_give(struct bow_loader *l, const struct bow_entry *e, struct bowimg_error *err)
{
	uint64_t blk = e->source_blk, n = e->count_blk;
	int rc;

	if (!bow_bitmap_all(l->epochs.now.saved, blk, n, false) ||
	    !bow_bitmap_all(l->must, blk, n, false))
		return bow_err(err, -EUCLEAN, "the log gives back a block that is used");
	rc = load_zero(l, e);
	l->cp->gives++;
	return rc ? rc : bow_bitmap_set(l->known, blk, n);
}

static int load_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct bow_loader *l = ctx;
	int rc = 0;

	if (w->sequence > l->upto_seq)
		return 0;
	switch (e->type) {
	case BOW_ENTRY_COPY:
		rc = load_copy(l, w, e, err);
		break;
	case BOW_ENTRY_ZERO:
		rc = load_saved(l, e, err);
		break;
	case BOW_ENTRY_TAKE:
		rc = load_take(l, e, err);
		break;
	case BOW_ENTRY_GIVE:
		rc = load_give(l, e, err);
		break;
	case BOW_ENTRY_ZERO_PENDING:
	case BOW_ENTRY_ZERO_DONE:
		rc = load_zero(l, e);
		break;
	case BOW_ENTRY_MAP_RUN:
	case BOW_ENTRY_MAP_BITS:
		rc = load_map(l, w, e, err);
		break;
	case BOW_ENTRY_UNMARK:
		rc = bow_epochs_unmark(&l->epochs, e->source_blk, err);
		break;
	}
	if (rc == -ENOMEM)
		return bow_err_errno(err, rc, "keep the block states");
	return rc;
}

static int load_mark(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err)
{
	struct bow_loader *l = ctx;

	if (w->sequence > l->upto_seq)
		return 0;
	if (bow_bitmap_count(w->given))
		return bow_err(err, -EUCLEAN, "the log gives back a block that was used at a mark");
	if (bow_bitmap_merge(l->must, l->epochs.now.saved))
		return bow_err_errno(err, -ENOMEM, "keep the block states");
	l->behind_mark = true;
	return bow_epochs_mark(&l->epochs, w->sequence, e, l->cp->blocks.count, err);
}

static void adopt(struct bow_checkpoint *cp, struct bow_walk *w)
{
	cp->entries = w->entries;
	cp->segments = w->segments;
	cp->newest = w->newest;
	cp->next_seq = w->next_seq;
	cp->next_pos = w->next_pos;
	cp->redo = w->redo;
	cp->redos = w->redos;
	w->redo = NULL;
}

static int load(struct bow_loader *l, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = l->cp;
	struct bow_visitor v = {load_piece, load_entry, l, load_mark};
	struct bow_walk w;
	int rc = bow_walk_init(&w, cp->dev, &cp->sb, err);

	w.end_seq = cp->end_seq;
	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	if (!rc && bow_bitmap_count(w.given))
		rc = bow_err(err, -EUCLEAN,
			     "the log gives back a block that the file system does not have");
	if (!rc)
		rc = bow_loader_end(l, err);
	if (!rc)
		adopt(cp, &w);
	bow_walk_release(&w);
	return rc;
}

static int allocate(struct bow_loader *l, uint64_t count)
{
	struct bow_checkpoint *cp = l->cp;

	l->live = bow_bitmap_new(count);
	l->used = bow_bitmap_new(count);
	l->known = bow_bitmap_new(count);
	l->must = bow_bitmap_new(count);
	l->decided = bow_bitmap_new(count);
	cp->kept = bow_bitmap_new(count);
	cp->tail = bow_rangemap_new();
	if (!l->live || !l->used || !l->known || !l->must || !l->decided || !cp->kept ||
	    !cp->tail || bow_blocks_init(&cp->blocks, count))
		return -ENOMEM;
	return bow_epochs_init(&l->epochs, count);
}

static void release(struct bow_loader *l)
{
	bow_bitmap_free(l->live);
	bow_bitmap_free(l->used);
	bow_bitmap_free(l->known);
	bow_bitmap_free(l->must);
	bow_bitmap_free(l->decided);
	bow_epochs_release(&l->epochs);
}

int bow_checkpoint_load_at(struct bow_checkpoint *cp, uint64_t seq, struct bowimg_error *err)
{
	uint64_t count = bow_super_image_blk(&cp->sb);
	struct bow_loader l = {.cp = cp, .upto_seq = seq};
	int rc;

	cp->tail_next = count;
	if (allocate(&l, count))
		rc = bow_err_errno(err, -ENOMEM, "note the state of %" PRIu64 " blocks", count);
	else
		rc = load(&l, err);
	release(&l);
	return rc;
}

int bow_checkpoint_load(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	return bow_checkpoint_load_at(cp, UINT64_MAX, err);
}

void bow_checkpoint_release(struct bow_checkpoint *cp)
{
	bow_blocks_release(&cp->blocks);
	bow_bitmap_free(cp->kept);
	bow_bitmap_free(cp->free0);
	bow_rangemap_free(cp->tail);
	for (uint32_t i = 0; i < cp->n_epochs; i++)
		bow_bitmap_free(cp->epochs[i].saved);
	free(cp->epochs);
	free(cp->redo);
	cp->kept = cp->free0 = NULL;
	cp->tail = NULL;
	cp->epochs = NULL;
	cp->n_epochs = 0;
	cp->redo = NULL;
}

int bow_checkpoint_reload(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	const struct bow_checkpoint fresh = {.dev = cp->dev, .sb = cp->sb};

	bow_checkpoint_release(cp);
	*cp = fresh;
	return bow_checkpoint_load(cp, err);
}

const struct bow_bitmap *bow_checkpoint_free0(const struct bow_checkpoint *cp)
{
	return cp->free0 ? cp->free0 : cp->blocks.free;
}
