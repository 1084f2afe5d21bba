/* SPDX-License-Identifier: MIT */
/*
 * Doing what a FINISHING plan says. Every number in it is checked before the first byte is zeroed;
 * running it twice, or from any point again, gives the same result [I5].
 */
#include "operations/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct finish {
	struct bow_dev *dev;
	const struct bow_super *sb;
	struct bow_bitmap *zero; /* what to zero */
	struct bow_bitmap *late; /* of that, where the plan itself lies: last */
	uint8_t block0[BOW_BLOCK];
};

static int add_runs(struct finish *f, const struct bow_run *runs, uint32_t n,
		    struct bowimg_error *err)
{
	uint64_t whole = f->sb->image_size / BOW_BLOCK;

	for (uint32_t i = 0; i < n; i++) {
		if (runs[i].start_blk == 0 ||
		    !bow_range_ok(runs[i].start_blk, runs[i].count_blk, whole))
			return bow_err(err, -EUCLEAN, "a range to zero lies outside the image");
		if (bow_bitmap_set(f->zero, runs[i].start_blk, runs[i].count_blk))
			return bow_err_errno(err, -ENOMEM, "read the list");
	}
	return 0;
}

/* The plan's own blocks, where they lie inside the image, wait until sector 0 is in place. */
static int add_own(struct finish *f, uint64_t blk, struct bowimg_error *err)
{
	uint64_t end = bow_max(bow_super_image_blk(f->sb), f->dev->size / BOW_BLOCK);

	if (!bow_parking_ok(f->sb, blk, 1, end))
		return bow_err(err, -EUCLEAN, "the plan lies outside the image");
	if (blk < bow_bitmap_bits(f->late) && bow_bitmap_set(f->late, blk, 1))
		return bow_err_errno(err, -ENOMEM, "read the list");
	return 0;
}

static int read_list(struct finish *f, struct bowimg_error *err)
{
	struct bow_run runs[BOW_FINISH_RUNS];
	uint64_t blk = f->sb->finish_list_blk, steps = 0;
	uint8_t block[BOW_BLOCK];
	uint32_t n;
	int rc = 0;

	while (blk != BOW_NO_BLK && !rc) {
		/* Longer than one run per two blocks of the image cannot be: a loop. */
		if (steps++ > bow_super_image_blk(f->sb) / BOW_FINISH_RUNS + 2)
			return bow_err(err, -EUCLEAN, "the list of ranges to zero has no end");
		rc = add_own(f, blk, err);
		if (!rc)
			rc = bow_dev_read(f->dev, block, sizeof(block), blk * BOW_BLOCK, err);
		if (!rc && !bow_finish_decode(block, f->sb, runs, &n, &blk))
			rc = bow_err(err, -EBADMSG, "the list of ranges to zero is damaged");
		if (!rc)
			rc = add_runs(f, runs, n, err);
	}
	return rc;
}

static int read_block0(struct finish *f, struct bowimg_error *err)
{
	int rc = add_own(f, f->sb->finish_block0_blk, err);

	if (!rc)
		rc = bow_dev_read(f->dev, f->block0, BOW_BLOCK,
				  f->sb->finish_block0_blk * BOW_BLOCK, err);
	if (!rc && bow_hash(f->block0, BOW_BLOCK, f->sb->seed) != f->sb->finish_block0_hash)
		rc = bow_err(err, -EBADMSG, "block 0's final content is damaged");
	return rc;
}

/* Zero the listed blocks whose bit in `late` is as asked. */
static int zero(struct finish *f, bool late, struct bowimg_error *err)
{
	uint64_t s = 0, n, k, count = bow_bitmap_bits(f->zero);
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(f->zero, &s, &n, count); s += k) {
		bool own = bow_bitmap_test(f->late, s);

		k = bow_bitmap_next(f->late, s, s + n, !own) - s;
		if (own == late)
			rc = bow_dev_zero(f->dev, s * BOW_BLOCK, k * BOW_BLOCK, BOW_ZERO_PUNCH,
					  err);
	}
	return rc;
}

static int carry_out(struct finish *f, struct bowimg_error *err)
{
	int rc = read_list(f, err);

	if (!rc)
		rc = read_block0(f, err);
	if (!rc)
		rc = zero(f, false, err);
	if (!rc)
		rc = bow_dev_flush(f->dev, err);
	if (!rc)
		rc = bow_finish_block0(f->dev, f->block0, err);
	if (!rc)
		rc = zero(f, true, err);
	if (!rc)
		rc = bow_dev_flush(f->dev, err);
	return rc ? rc : bow_finish_cut(f->dev, f->sb->image_size, err);
}

int bow_finish_resume(struct bow_dev *dev, const struct bow_super *sb, struct bowimg_error *err)
{
	struct finish f = {.dev = dev, .sb = sb};
	int rc = -ENOMEM;

	f.zero = bow_bitmap_new(bow_super_image_blk(sb));
	f.late = bow_bitmap_new(bow_super_image_blk(sb));
	if (f.zero && f.late)
		rc = carry_out(&f, err);
	else
		bow_err_errno(err, rc, "read the list");
	bow_bitmap_free(f.zero);
	bow_bitmap_free(f.late);
	return rc ? bow_err_wrap(err, rc, "finish") : 0;
}
