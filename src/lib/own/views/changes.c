/* SPDX-License-Identifier: MIT */
/* What changed between prepare, or a mark, and now, from the log alone. */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/views/views.h"

/* The two moments that are compared: now is the view's. */
struct since {
	const struct view *view;
	struct bow_past past;
	bool block0;		    /* differs */
	struct bow_bitmap *changed; /* named by the log since then; NULL: the states tell it */
};

/*
 * If everything is stored in the tail, the guest has the free blocks from prepare on, and the log
 * does not tell which of them it wrote to. From the first mark on none is free.
 */
static bool has_free_blocks(const struct since *s)
{
	return s->view->cp.sb.flags & BOW_SUPER_STORE_TAIL && s->past.epoch == 0;
}

/* Else, and without marks, what the log names since prepare is what has a state of its own. */
static int find_changed(struct since *s, struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = &s->view->cp;
	int rc;

	if (cp->n_epochs == 1 && !has_free_blocks(s))
		return 0;
	s->changed = bow_bitmap_new(cp->blocks.count);
	rc = s->changed ? 0 : -ENOMEM;
	if (!rc && has_free_blocks(s))
		rc = bow_bitmap_merge(s->changed, s->past.free);
	return rc ? bow_err_errno(err, rc, "note what changed")
		  : bow_past_changed(&s->past, cp, s->changed, err);
}

/* Returns the next block, blk or later, that may differ. */
static uint64_t next_change(const struct since *s, uint64_t blk)
{
	const struct bow_blocks *b = blocks_of(s->view);
	uint64_t end;

	if (blk == 0 && s->block0)
		return 0;
	blk = bow_max(blk, 1);
	if (s->changed)
		return bow_bitmap_next(s->changed, blk, b->count, true);
	end = bow_bitmap_next(b->taken, blk, b->count, true);
	return bow_bitmap_next(b->zero_pending, blk, end, true);
}

/* Returns how many blocks from blk on may have changed and read as zeros now, or do not. */
static uint64_t run_now(const struct since *s, uint64_t blk, bool *zero_now)
{
	const struct bow_blocks *b = blocks_of(s->view);
	enum bow_block_state state;
	uint64_t n = blk == 0 ? 1 : b->count - blk;

	if (s->changed && blk != 0)
		n = bow_bitmap_next(s->changed, blk, b->count, false) - blk;
	return bow_blocks_run(b, blk, n, &state, zero_now);
}

/* The same, for those that were taken ahead and hold what they did then: nothing. */
static uint64_t unwritten_run(const struct since *s, uint64_t blk, uint64_t n, bool *unwritten)
{
	const struct bow_checkpoint *cp = &s->view->cp;

	return bow_unwritten_run(cp->dev, &cp->sb, &cp->blocks, blk, n, unwritten);
}

/* Returns how many blocks from blk on changed in the same way, or (*unwritten) did not change. */
static uint64_t describe(const struct since *s, uint64_t blk, struct bowimg_change *c,
			 bool *unwritten)
{
	const struct view *v = s->view;
	uint32_t epoch = s->past.epoch;
	enum bow_backup_kind kind = BOW_BACKUP_NONE;
	const struct bow_backup_index *in;
	uint64_t at, n = run_now(s, blk, &c->zero_now);
	bool zeros;

	n = unwritten_run(s, blk, n, unwritten);
	n = bow_past_run(&s->past, blk, n, &c->was_free, &zeros);
	if (!c->was_free && !zeros)
		n = bow_backup_index_oldest(&v->backups[epoch], v->cp.n_epochs - epoch, blk, n,
					    &kind, &at, &in);
	c->was_zero = !c->was_free && (zeros || kind == BOW_BACKUP_ZEROS);
	c->off = blk * BOW_BLOCK;
	c->bytes = bow_super_bytes(&v->cp.sb, blk, n);
	return n;
}

/* States and backups may cut a run that is one for the caller. */
static bool join(struct bowimg_change *c, const struct bowimg_change *next)
{
	if (!c->bytes || c->off + c->bytes != next->off || c->was_free != next->was_free ||
	    c->was_zero != next->was_zero || c->zero_now != next->zero_now)
		return false;
	c->bytes += next->bytes;
	return true;
}

static int walk_changes(const struct since *s,
			int (*run)(void *ctx, const struct bowimg_change *change), void *ctx)
{
	uint64_t blk = 0, count = blocks_of(s->view)->count, n;
	struct bowimg_change c = {0}, next;
	bool unwritten;
	int rc = 0;

	for (; (blk = next_change(s, blk)) < count && !rc; blk += n) {
		n = describe(s, blk, &next, &unwritten);
		if (unwritten || join(&c, &next))
			continue;
		if (c.bytes)
			rc = run(ctx, &c);
		c = next;
	}
	return rc || !c.bytes ? rc : run(ctx, &c);
}

int bow_view_changes(struct bowimg_disk *disk, const char *mark,
		     int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
		     struct bowimg_error *err)
{
	struct since s = {.view = (const struct view *)disk};
	uint32_t epoch;
	int rc = bow_epoch_find(&s.view->cp, mark, &epoch, err);

	if (rc)
		return rc;
	rc = bow_past_load(&s.past, &s.view->cp, epoch, err);
	if (!rc)
		rc = bow_view_block0(s.view, &s.past, &s.block0, err);
	if (!rc)
		rc = find_changed(&s, err);
	rc = rc ? bow_err_wrap(err, rc, "cannot tell what changed") : walk_changes(&s, run, ctx);
	bow_bitmap_free(s.changed);
	bow_past_release(&s.past);
	return rc;
}
