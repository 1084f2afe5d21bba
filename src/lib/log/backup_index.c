/* SPDX-License-Identifier: MIT */
/*
 * Finds the original of each overwritten block, in any order.
 *
 * The log answers this only while it is walked backwards; here its answers are kept as sorted runs.
 * A used block is saved once in an epoch, so runs never overlap and a newer answer never replaces
 * an older one. Each epoch has an index of its own. A log that has grown is read on into a level of
 * its own. Levels of similar length are merged, so adding costs little and there are few levels to
 * search. A backup that moves after it was noted keeps its old place here: `moved` leads on from
 * there, one hop for each move. Where blocks were given back, another backup may be in the old
 * place by now: then all places are brought up to date, and `moved` begins anew.
 *
 * Memory [I7]: an entry stands for 32 bytes that really are on the disk, since no segment is read
 * twice. An entry that copies or moves cuts the known runs into at most a few more pieces, and the
 * pieces that a backup moved to are forgotten when its own entry is met. So each entry makes at
 * most a few runs, whatever a hostile log contains.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"
#include "lib/log/log.h"

/* Returns where the entry begins; no two entries begin at the same block. */
static uint64_t first_of(const struct bow_backup_place *run)
{
	return run->source_blk - run->skip_blk;
}

/* Runs of two entries stay apart: each entry has its own hash. */
static bool continues(const struct bow_backup_place *a, const struct bow_backup_place *b)
{
	if (a->source_blk + a->count_blk != b->source_blk)
		return false;
	if (a->at_blk == BOW_NO_BLK || b->at_blk == BOW_NO_BLK)
		return a->at_blk == b->at_blk && a->count_blk <= UINT32_MAX - b->count_blk;
	return first_of(a) == first_of(b) && a->at_blk + a->count_blk == b->at_blk;
}

/* A sequential writer's zeros come in descending order, so they are joined as they come. */
static int add(struct bow_backup_index *o, const struct bow_backup_place *run)
{
	if (o->n_fresh && continues(run, &o->fresh[o->n_fresh - 1])) {
		struct bow_backup_place *last = &o->fresh[o->n_fresh - 1];

		last->source_blk = run->source_blk;
		last->at_blk = run->at_blk;
		last->count_blk += run->count_blk;
		last->skip_blk = run->skip_blk;
		return 0;
	}
	if (!o->fresh || o->n_fresh == o->room_fresh) {
		size_t room = o->room_fresh ? o->room_fresh * 2 : 256;
		struct bow_backup_place *grown = realloc(o->fresh, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		o->fresh = grown;
		o->room_fresh = room;
	}
	o->fresh[o->n_fresh++] = *run;
	return 0;
}

static int by_source(const void *a, const void *b)
{
	const struct bow_backup_place *x = a, *y = b;

	return x->source_blk < y->source_blk ? -1 : x->source_blk > y->source_blk;
}

/* Append to a sorted array, whose last run may continue into this one. */
static size_t append(struct bow_backup_place *runs, size_t n, const struct bow_backup_place *run)
{
	if (n && continues(&runs[n - 1], run))
		runs[n - 1].count_blk += run->count_blk;
	else
		runs[n++] = *run;
	return n;
}

/* Give unused room back, if that is possible. */
static void fit(struct bow_backup_index_level *level)
{
	struct bow_backup_place *runs = NULL;

	if (level->n)
		runs = realloc(level->runs, level->n * sizeof(*runs));
	if (runs)
		level->runs = runs;
}

/* Join the last two levels, if there is memory: it only saves time. */
static bool merge_last(struct bow_backup_index *o)
{
	struct bow_backup_index_level *a = &o->level[o->levels - 2], *b = a + 1;
	struct bow_backup_place *runs = malloc((a->n + b->n) * sizeof(*runs));
	size_t i = 0, j = 0, n = 0;

	if (!runs)
		return false;
	while (i < a->n || j < b->n) {
		bool first = j == b->n ||
			     (i < a->n && a->runs[i].source_blk < b->runs[j].source_blk);

		n = append(runs, n, first ? &a->runs[i++] : &b->runs[j++]);
	}
	free(a->runs);
	free(b->runs);
	*a = (struct bow_backup_index_level){runs, n};
	fit(a);
	*b = (struct bow_backup_index_level){0};
	o->levels--;
	return true;
}

/* Make *level the newest one; takes over its runs on success. */
static int push(struct bow_backup_index *o, struct bow_backup_index_level *level)
{
	if (o->levels == BOW_BACKUP_INDEX_LEVELS && !merge_last(o))
		return -ENOMEM;
	o->level[o->levels++] = *level;
	*level = (struct bow_backup_index_level){0};
	while (o->levels > 1 && o->level[o->levels - 2].n < 2 * o->level[o->levels - 1].n)
		if (!merge_last(o))
			break;
	return 0;
}

/* Make a level of the runs that were collected. */
static int seal(struct bow_backup_index *o)
{
	struct bow_backup_index_level level = {o->fresh, 0};
	int rc;

	if (!o->n_fresh)
		return 0;
	bow_sort(o->fresh, o->n_fresh, sizeof(o->fresh[0]), by_source);
	for (size_t i = 0; i < o->n_fresh; i++) {
		struct bow_backup_place run = o->fresh[i]; /* append() may write over it */

		level.n = append(level.runs, level.n, &run);
	}
	fit(&level);
	o->fresh = NULL;
	o->n_fresh = o->room_fresh = 0;
	rc = push(o, &level);
	free(level.runs); /* after an error, push() has not taken them over */
	return rc;
}

/* ---- reading the log ------------------------------------------------------------- */

static int add_zeros(struct bow_backup_index *o, const struct bow_entry *e)
{
	const struct bow_backup_place run = {
		.source_blk = e->source_blk, .count_blk = e->count_blk, .at_blk = BOW_NO_BLK};

	return add(o, &run);
}

/* Add pieces from the last to the first, so that adjacent ones are joined. */
static int add_copy(struct bow_backup_index *o, const struct bow_walk *w, const struct bow_entry *e)
{
	struct bow_backup_place piece[BOW_COPY_MAX_BLK];
	uint64_t done = 0, now, run;
	unsigned n = 0;
	int rc = 0;

	for (; done < e->count_blk; done += run) {
		run = bow_walk_locate(w, e->dest_blk + done, e->count_blk - done, &now);
		piece[n++] = (struct bow_backup_place){
			.source_blk = e->source_blk + done,
			.at_blk = now,
			.hash = e->hash,
			.count_blk = (uint32_t)run,
			.skip_blk = (uint8_t)done,
			.entry_blk = (uint8_t)e->count_blk,
		};
	}
	while (n && !rc)
		rc = add(o, &piece[--n]);
	return rc;
}

/*
 * Only backups noted by an earlier read can have moved: otherwise add_copy() knows the new place.
 */
static int add_move(struct bow_backup_index *o, const struct bow_walk *w, const struct bow_entry *e)
{
	uint64_t done = 0, now, run;
	int rc = 0;

	if (!w->from_seq)
		return 0;
	if (!o->moved && !(o->moved = bow_rangemap_new()))
		return -ENOMEM;
	for (; done < e->count_blk && !rc; done += run) {
		run = bow_walk_locate(w, e->dest_blk + done, e->count_blk - done, &now);
		rc = bow_rangemap_set(o->moved, e->source_blk + done, run, now);
	}
	return rc;
}

/* One walk fills an index for each epoch, the newest first. */
struct reader {
	struct bow_backup_index *o, *oldest;
};

/* The copy of block 0 in a mark's record is the oldest entry of the epoch that the mark began. */
static bool began_epoch(const struct bow_walk *w, const struct bow_entry *e)
{
	return e->type == BOW_ENTRY_COPY && e->source_blk == 0 && w->sequence != 1;
}

static int older_epoch(struct reader *r, struct bowimg_error *err)
{
	if (r->o == r->oldest)
		return bow_err(err, -EUCLEAN, "the log has more marks than before");
	if (seal(r->o))
		return bow_err_errno(err, -ENOMEM, "note where the originals are");
	r->o--;
	return 0;
}

static int visit(void *ctx, struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	struct reader *r = ctx;
	struct bow_backup_index *o = r->o;
	int rc = 0;

	if (e->type == BOW_ENTRY_GIVE)
		o->gives = true;
	else if (e->type == BOW_ENTRY_ZERO)
		rc = add_zeros(o, e);
	else if (e->type == BOW_ENTRY_COPY && e->flags & BOW_ENTRY_MOVE)
		rc = add_move(o, w, e);
	/* A power cut lost this copy: nothing was overwritten, the block is its own original. */
	else if (e->type == BOW_ENTRY_COPY && !bow_walk_is_redo(w, e))
		rc = add_copy(o, w, e);
	if (rc)
		return bow_err_errno(err, rc, "note where the originals are");
	return began_epoch(w, e) ? older_epoch(r, err) : 0;
}

int bow_backup_index_read(struct bow_backup_index *o, uint32_t n, struct bow_walk *w,
			  struct bowimg_error *err)
{
	struct reader r = {&o[n - 1], o};
	const struct bow_visitor v = {.entry = visit, .ctx = &r};
	int rc;

	w->from_seq = r.o->end_seq;
	r.o->gives = false;
	rc = bow_walk_run(w, &v, err);
	if (!rc && seal(r.o))
		rc = bow_err_errno(err, -ENOMEM, "note where the originals are");
	for (uint32_t i = 0; i < n && !rc; i++)
		o[i].end_seq = w->next_seq;
	return rc;
}

/* ---- what was read later --------------------------------------------------------- */

/*
 * Add this run, in the pieces in which it lies after it moved: in *o as far as *o knows, then once
 * more in *more, which was read in one go.
 */
static int add_moved(struct bow_backup_index *to, const struct bow_backup_place *run,
		     const struct bow_backup_index *o, const struct bow_backup_index *more)
{
	struct bow_backup_place piece = *run;
	uint64_t done = 0, n, now = 0;
	bool found = false;
	int rc = 0;

	for (; done < run->count_blk && !rc; done += n) {
		n = run->count_blk - done;
		piece.source_blk = run->source_blk + done;
		if (run->at_blk != BOW_NO_BLK) {
			piece.at_blk = run->at_blk + done;
			piece.skip_blk = (uint8_t)(run->skip_blk + done);
			n = bow_backup_index_follow(o, n, &piece.at_blk);
			if (more->moved)
				n = bow_rangemap_get(more->moved, piece.at_blk, n, &now, &found);
			if (found)
				piece.at_blk = now;
		}
		piece.count_blk = (uint32_t)n;
		rc = add(to, &piece);
	}
	return rc;
}

/* The same index with all places as *more says, so that nothing has to be followed. */
static int bring_up_to_date(struct bow_backup_index *now, const struct bow_backup_index *o,
			    const struct bow_backup_index *more)
{
	int rc = 0;

	now->end_seq = o->end_seq;
	for (unsigned i = 0; i < o->levels; i++)
		for (size_t k = 0; k < o->level[i].n && !rc; k++)
			rc = add_moved(now, &o->level[i].runs[k], o, more);
	return rc ? rc : seal(now);
}

/* Replace all or none. Each has one level then, so that the next push() cannot fail. */
static int absorb_gives(struct bow_backup_index *o, uint32_t n, const struct bow_backup_index *more)
{
	struct bow_backup_index *now = calloc(n, sizeof(*now));
	int rc = now ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && !rc; i++)
		rc = bring_up_to_date(&now[i], &o[i], more);
	for (uint32_t i = 0; i < n && now; i++) {
		bow_backup_index_release(rc ? &now[i] : &o[i]);
		if (!rc)
			o[i] = now[i];
	}
	free(now);
	return rc;
}

static int absorb_moves(struct bow_backup_index *o, const struct bow_rangemap *more,
			uint64_t image_blk)
{
	uint64_t run, now = 0;
	bool found;
	int rc = 0;

	if (!o->moved && !(o->moved = bow_rangemap_new()))
		return -ENOMEM;
	for (uint64_t blk = 0; blk < image_blk && !rc; blk += run) {
		run = bow_rangemap_get(more, blk, image_blk - blk, &now, &found);
		if (found)
			rc = bow_rangemap_set(o->moved, blk, run, now);
	}
	return rc;
}

int bow_backup_index_absorb(struct bow_backup_index *o, uint32_t n, struct bow_backup_index *more,
			    uint64_t image_blk)
{
	struct bow_backup_index *newest = &o[n - 1];
	int rc = 0;

	/* Moves first: they are right whether or not the rest follows. */
	if (more->gives)
		rc = absorb_gives(o, n, more);
	for (uint32_t i = 0; i < n && more->moved && !more->gives && !rc; i++)
		rc = absorb_moves(&o[i], more->moved, image_blk);
	if (!rc && more->levels)
		rc = push(newest, &more->level[0]);
	if (rc)
		return rc;
	newest->end_seq = more->end_seq;
	bow_backup_index_release(more);
	return 0;
}

void bow_backup_index_release(struct bow_backup_index *o)
{
	for (unsigned i = 0; i < o->levels; i++)
		free(o->level[i].runs);
	free(o->fresh);
	bow_rangemap_free(o->moved);
	memset(o, 0, sizeof(*o));
}
