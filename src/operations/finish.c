/* SPDX-License-Identifier: MIT */
/*
 * The last step of rollback and commit (rule 11 of bowimg-format(5)).
 *
 * Happy path, no tail and nothing to zero under the log: zero the rest, barrier; block 0's sectors
 * 1-7, barrier, sector 0, barrier.
 *
 * Else a plan is written first, where zeroing cannot reach it: past the end of a file, in blocks of
 * the free space on a device. Ranges to zero, block 0's final content, a footer (file); barrier;
 * superblock FINISHING; barrier; then resume does what the plan says.
 *
 * Failure modes: before FINISHING is durable the log is whole, and the operation starts again.
 * After it, only the plan is needed. After sector 0 there is no superblock; a file that still has
 * its tail is recognised by the footer, which names the content of block 0. Where a device has no
 * free block but such as must be zero, the plan's own few blocks are zeroed after sector 0: a cut
 * in that moment leaves them as they are, free blocks that are not zero.
 */
#include "operations/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct plan {
	struct bow_checkpoint *cp;
	const struct bow_bitmap *must_zero;
	bool undoing;		 /* a rollback: what the file system took is as good as free */
	struct bow_bitmap *list; /* of must_zero, what the log and all that is kept covers */
	uint64_t *blks;		 /* where the list goes, then block 0, then (file) the footer */
	uint32_t lists, n;
};

int bow_finish_block0(struct bow_dev *dev, const uint8_t block0[BOW_BLOCK],
		      struct bowimg_error *err)
{
	int rc = bow_dev_write(dev, block0 + BOW_SUPER_BYTES, BOW_NOTE_BYTES, BOW_SUPER_BYTES, err);

	if (!rc)
		rc = bow_dev_flush(dev, err);
	/* Sector 0 ends the checkpoint; until then everything can be found again [I5]. */
	if (!rc)
		rc = bow_dev_write(dev, block0, BOW_SUPER_BYTES, 0, err);
	if (!rc)
		rc = bow_dev_flush(dev, err);
	return rc ? bow_err_wrap(err, rc, "put block 0 back") : 0;
}

int bow_finish_cut(struct bow_dev *dev, uint64_t image_size, struct bowimg_error *err)
{
	int rc;

	if (!dev->can_grow)
		return 0;
	/* Also where the size is right: it gives back what was reserved past the end. */
	rc = bow_dev_resize(dev, image_size, err);
	if (!rc)
		rc = bow_dev_flush(dev, err);
	return rc ? bow_err_wrap(err, rc, "cut the tail") : 0;
}

/* Zero [s, s + n) of the image in pieces that leave room for progress. */
static int zero_run(struct plan *p, uint64_t s, uint64_t n, struct bow_progress *progress,
		    struct bowimg_error *err)
{
	uint64_t k;
	int rc = 0;

	for (; n && !rc; s += k, n -= k) {
		k = bow_min(n, (64u << 20) / BOW_BLOCK);
		size_t bytes = bow_super_bytes(&p->cp->sb, s, k);

		rc = bow_dev_zero(p->cp->dev, s * BOW_BLOCK, bytes, BOW_ZERO_PUNCH, err);
		if (!rc)
			bow_progress_add(progress, bytes);
	}
	return rc;
}

/* What is not needed any more can go at once; the rest is noted in p->list. */
static int zero_unkept(struct plan *p, struct bow_progress *progress, struct bowimg_error *err)
{
	const struct bow_bitmap *kept = p->cp->kept;
	uint64_t s = 0, n, k;
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(p->must_zero, &s, &n, p->cp->blocks.count); s += k) {
		k = bow_bitmap_next(kept, s, s + n, !bow_bitmap_test(kept, s)) - s;
		if (!bow_bitmap_test(kept, s))
			rc = zero_run(p, s, k, progress, err);
		else if (bow_bitmap_set(p->list, s, k))
			rc = bow_err_errno(err, -ENOMEM, "list what is left to zero");
	}
	return rc;
}

/* A file: behind everything that is in use, at the very end, where the footer is looked for. */
static int place_in_tail(struct plan *p, struct bowimg_error *err)
{
	struct bow_dev *dev = p->cp->dev;
	uint64_t end = bow_div_up(dev->size, BOW_BLOCK), start = p->cp->tail_next;

	if (end > p->n && end - p->n > start)
		start = end - p->n;
	for (uint32_t i = 0; i < p->n; i++)
		p->blks[i] = start + i;
	if ((start + p->n) * BOW_BLOCK == dev->size)
		return 0;
	return bow_dev_resize(dev, (start + p->n) * BOW_BLOCK, err);
}

/* A device: blocks of the free space that nothing needs any more. */
static uint32_t pick(struct plan *p, uint32_t have, bool zeroed)
{
	const struct bow_blocks *b = &p->cp->blocks;
	uint64_t s = 0, n;

	for (; have < p->n && bow_bitmap_next_run(b->free, &s, &n, b->count); s += n)
		for (uint64_t blk = s; blk < s + n && have < p->n; blk++)
			if (!bow_bitmap_test(p->cp->kept, blk) &&
			    (p->undoing || bow_blocks_state(b, blk) != BOW_LIVE) &&
			    bow_bitmap_test(p->must_zero, blk) == zeroed)
				p->blks[have++] = blk;
	return have;
}

static int place_in_free(struct plan *p, struct bowimg_error *err)
{
	uint32_t have = pick(p, 0, false);

	if (have == p->n)
		return 0;
	/* No other choice: these have been zeroed, and must be again in the end. */
	have = pick(p, have, true);
	if (have < p->n)
		return bow_err(err, -ENOSPC, "no free block is left to finish with");
	for (uint32_t i = 0; i < p->n; i++)
		if (bow_bitmap_test(p->must_zero, p->blks[i]) &&
		    bow_bitmap_set(p->list, p->blks[i], 1))
			return bow_err_errno(err, -ENOMEM, "list what is left to zero");
	return 0;
}

/* Placing on a device may add a run for each block of the plan. */
static uint64_t lists_for(uint64_t runs)
{
	return runs / (BOW_FINISH_RUNS - 2) + 1;
}

#define RESERVE_BYTES (64u * 1024u)

int bow_finish_reserve(struct bow_dev *dev, uint64_t more, struct bowimg_error *err)
{
	int rc = dev->can_grow ? bow_dev_reserve(dev, more + RESERVE_BYTES, err) : 0;

	if (rc != -EOPNOTSUPP)
		return rc;
	bow_err_clear(err);
	return 0;
}

uint64_t bow_finish_plan_blk(uint64_t runs, bool file)
{
	return lists_for(runs) + (file ? 2 : 1);
}

static int place(struct plan *p, struct bowimg_error *err)
{
	uint64_t s = 0, n, runs = 0;

	for (; bow_bitmap_next_run(p->list, &s, &n, p->cp->blocks.count); s += n)
		runs++;
	p->lists = (uint32_t)lists_for(runs);
	p->n = (uint32_t)bow_finish_plan_blk(runs, p->cp->dev->can_grow);
	p->blks = calloc(p->n, sizeof(p->blks[0]));
	if (!p->blks)
		return bow_err_errno(err, -ENOMEM, "plan the last step");
	return p->cp->dev->can_grow ? place_in_tail(p, err) : place_in_free(p, err);
}

static int write_blk(const struct plan *p, uint32_t i, const uint8_t *block,
		     struct bowimg_error *err)
{
	return bow_dev_write(p->cp->dev, block, BOW_BLOCK, p->blks[i] * BOW_BLOCK, err);
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
	return rc ? rc : bow_dev_flush(p->cp->dev, err);
}

static int finish_by_plan(struct plan *p, const uint8_t *block0, bool undoing,
			  struct bowimg_error *err)
{
	struct bow_super *sb = &p->cp->sb;
	int rc = place(p, err);

	if (!rc)
		rc = write_plan(p, block0, err);
	if (rc)
		return bow_err_wrap(err, rc, "plan the last step");
	sb->finish_list_blk = p->blks[0];
	sb->finish_block0_blk = p->blks[p->lists];
	sb->finish_block0_hash = bow_hash(block0, BOW_BLOCK, sb->seed);
	sb->flags = undoing ? sb->flags | BOW_SUPER_UNDOING : sb->flags & ~BOW_SUPER_UNDOING;
	rc = bow_checkpoint_set_state(p->cp, BOW_SUPER_FINISHING, err);
	return rc ? rc : bow_finish_resume(p->cp->dev, sb, err);
}

int bow_finish(struct bow_checkpoint *cp, const struct bow_bitmap *must_zero,
	       const uint8_t block0[BOW_BLOCK], bool undoing, const struct bowimg_events *events,
	       uint64_t *zeroed_bytes, struct bowimg_error *err)
{
	uint64_t total = bow_bitmap_count(must_zero) * BOW_BLOCK;
	struct bow_progress progress = {events, "zero", 0, total};
	struct plan p = {.cp = cp, .must_zero = must_zero, .undoing = undoing};
	int rc;

	p.list = bow_bitmap_new(cp->blocks.count);
	if (!p.list)
		return bow_err_errno(err, -ENOMEM, "list what is left to zero");
	rc = zero_unkept(&p, &progress, err);
	if (!rc)
		rc = bow_dev_flush(cp->dev, err);
	if (!rc && !bow_bitmap_count(p.list) && cp->dev->size == cp->sb.image_size) {
		rc = bow_finish_block0(cp->dev, block0, err);
		if (!rc)
			rc = bow_finish_cut(cp->dev, cp->sb.image_size, err);
	} else if (!rc) {
		rc = finish_by_plan(&p, block0, undoing, err);
	}
	*zeroed_bytes += rc ? 0 : total;
	bow_bitmap_free(p.list);
	free(p.blks);
	return rc;
}
