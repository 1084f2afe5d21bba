/* SPDX-License-Identifier: MIT */
/*
 * Collects what is still true of the time since a mark, when the log is cut back to it: which marks
 * were deleted, where blocks are that the log up to the mark has elsewhere (PLACE), and which
 * blocks that were free at the mark were touched since: they read as zeros (ZERO_PENDING).
 *
 * A PLACE is written only for a block that the log up to the mark names. The moved map may have
 * more: a segment that never got a record is left out of the log, so a move of it is never
 * forgotten; its place would later take that of something real.
 *
 * The segments go where the file system or bowimg put something since the mark, then to blocks that
 * were never touched, then to the tail; never where something is that the mark needs, nor on a part
 * of the log as it is now, which a second run must be able to read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/marks/prologue.h"

struct collector {
	struct bow_new_prologue *p;
	uint64_t mark_seq;
	struct bow_rangemap *moved; /* the moved map of the mark */
	struct bow_bitmap *named;   /* blocks that the log up to the mark names */
	uint64_t end_blk;
};

static int add(struct bow_new_prologue *p, struct bow_entry e)
{
	if (p->n == p->room) {
		size_t room = p->room ? p->room * 2 : 256;
		struct bow_entry *grown = realloc(p->entries, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->entries = grown;
		p->room = room;
	}
	p->entries[p->n++] = e;
	return 0;
}

static int add_place(struct bow_new_prologue *p, uint64_t start, uint64_t n)
{
	if (p->n_places == p->room_places) {
		size_t room = p->room_places ? p->room_places * 2 : 256;
		struct bow_run *grown = realloc(p->places, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->places = grown;
		p->room_places = room;
	}
	p->places[p->n_places++] = (struct bow_run){start, n};
	return 0;
}

/* ---- where things are now -------------------------------------------------------- */

static int copy_moved(struct collector *c, const struct bow_walk *w)
{
	uint64_t blk = 0, n, value;
	bool found;
	int rc = 0;

	for (; blk < c->end_blk && !rc; blk += n) {
		n = bow_rangemap_get(w->cur, blk, c->end_blk - blk, &value, &found);
		if (found && value != blk)
			rc = bow_rangemap_set(c->moved, blk, n, value);
	}
	return rc;
}

static int see_mark(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		    struct bowimg_error *err)
{
	struct collector *c = ctx;

	(void)e;
	if (w->sequence != c->mark_seq)
		return 0;
	c->p->mark_segment = w->segment.header;
	return copy_moved(c, w) ? bow_err_errno(err, -ENOMEM, "follow moved blocks") : 0;
}

static int see_piece(void *ctx, struct bow_walk *w, uint64_t blk, uint64_t n,
		     struct bowimg_error *err)
{
	struct collector *c = ctx;
	const struct bow_segment_header *h = &w->segment.header;

	(void)blk;
	(void)n;
	if (h->first_seq > c->mark_seq || !bow_bitmap_set(c->named, h->start_blk, h->len_blk))
		return 0;
	return bow_err_errno(err, -ENOMEM, "follow moved blocks");
}

static int see_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err)
{
	struct collector *c = ctx;
	int rc = 0;

	if (w->sequence > c->mark_seq)
		return 0;
	if (e->type == BOW_ENTRY_COPY || e->type == BOW_ENTRY_PLACE)
		rc = bow_bitmap_set(c->named, e->dest_blk, e->count_blk);
	else if (e->type == BOW_ENTRY_MAP_BITS)
		rc = bow_bitmap_set(c->named, e->dest_blk, 1);
	return rc ? bow_err_errno(err, rc, "follow moved blocks") : 0;
}

/* Nothing lies across the image's end, but neighbours on both sides of it may be one run. */
static uint64_t up_to_end(const struct collector *c, uint64_t blk, uint64_t n)
{
	uint64_t image = c->p->now->blocks.count;

	return blk < image ? bow_min(n, image - blk) : n;
}

static int add_moved(struct collector *c, uint64_t blk, uint64_t n)
{
	uint64_t run, value = 0;
	bool found;
	int rc = 0;

	for (; n && !rc; blk += run, n -= run) {
		run = bow_rangemap_get(c->moved, blk, up_to_end(c, blk, n), &value, &found);
		if (!found)
			continue;
		run = bow_min(up_to_end(c, value, run), UINT32_MAX);
		rc = add(c->p, (struct bow_entry){.type = BOW_ENTRY_PLACE,
						  .source_blk = blk,
						  .dest_blk = value,
						  .count_blk = (uint32_t)run});
	}
	return rc;
}

static int walk(struct collector *c, struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = c->p->now;
	struct bow_visitor v = {see_piece, see_entry, c, see_mark};
	struct bow_walk w;
	int rc = bow_walk_init(&w, cp->dev, &cp->sb, err);

	if (!rc)
		rc = bow_walk_run(&w, &v, err);
	bow_walk_release(&w);
	return rc;
}

static int add_all_moved(struct collector *c, struct bowimg_error *err)
{
	uint64_t s = 0, n;
	int rc = walk(c, err);

	if (rc)
		return rc;
	for (; !rc && bow_bitmap_next_run(c->named, &s, &n, c->end_blk); s += n)
		rc = add_moved(c, s, n);
	return rc ? bow_err_errno(err, rc, "follow moved blocks") : 0;
}

static int collect_places(struct bow_new_prologue *p, struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = p->now;
	uint64_t end = bow_max(cp->blocks.count, bow_disk_size(cp->dev) / BOW_BLOCK);
	struct collector c = {.p = p, .mark_seq = cp->epochs[p->epoch].mark_seq, .end_blk = end};
	int rc;

	c.moved = bow_rangemap_new();
	c.named = bow_bitmap_new(end);
	if (!c.moved || !c.named)
		rc = bow_err_errno(err, -ENOMEM, "follow moved blocks");
	else
		rc = add_all_moved(&c, err);
	bow_rangemap_free(c.moved);
	bow_bitmap_free(c.named);
	return rc;
}

/* ---- names that are gone --------------------------------------------------------- */

static int collect_deleted(struct bow_new_prologue *p)
{
	int rc = 0;

	for (uint32_t i = 1; i <= p->epoch && !rc; i++)
		if (p->then.epochs[i].name[0] && !p->now->epochs[i].name[0])
			rc = add(p, (struct bow_entry){.type = BOW_ENTRY_UNMARK,
						       .source_blk = p->now->epochs[i].mark_seq});
	return rc;
}

/* ---- free blocks that were touched ----------------------------------------------- */

/* What was free at the mark, and is not as it was then. */
static int find_touched(const struct bow_new_prologue *p, struct bow_bitmap *touched)
{
	const struct bow_blocks *now = &p->now->blocks;
	uint64_t s = 0, n, blk, run;
	enum bow_block_state state;
	bool zero;
	int rc = 0;

	for (; bow_bitmap_next_run(p->then.blocks.free, &s, &n, now->count); s += n)
		for (blk = s; blk < s + n && !rc; blk += run) {
			run = bow_blocks_run(now, blk, s + n - blk, &state, &zero);
			if (state != BOW_FREE || zero)
				rc = bow_bitmap_set(touched, blk, run);
		}
	return rc;
}

/* Clear in `map` what is set in `in`. */
static int clear_all(struct bow_bitmap *map, const struct bow_bitmap *in, uint64_t end)
{
	uint64_t s = 0, n;
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(in, &s, &n, end); s += n)
		rc = bow_bitmap_clear(map, s, n);
	return rc;
}

static int add_zeros(struct bow_new_prologue *p, const struct bow_bitmap *touched)
{
	struct bow_bitmap *zeros = bow_bitmap_dup(touched);
	uint64_t s = 0, n, count = p->now->blocks.count;
	int rc = zeros ? clear_all(zeros, p->then.blocks.zero_pending, count) : -ENOMEM;

	for (; !rc && bow_bitmap_next_run(zeros, &s, &n, bow_min(count, s + UINT32_MAX)); s += n)
		rc = add(p, (struct bow_entry){.type = BOW_ENTRY_ZERO_PENDING,
					       .source_blk = s,
					       .count_blk = (uint32_t)n});
	bow_bitmap_free(zeros);
	return rc;
}

/* ---- room ------------------------------------------------------------------------ */

static int add_room(struct bow_new_prologue *p, const struct bow_bitmap *map)
{
	uint64_t s = 0, n;
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(map, &s, &n, p->now->blocks.count); s += n)
		rc = add_place(p, s, n);
	return rc;
}

/* What was touched since the mark comes first. `touched` has nothing that the mark needs. */
static int find_room(struct bow_new_prologue *p, struct bow_bitmap *touched)
{
	const uint64_t count = p->now->blocks.count;
	struct bow_bitmap *rest = bow_bitmap_dup(p->then.blocks.free);
	int rc = rest ? clear_all(touched, p->now->kept, count) : -ENOMEM;

	if (!rc)
		rc = add_room(p, touched);
	if (!rc)
		rc = clear_all(rest, touched, count);
	if (!rc)
		rc = clear_all(rest, p->then.blocks.held, count);
	if (!rc)
		rc = clear_all(rest, p->now->kept, count);
	if (!rc)
		rc = add_room(p, rest);
	bow_bitmap_free(rest);
	return rc;
}

/* The tail's gaps, and behind it all that may be needed. */
static int find_room_in_tail(struct bow_new_prologue *p)
{
	const struct bow_checkpoint *cp = p->now;
	struct bow_blocks blocks = cp->blocks;
	struct bow_alloc a;
	int rc;

	if (!(cp->sb.flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL)))
		return 0;
	bow_alloc_init(&a, &blocks, cp->tail_next, cp->tail_next);
	rc = bow_alloc_find_gaps(&a, cp->tail);
	for (size_t i = 0; i < a.n_gaps && !rc; i++)
		rc = add_place(p, a.gaps[i].start_blk, a.gaps[i].count_blk);
	bow_alloc_release(&a);
	/* An entry takes 32 bytes, a segment's header 512. */
	return rc ? rc : add_place(p, cp->tail_next, p->n / 64 + 4);
}

static int collect_free(struct bow_new_prologue *p)
{
	struct bow_bitmap *touched = bow_bitmap_new(p->now->blocks.count);
	int rc = touched ? find_touched(p, touched) : -ENOMEM;

	if (!rc)
		rc = clear_all(touched, p->then.blocks.held, p->now->blocks.count);
	if (!rc)
		rc = add_zeros(p, touched);
	if (!rc)
		rc = find_room(p, touched);
	bow_bitmap_free(touched);
	return rc ? rc : find_room_in_tail(p);
}

/* ---- all of it ------------------------------------------------------------------- */

int bow_prologue_collect(struct bow_new_prologue *p, const struct bow_checkpoint *now,
			 uint32_t epoch, struct bowimg_error *err)
{
	uint64_t seq = now->epochs[epoch].mark_seq;
	int rc;

	memset(p, 0, sizeof(*p));
	p->now = now;
	p->epoch = epoch;
	p->then.dev = now->dev;
	p->then.sb = now->sb;
	rc = bow_checkpoint_load_at(&p->then, seq, err);
	if (rc)
		return rc;
	if (p->then.n_epochs != epoch + 1)
		return bow_err(err, -EUCLEAN, "the marks of the log differ between two readings");
	rc = add(p, (struct bow_entry){.type = BOW_ENTRY_REVERT, .source_blk = seq});
	if (!rc)
		rc = collect_deleted(p);
	if (!rc)
		rc = collect_places(p, err);
	if (!rc)
		rc = collect_free(p);
	return rc == -ENOMEM ? bow_err_errno(err, rc, "plan the return to the mark") : rc;
}

void bow_prologue_release(struct bow_new_prologue *p)
{
	bow_checkpoint_release(&p->then);
	free(p->entries);
	free(p->places);
	p->entries = NULL;
	p->places = NULL;
}
