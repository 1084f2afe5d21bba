/* SPDX-License-Identifier: MIT */
/*
 * Where the original of each overwritten block is now, to be asked in any order.
 *
 * The log answers this going backwards only; here its answers are kept as sorted runs. A used block
 * is saved once, so that runs never overlap and a newer answer never replaces an older one. What is
 * read later, of a log that has grown, becomes a level of its own; levels of similar length are
 * merged, so that adding costs little and there are few to search. A backup that moves after it was
 * noted is not looked up by its place: `moved` leads on from there, a hop for each time.
 *
 * Memory [I7]: every entry is 32 bytes that are really on the disk, since no segment is read twice.
 * One that copies or moves cuts what is known into a few pieces more at most, and the pieces that a
 * backup moved to are forgotten when its own entry is met. So there are a few runs for an entry at
 * most, whatever a hostile log says.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "log/log.h"

/* Where the entry begins: no two begin at the same block. */
static uint64_t first_of(const struct bow_origin *run)
{
	return run->source_blk - run->skip_blk;
}

/* Those of two entries stay apart: each has its hash. */
static bool continues(const struct bow_origin *a, const struct bow_origin *b)
{
	if (a->source_blk + a->count_blk != b->source_blk)
		return false;
	if (a->at_blk == BOW_NO_BLK || b->at_blk == BOW_NO_BLK)
		return a->at_blk == b->at_blk && a->count_blk <= UINT32_MAX - b->count_blk;
	return first_of(a) == first_of(b) && a->at_blk + a->count_blk == b->at_blk;
}

/* A sequential writer's zeros come in descending order: they are joined as they come. */
static int add(struct bow_origins *o, const struct bow_origin *run)
{
	if (o->n_fresh && continues(run, &o->fresh[o->n_fresh - 1])) {
		struct bow_origin *last = &o->fresh[o->n_fresh - 1];

		last->source_blk = run->source_blk;
		last->at_blk = run->at_blk;
		last->count_blk += run->count_blk;
		last->skip_blk = run->skip_blk;
		return 0;
	}
	if (!o->fresh || o->n_fresh == o->room_fresh) {
		size_t room = o->room_fresh ? o->room_fresh * 2 : 256;
		struct bow_origin *grown = realloc(o->fresh, room * sizeof(*grown));

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
	const struct bow_origin *x = a, *y = b;

	return x->source_blk < y->source_blk ? -1 : x->source_blk > y->source_blk;
}

/* Append to a sorted array, whose last run may continue into this one. */
static size_t append(struct bow_origin *runs, size_t n, const struct bow_origin *run)
{
	if (n && continues(&runs[n - 1], run))
		runs[n - 1].count_blk += run->count_blk;
	else
		runs[n++] = *run;
	return n;
}

/* What was set aside and not used goes back, if that is possible. */
static void fit(struct bow_origin_level *level)
{
	struct bow_origin *runs = NULL;

	if (level->n)
		runs = realloc(level->runs, level->n * sizeof(*runs));
	if (runs)
		level->runs = runs;
}

/* The last two levels become one, if there is memory: it saves time, no more. */
static bool merge_last(struct bow_origins *o)
{
	struct bow_origin_level *a = &o->level[o->levels - 2], *b = a + 1;
	struct bow_origin *runs = malloc((a->n + b->n) * sizeof(*runs));
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
	*a = (struct bow_origin_level){runs, n};
	fit(a);
	*b = (struct bow_origin_level){0};
	o->levels--;
	return true;
}

/* Make *level the newest one; takes its runs over on success. */
static int push(struct bow_origins *o, struct bow_origin_level *level)
{
	if (o->levels == BOW_ORIGIN_LEVELS && !merge_last(o))
		return -ENOMEM;
	o->level[o->levels++] = *level;
	*level = (struct bow_origin_level){0};
	while (o->levels > 1 && o->level[o->levels - 2].n < 2 * o->level[o->levels - 1].n)
		if (!merge_last(o))
			break;
	return 0;
}

/* What was collected becomes a level. */
static int seal(struct bow_origins *o)
{
	struct bow_origin_level level = {o->fresh, 0};
	int rc;

	if (!o->n_fresh)
		return 0;
	qsort(o->fresh, o->n_fresh, sizeof(o->fresh[0]), by_source);
	for (size_t i = 0; i < o->n_fresh; i++) {
		struct bow_origin run = o->fresh[i]; /* append() may write over it */

		level.n = append(level.runs, level.n, &run);
	}
	fit(&level);
	o->fresh = NULL;
	o->n_fresh = o->room_fresh = 0;
	rc = push(o, &level);
	free(level.runs); /* an error: nobody took it over */
	return rc;
}

/* ---- reading the log -------------------------------------------------------------------------
 */

static int add_zeros(struct bow_origins *o, const struct bow_entry *e)
{
	const struct bow_origin run = {
		.source_blk = e->source_blk, .count_blk = e->count_blk, .at_blk = BOW_NO_BLK};

	return add(o, &run);
}

/* Piece by piece, from the last to the first: then those that are side by side are joined. */
static int add_copy(struct bow_origins *o, const struct bow_walk *w, const struct bow_entry *e)
{
	struct bow_origin piece[BOW_COPY_MAX_BLK];
	uint64_t done = 0, now, run;
	unsigned n = 0;
	int rc = 0;

	for (; done < e->count_blk; done += run) {
		run = bow_walk_locate(w, e->dest_blk + done, e->count_blk - done, &now);
		piece[n++] = (struct bow_origin){
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

/* Only what was noted by an earlier read can have moved: else add_copy() knows the new place. */
static int add_move(struct bow_origins *o, const struct bow_walk *w, const struct bow_entry *e)
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

static int visit(void *ctx, struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	struct bow_origins *o = ctx;
	int rc = 0;

	if (e->type == BOW_ENTRY_ZERO)
		rc = add_zeros(o, e);
	else if (e->type == BOW_ENTRY_COPY && e->flags & BOW_ENTRY_MOVE)
		rc = add_move(o, w, e);
	/* A copy that a power cut took: nothing was overwritten, the block is its own original. */
	else if (e->type == BOW_ENTRY_COPY && !bow_walk_is_redo(w, e))
		rc = add_copy(o, w, e);
	return rc ? bow_err_errno(err, rc, "note where the originals are") : 0;
}

int bow_origins_read(struct bow_origins *o, struct bow_walk *w, struct bowimg_error *err)
{
	const struct bow_visitor v = {NULL, visit, o};
	int rc;

	w->from_seq = o->end_seq;
	rc = bow_walk_run(w, &v, err);
	if (!rc && seal(o))
		rc = bow_err_errno(err, -ENOMEM, "note where the originals are");
	if (!rc)
		o->end_seq = w->next_seq;
	return rc;
}

/* ---- what was read later ---------------------------------------------------------------------
 */

static int absorb_moves(struct bow_origins *o, const struct bow_rangemap *more, uint64_t image_blk)
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

int bow_origins_absorb(struct bow_origins *o, struct bow_origins *more, uint64_t image_blk)
{
	int rc = 0;

	/* Moves first: they are right whether or not the rest follows now. */
	if (more->moved)
		rc = absorb_moves(o, more->moved, image_blk);
	if (!rc && more->levels)
		rc = push(o, &more->level[0]);
	if (rc)
		return rc;
	o->end_seq = more->end_seq;
	bow_origins_release(more);
	return 0;
}

/* ---- asking ----------------------------------------------------------------------------------
 */

/* The last run that begins at or before blk, or NULL; *after: where the next one begins. */
static struct bow_origin *find(const struct bow_origin_level *level, uint64_t blk, uint64_t *after)
{
	size_t lo = 0, hi = level->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (level->runs[mid].source_blk <= blk)
			lo = mid + 1;
		else
			hi = mid;
	}
	*after = lo < level->n ? level->runs[lo].source_blk : UINT64_MAX;
	return lo ? &level->runs[lo - 1] : NULL;
}

/* Follow backups that moved after they were noted. */
static uint64_t follow(const struct bow_origins *o, uint64_t n, uint64_t *at)
{
	uint64_t now = 0;
	bool found = o->moved;

	while (found) {
		n = bow_rangemap_get(o->moved, *at, n, &now, &found);
		if (found)
			*at = now;
	}
	return n;
}

/* The run that blk is in, or NULL; *n: cut to where the answer changes. */
static struct bow_origin *run_at(const struct bow_origins *o, uint64_t blk, uint64_t *n)
{
	uint64_t after;

	for (unsigned i = 0; i < o->levels; i++) {
		struct bow_origin *run = find(&o->level[i], blk, &after);

		if (run && blk - run->source_blk < run->count_blk) {
			*n = bow_min(*n, run->source_blk + run->count_blk - blk);
			return run;
		}
		*n = bow_min(*n, after - blk);
	}
	return NULL;
}

uint64_t bow_origins_get(const struct bow_origins *o, uint64_t blk, uint64_t n,
			 enum bow_origin_kind *kind, uint64_t *at)
{
	const struct bow_origin *run = run_at(o, blk, &n);

	*kind = BOW_ORIGIN_IN_PLACE;
	if (run)
		*kind = run->at_blk == BOW_NO_BLK ? BOW_ORIGIN_ZEROS : BOW_ORIGIN_AT;
	if (*kind != BOW_ORIGIN_AT)
		return n;
	*at = run->at_blk + (blk - run->source_blk);
	return follow(o, n, at);
}

bool bow_origins_unchecked(const struct bow_origins *o, uint64_t blk, struct bow_backup *b)
{
	uint64_t n = 1;
	const struct bow_origin *run = run_at(o, blk, &n);

	if (!run || run->at_blk == BOW_NO_BLK || atomic_load(&run->checked))
		return false;
	*b = (struct bow_backup){.source_blk = first_of(run),
				 .hash = run->hash,
				 .from_blk = run->at_blk,
				 .count_blk = run->entry_blk};
	return true;
}

void bow_origins_checked(const struct bow_origins *o, const struct bow_backup *b)
{
	uint64_t end = b->source_blk + b->count_blk, n;

	for (uint64_t blk = b->source_blk; blk < end; blk += n) {
		struct bow_origin *run;

		n = end - blk;
		run = run_at(o, blk, &n);
		if (run)
			atomic_store(&run->checked, true);
	}
}

void bow_origins_release(struct bow_origins *o)
{
	for (unsigned i = 0; i < o->levels; i++)
		free(o->level[i].runs);
	free(o->fresh);
	bow_rangemap_free(o->moved);
	memset(o, 0, sizeof(*o));
}
