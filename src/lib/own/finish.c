/* SPDX-License-Identifier: MIT */
/*
 * The last step of rollback and commit (rule 11 of bowimg-format(5)).
 *
 * Happy path, no tail and nothing to zero under the log: zero the rest; block 0's sectors 1-7,
 * barrier; sector 0, barrier.
 *
 * Otherwise a plan is written first, where zeroing cannot reach it: past the end of a file, in free
 * blocks of a device. It has the ranges to zero, block 0's final content, and in a file a footer;
 * barrier; superblock FINISHING; barrier; then finish_resume.c carries it out.
 *
 * Failure modes: before FINISHING is durable, the log is whole, and the operation starts again.
 * After it, only the plan is needed. After sector 0 there is no superblock; the footer, which names
 * the content of block 0, tells that a file still has its tail. The plan's own few blocks on a
 * device are zeroed after sector 0: a cut at that moment leaves these few free blocks not zero.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/own/steps.h"

struct plan {
	struct bow_checkpoint *cp;
	const struct bow_bitmap *must_zero;
	bool undoing;		 /* a rollback: blocks that the guest took are free, too */
	struct bow_bitmap *list; /* the part of must_zero that cp->kept covers */
	uint64_t *blks;		 /* places of the list, of block 0, and (file) of the footer */
	uint32_t lists, n;
};

#define ZERO_PIECE_BLK ((64u << 20) / BOW_BLOCK)

/* How many blocks to zero at a time: pieces, for the progress, but a hole as a whole. */
static uint64_t zero_piece(struct bowimg_disk *dev, uint64_t blk, uint64_t n)
{
	uint64_t reach;
	bool hole;

	if (n <= ZERO_PIECE_BLK || bow_disk_extent(dev, blk * BOW_BLOCK, &hole, &reach, NULL) ||
	    !hole)
		return bow_min(n, ZERO_PIECE_BLK);
	return bow_min(n, bow_max(reach / BOW_BLOCK, ZERO_PIECE_BLK));
}

/* The free blocks that are being zeroed, by one thread or more. */
struct zeroing {
	struct plan *p;
	struct bow_shared_progress progress;
	uint64_t at; /* the next block to look at; under the lock of progress, as p->list */
};

/* Zero a run of the image. */
static int zero_run(struct zeroing *z, struct bow_run run, const atomic_bool *stop,
		    struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = z->p->cp;
	uint64_t s = run.start_blk, n = run.count_blk, k;
	int rc = 0;

	for (; n && !rc && !atomic_load(stop); s += k, n -= k) {
		k = zero_piece(cp->dev, s, n);
		size_t bytes = bow_super_bytes(&cp->sb, s, k);

		rc = bow_disk_zero(cp->dev, s * BOW_BLOCK, bytes, BOW_ZERO_PUNCH, err);
		if (!rc)
			rc = bow_shared_add(&z->progress, bytes, err);
	}
	return rc;
}

/* Finds the next run that is not needed any more, and notes in p->list what lies before it. */
static int next_unkept(struct zeroing *z, struct bow_run *run)
{
	const struct plan *p = z->p;
	const struct bow_bitmap *kept = p->cp->kept;
	uint64_t n, end;
	int rc = 0;

	*run = (struct bow_run){0};
	while (!rc && !run->count_blk &&
	       bow_bitmap_next_run(p->must_zero, &z->at, &n, p->cp->blocks.count)) {
		bool keep = bow_bitmap_test(kept, z->at);

		end = bow_bitmap_next(kept, z->at, z->at + n, !keep);
		if (keep)
			rc = bow_bitmap_set(p->list, z->at, end - z->at);
		else
			*run = (struct bow_run){z->at, end - z->at};
		z->at = end;
	}
	return rc;
}

static int zero_runs(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct zeroing *z = ctx;
	struct bow_run run;
	int rc;

	(void)number;
	do {
		pthread_mutex_lock(&z->progress.lock);
		rc = next_unkept(z, &run);
		pthread_mutex_unlock(&z->progress.lock);
		if (rc)
			rc = bow_err_errno(err, rc, "cannot list the blocks to zero");
		else
			rc = zero_run(z, run, stop, err);
	} while (!rc && run.count_blk && !atomic_load(stop));
	return rc;
}

/* Zero what is not needed any more; note the rest in p->list. */
static int zero_unkept(struct plan *p, const struct bowimg_events *events, struct bowimg_error *err)
{
	uint64_t total = bow_bitmap_count(p->must_zero) * BOW_BLOCK;
	const struct bow_progress progress = {events, "zero", 0, total};
	struct zeroing z = {.p = p};
	int rc;

	bow_shared_begin(&z.progress, &progress);
	rc = bow_crew_run(p->cp->dev->queue_depth, zero_runs, &z, err);
	return bow_shared_end(&z.progress, rc, err);
}

/* A file: at its very end, where the footer is searched, behind everything in use. */
static int place_in_tail(struct plan *p, struct bowimg_error *err)
{
	struct bowimg_disk *dev = p->cp->dev;
	uint64_t end = bow_div_up(dev->size, BOW_BLOCK), start = p->cp->tail_next;

	if (end > p->n && end - p->n > start)
		start = end - p->n;
	for (uint32_t i = 0; i < p->n; i++)
		p->blks[i] = start + i;
	if ((start + p->n) * BOW_BLOCK == dev->size)
		return 0;
	return bow_disk_resize(dev, (start + p->n) * BOW_BLOCK, err);
}

/* Take blocks of [s, end), which are free, whose bit in must_zero is `zeroed`. */
static uint32_t pick_in(struct plan *p, uint32_t have, uint64_t s, uint64_t end, bool zeroed)
{
	const struct bow_blocks *b = &p->cp->blocks;

	for (; have < p->n && (s = bow_bitmap_next(p->must_zero, s, end, zeroed)) < end; s++) {
		if (bow_bitmap_test(p->cp->kept, s)) {
			s = bow_bitmap_next(p->cp->kept, s, end, false) - 1;
			continue;
		}
		if (p->undoing || !bow_bitmap_test(b->taken, s))
			p->blks[have++] = s;
		else
			s = bow_bitmap_next(b->taken, s, end, false) - 1;
	}
	return have;
}

/* A device: free blocks that nothing needs any more. */
static uint32_t pick(struct plan *p, uint32_t have, bool zeroed)
{
	const struct bow_checkpoint *cp = p->cp;
	const struct bow_bitmap *map = p->undoing ? bow_checkpoint_free0(cp) : cp->blocks.free;
	uint64_t s = 0, n;

	for (; have < p->n && bow_bitmap_next_run(map, &s, &n, cp->blocks.count); s += n)
		have = pick_in(p, have, s, s + n, zeroed);
	return have;
}

/* Where all other free blocks were zeroed, in some of these. It is zeroed in the end. */
static int place_in_free(struct plan *p, struct bowimg_error *err)
{
	uint32_t have = pick(p, 0, false);

	if (have < p->n)
		have = pick(p, have, true);
	if (have < p->n)
		return bow_err(err, -ENOSPC, "no free block is left for the plan");
	for (uint32_t i = 0; i < p->n; i++)
		if (bow_bitmap_set(p->list, p->blks[i], 1))
			return bow_err_errno(err, -ENOMEM, "cannot list the blocks to zero");
	return 0;
}

static int place(struct plan *p, struct bowimg_error *err)
{
	uint64_t s = 0, n, runs = 0;

	for (; bow_bitmap_next_run(p->list, &s, &n, p->cp->blocks.count); s += n)
		runs++;
	p->lists = (uint32_t)bow_finish_lists(runs);
	p->n = (uint32_t)bow_finish_plan_blk(runs, p->cp->dev->can_grow);
	p->blks = calloc(p->n, sizeof(p->blks[0]));
	if (!p->blks)
		return bow_err_errno(err, -ENOMEM, "cannot plan the last step");
	return p->cp->dev->can_grow ? place_in_tail(p, err) : place_in_free(p, err);
}

static int write_blk(const struct plan *p, uint32_t i, const uint8_t *block,
		     struct bowimg_error *err)
{
	return bow_disk_write(p->cp->dev, block, BOW_BLOCK, p->blks[i] * BOW_BLOCK, err);
}

static int write_list(const struct plan *p, struct bowimg_error *err)
{
	struct bow_run runs[BOW_FINISH_RUNS];
	uint64_t s = 0, n, count = p->cp->blocks.count;
	uint8_t block[BOW_BLOCK];
	uint32_t k;
	int rc = 0;

	for (uint32_t i = 0; i < p->lists && !rc; i++) {
		for (k = 0; k < BOW_FINISH_RUNS && bow_bitmap_next_run(p->list, &s, &n, count);
		     s += n)
			runs[k++] = (struct bow_run){s, n};
		bow_finish_encode(&p->cp->sb, runs, k,
				  i + 1 < p->lists ? p->blks[i + 1] : BOW_NO_BLK, block);
		rc = write_blk(p, i, block, err);
	}
	return rc;
}

static int write_plan(const struct plan *p, const uint8_t *block0, struct bowimg_error *err)
{
	struct bow_footer f = {p->cp->sb.image_size, bow_hash(block0, BOW_BLOCK, 0)};
	uint8_t footer[BOW_BLOCK];
	int rc = write_list(p, err);

	if (!rc)
		rc = write_blk(p, p->lists, block0, err);
	if (!rc && p->cp->dev->can_grow) {
		bow_footer_encode(&f, footer);
		rc = write_blk(p, p->n - 1, footer, err);
	}
	return rc ? rc : bow_disk_flush(p->cp->dev, err);
}

static int finish_by_plan(struct plan *p, const uint8_t *block0, bool undoing,
			  struct bowimg_error *err)
{
	struct bow_super *sb = &p->cp->sb;
	int rc = place(p, err);

	if (!rc)
		rc = write_plan(p, block0, err);
	if (rc)
		return bow_err_wrap(err, rc, "cannot plan the last step");
	sb->finish_list_blk = p->blks[0];
	sb->finish_block0_blk = p->blks[p->lists];
	sb->finish_block0_hash = bow_hash(block0, BOW_BLOCK, sb->seed);
	sb->flags &= ~(BOW_SUPER_UNDOING | BOW_SUPER_RESTORED);
	sb->flags |= undoing ? BOW_SUPER_UNDOING : 0;
	rc = bow_checkpoint_set_state(p->cp, BOW_SUPER_FINISHING, err);
	return rc ? rc : bow_finish_resume(p->cp->dev, sb, err);
}

int bow_finish(struct bow_checkpoint *cp, const struct bow_bitmap *must_zero,
	       const uint8_t block0[BOW_BLOCK], bool undoing, const struct bowimg_events *events,
	       uint64_t *zeroed_bytes, struct bowimg_error *err)
{
	struct plan p = {.cp = cp, .must_zero = must_zero, .undoing = undoing};
	int rc;

	p.list = bow_bitmap_new(cp->blocks.count);
	if (!p.list)
		return bow_err_errno(err, -ENOMEM, "cannot list the blocks to zero");
	/* What is zeroed is past a barrier with the plan, or with sectors 1-7. */
	rc = zero_unkept(&p, events, err);
	if (!rc && !bow_bitmap_count(p.list) && cp->dev->size == cp->sb.image_size) {
		rc = bow_finish_block0(cp->dev, block0, err);
		if (!rc)
			rc = bow_finish_cut(cp->dev, cp->sb.image_size, err);
	} else if (!rc) {
		rc = finish_by_plan(&p, block0, undoing, err);
	}
	*zeroed_bytes += rc ? 0 : bow_bitmap_count(must_zero) * BOW_BLOCK;
	bow_bitmap_free(p.list);
	free(p.blks);
	return rc;
}
