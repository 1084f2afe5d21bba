/* SPDX-License-Identifier: MIT */
/*
 * Marks cut the life of a checkpoint into epochs. Used blocks are saved once in each; what a disk
 * was at a mark is told by the oldest epoch from it on that saved the block.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/log/loader.h"

int bow_epochs_init(struct bow_epochs *e, uint64_t blocks)
{
	memset(e, 0, sizeof(*e));
	e->now.saved = bow_bitmap_new(blocks);
	return e->now.saved ? 0 : -ENOMEM;
}

static void release_list(struct bow_epoch *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		bow_bitmap_free(list[i].saved);
	free(list);
}

void bow_epochs_release(struct bow_epochs *e)
{
	release_list(e->list, e->n);
	bow_bitmap_free(e->now.saved);
	memset(e, 0, sizeof(*e));
}

static int push(struct bow_epochs *e)
{
	struct bow_epoch *list = realloc(e->list, (e->n + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	e->list = list;
	list[e->n++] = e->now;
	memset(&e->now, 0, sizeof(e->now));
	return 0;
}

/* True if the mark was deleted; each deletion is used up. */
static bool take_deletion(struct bow_epochs *e, uint64_t seq)
{
	for (uint32_t i = 0; i < e->n_deleted; i++)
		if (e->deleted[i] == seq) {
			e->deleted[i] = e->deleted[--e->n_deleted];
			return true;
		}
	return false;
}

/* Two live marks of one name would leave open which one is meant. */
static int check_name(const struct bow_epochs *e, const char *name, struct bowimg_error *err)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (*name && !strcmp(e->list[i].name, name))
			return bow_err(err, -EUCLEAN, "two marks have the name %s", name);
	return 0;
}

int bow_epochs_mark(struct bow_epochs *e, uint64_t seq, const struct bow_entry *mark,
		    uint64_t blocks, struct bowimg_error *err)
{
	int rc;

	if (e->n == BOWIMG_MARKS_MAX)
		return bow_err(err, -EUCLEAN, "the log has too many marks");
	e->now.mark_seq = seq;
	e->now.made_at = mark->count_blk;
	if (!take_deletion(e, seq))
		bow_mark_name(mark, e->now.name);
	rc = check_name(e, e->now.name, err);
	if (!rc && (push(e) || !(e->now.saved = bow_bitmap_new(blocks))))
		rc = bow_err_errno(err, -ENOMEM, "note the marks");
	return rc;
}

int bow_epochs_unmark(struct bow_epochs *e, uint64_t seq, struct bowimg_error *err)
{
	for (uint32_t i = 0; i < e->n_deleted; i++)
		if (e->deleted[i] == seq)
			return 0;
	if (e->n_deleted == BOWIMG_MARKS_MAX)
		return bow_err(err, -EUCLEAN, "the log deletes too many marks");
	e->deleted[e->n_deleted++] = seq;
	return 0;
}

int bow_epochs_end(struct bow_epochs *e, struct bow_epoch **list, uint32_t *n,
		   struct bowimg_error *err)
{
	struct bow_epoch swap;

	if (e->n_deleted)
		return bow_err(err, -EUCLEAN, "the log deletes a mark that is not there");
	if (push(e))
		return bow_err_errno(err, -ENOMEM, "note the marks");
	for (uint32_t i = 0, j = e->n - 1; i < j; i++, j--) {
		swap = e->list[i];
		e->list[i] = e->list[j];
		e->list[j] = swap;
	}
	*list = e->list;
	*n = e->n;
	e->list = NULL;
	e->n = 0;
	return 0;
}

int bow_epoch_find(const struct bow_checkpoint *cp, const char *name, uint32_t *epoch,
		   struct bowimg_error *err)
{
	*epoch = 0;
	if (!name)
		return 0;
	for (uint32_t i = 1; i < cp->n_epochs; i++)
		if (*name && !strcmp(cp->epochs[i].name, name)) {
			*epoch = i;
			return 0;
		}
	bow_err(err, -ENODATA, "there is no mark %s", name);
	bow_err_hint(err, "'bowimg mark --list' shows the marks; nothing was changed");
	return -ENODATA;
}

uint32_t bow_epoch_of(const struct bow_checkpoint *cp, uint64_t seq)
{
	uint32_t i = cp->n_epochs - 1;

	while (i > 0 && cp->epochs[i].mark_seq >= seq)
		i--;
	return i;
}

/* Cut a run where the bit changes. */
static uint64_t alike(const struct bow_bitmap *map, uint64_t blk, uint64_t n, bool *set)
{
	*set = bow_bitmap_test(map, blk);
	return bow_bitmap_next(map, blk, blk + n, !*set) - blk;
}

/* Blocks of `saved` that nothing `before` has; then `before` has them as well. */
static int decide(struct bow_bitmap *out, const struct bow_bitmap *saved, struct bow_bitmap *before)
{
	uint64_t s = 0, n, end = bow_bitmap_bits(saved);
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(saved, &s, &n, end); s += n) {
		rc = bow_set_unless(out, before, s, n);
		if (!rc)
			rc = bow_bitmap_set(before, s, n);
	}
	return rc;
}

static int decide_all(struct bow_decisions *d, const struct bow_checkpoint *cp, uint32_t then,
		      struct bow_bitmap *before)
{
	int rc = 0;

	for (uint32_t i = then; i < cp->n_epochs && !rc; i++) {
		d->of[i] = bow_bitmap_new(cp->blocks.count);
		rc = d->of[i] ? decide(d->of[i], cp->epochs[i].saved, before) : -ENOMEM;
	}
	return rc;
}

int bow_decisions_init(struct bow_decisions *d, const struct bow_checkpoint *cp, uint32_t then,
		       const struct bow_bitmap *free_then)
{
	struct bow_bitmap *before;
	int rc;

	*d = (struct bow_decisions){0};
	if (cp->n_epochs == 1)
		return 0;
	d->n = cp->n_epochs;
	d->of = calloc(d->n, sizeof(struct bow_bitmap *));
	before = bow_bitmap_dup(free_then);
	rc = d->of && before ? decide_all(d, cp, then, before) : -ENOMEM;
	bow_bitmap_free(before);
	return rc;
}

void bow_decisions_release(struct bow_decisions *d)
{
	for (uint32_t i = 0; i < d->n && d->of; i++)
		bow_bitmap_free(d->of[i]);
	free(d->of);
	*d = (struct bow_decisions){0};
}

uint64_t bow_decisions_get(const struct bow_decisions *d, uint32_t in, uint64_t blk, uint64_t n,
			   bool *yes)
{
	*yes = !d->of;
	return d->of && d->of[in] ? alike(d->of[in], blk, n, yes) : n;
}

int bow_epoch_changed(const struct bow_checkpoint *cp, uint32_t epoch, uint64_t *blocks)
{
	struct bow_bitmap *all = bow_bitmap_new(cp->blocks.count);
	int rc = all ? 0 : -ENOMEM;

	for (; epoch < cp->n_epochs && !rc; epoch++)
		rc = bow_bitmap_merge(all, cp->epochs[epoch].saved);
	*blocks = rc ? 0 : bow_bitmap_count(all);
	bow_bitmap_free(all);
	return rc;
}
