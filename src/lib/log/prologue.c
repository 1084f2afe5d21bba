/* SPDX-License-Identifier: MIT */
/*
 * Returns to marks. The log is cut behind a mark's record, and goes on with a prologue: a segment
 * whose header cuts the one before, and begins with a REVERT; in it what is still true of the time
 * since the mark. A PLACE says where a block is that the log up to the mark has elsewhere.
 *
 * All PLACEs of a prologue hold at once: what moved in a circle would be lost if they were followed
 * one after the other. So they are collected, and count when the walk leaves the prologue's first
 * segment. Where a segment began is forgotten when it is left, not when it is read: a mark inside
 * it needs to know where its own segment is.
 */
#include "lib/log/log.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lib/base/bytes.h"

/* ---- what a record may hold ------------------------------------------------------ */

static bool is_of_prologue(uint8_t type)
{
	return type == BOW_ENTRY_REVERT || type == BOW_ENTRY_UNMARK || type == BOW_ENTRY_PLACE ||
	       type == BOW_ENTRY_ZERO_PENDING;
}

/* A mark's record has block 0's copy, and the mark, which also ends it. */
static bool is_of_mark(const uint8_t *record)
{
	struct bow_entry copy, mark;

	if (bow_record_count(record) != 2)
		return false;
	bow_record_entry(record, 0, &copy);
	bow_record_entry(record, 1, &mark);
	return mark.type == BOW_ENTRY_MARK && copy.type == BOW_ENTRY_COPY && !copy.flags &&
	       copy.source_blk == 0 && copy.count_blk == 1;
}

/* The prologue is whole: it begins here, and holds nothing that is not a prologue's. */
static int check_revert(const struct bow_walk *w, const struct bow_entry *e,
			struct bowimg_error *err)
{
	const struct bow_prologue *p = &w->prologue;
	const struct bow_segment_header *h = &w->segment.header;

	if (!h->prev_end || w->sequence != h->first_seq || e->source_blk != h->prev_end - 1)
		return bow_err(err, -EUCLEAN, "a return to a mark is in the wrong place");
	if (e->dest_blk < w->sequence || e->dest_blk >= w->next_seq)
		return bow_err(err, -EBADMSG, "a return to a mark is not complete");
	if (p->last_seq > e->dest_blk || (p->others_seq && p->others_seq <= e->dest_blk))
		return bow_err(err, -EUCLEAN, "a return to a mark has other entries in it");
	return 0;
}

static int check_entry(struct bow_walk *w, const struct bow_entry *e, uint32_t i, bool mark,
		       struct bowimg_error *err)
{
	if (e->type == BOW_ENTRY_MARK && (!mark || w->sequence == 1))
		return bow_err(err, -EUCLEAN, "a mark is not alone in its record");
	if (e->type == BOW_ENTRY_COPY && e->source_blk == 0 && !mark && w->sequence != 1)
		return bow_err(err, -EUCLEAN, "block 0 is saved where there is no mark");
	if (e->type == BOW_ENTRY_REVERT)
		return i ? bow_err(err, -EUCLEAN, "a return to a mark is in the wrong place")
			 : check_revert(w, e, err);
	if (e->type == BOW_ENTRY_PLACE && !w->prologue.last_seq)
		w->prologue.last_seq = w->sequence;
	if (!is_of_prologue(e->type))
		w->prologue.others_seq = w->sequence;
	return 0;
}

/* A segment that cuts the one before begins with the reason. */
static int check_first(struct bow_walk *w, const uint8_t *record, struct bowimg_error *err)
{
	const struct bow_segment_header *h = &w->segment.header;
	struct bow_entry e;

	bow_record_entry(record, 0, &e);
	if (h->prev_end && w->sequence == h->first_seq && e.type != BOW_ENTRY_REVERT)
		return bow_err(err, -EUCLEAN, "it cuts the log, but does not return to a mark");
	return 0;
}

int bow_prologue_record(struct bow_walk *w, const uint8_t *record, struct bowimg_error *err)
{
	bool mark = is_of_mark(record);
	struct bow_entry e;
	int rc = check_first(w, record, err);

	if (!rc && w->prologue.mark_seq && !mark)
		rc = bow_err(err, -EUCLEAN,
			     "the log returns to record %" PRIu64 ", which is no mark",
			     w->sequence);
	w->prologue.mark_seq = 0;
	for (uint32_t i = bow_record_count(record); i-- > 0 && !rc;) {
		bow_record_entry(record, i, &e);
		rc = check_entry(w, &e, i, mark, err);
	}
	return rc;
}

/* ---- where things are ------------------------------------------------------------ */

static int add(struct bow_prologue *p, uint64_t blk, uint64_t n)
{
	if (!p->noted && !(p->noted = bow_rangemap_new()))
		return -ENOMEM;
	if (p->n == p->room) {
		size_t room = p->room ? p->room * 2 : 64;
		struct bow_run *grown = realloc(p->froms, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->froms = grown;
		p->room = room;
	}
	p->froms[p->n++] = (struct bow_run){blk, n};
	return 0;
}

/* All places hold at once, so there is one for each block. */
static int check_once(const struct bow_prologue *p, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	uint64_t value, run = e->count_blk;
	bool found = false;

	if (p->noted)
		run = bow_rangemap_get(p->noted, e->source_blk, e->count_blk, &value, &found);
	if (!found && run == e->count_blk)
		return 0;
	return bow_err(err, -EUCLEAN, "two places are told for block %" PRIu64,
		       e->source_blk + (found ? 0 : run));
}

/*
 * Of each `to` there is one, too (check_put() in walk.c): so what is known of it may go from cur to
 * the notes at once, in as many pieces as there are.
 */
int bow_prologue_place(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	struct bow_prologue *p = &w->prologue;
	int rc = check_once(p, e, err);

	if (rc)
		return rc;
	rc = add(p, e->source_blk, e->count_blk);
	if (!rc)
		rc = bow_rangemap_hand_over(w->cur, e->dest_blk, p->noted, e->source_blk,
					    e->count_blk);
	return rc ? bow_err_errno(err, rc, "follow moved blocks") : 0;
}

/* Where something is now there is nothing else; where it was there may have been something new. */
static int follow_all(struct bow_walk *w)
{
	const struct bow_prologue *p = &w->prologue;
	int rc = 0;

	for (const struct bow_run *r = p->froms; r < p->froms + p->n && !rc; r++) {
		rc = bow_bitmap_clear(w->put, r->start_blk, r->count_blk);
		if (!rc)
			rc = bow_rangemap_hand_over(p->noted, r->start_blk, w->cur, r->start_blk,
						    r->count_blk);
	}
	return rc;
}

static int leave_prologue(struct bow_walk *w, struct bowimg_error *err)
{
	int rc = follow_all(w);

	w->prologue.n = 0;
	w->prologue.last_seq = w->prologue.others_seq = 0;
	w->prologue.mark_seq = w->segment.header.prev_end - 1;
	return rc ? bow_err_errno(err, rc, "follow moved blocks") : 0;
}

int bow_prologue_leave(struct bow_walk *w, struct bowimg_error *err)
{
	const struct bow_segment_header *h = &w->segment.header;
	int rc = bow_rangemap_erase(w->cur, h->start_blk, h->len_blk);

	if (rc)
		return bow_err_errno(err, rc, "follow moved blocks");
	if (h->prev_end)
		return leave_prologue(w, err);
	if (h->prev_blk == BOW_NO_BLK && w->prologue.last_seq)
		return bow_err(err, -EUCLEAN, "a place of the log is told without a return");
	return 0;
}
