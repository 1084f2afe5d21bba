/* SPDX-License-Identifier: MIT */
/*
 * Carrying out the plan of a FINISHING image. Every number in it is checked before the first byte
 * is zeroed. Running it twice, or again from any point, gives the same result [I5].
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"

struct finish {
	struct bowimg_disk *dev;
	const struct bow_super *sb;
	struct bow_bitmap *zero; /* what to zero */
	struct bow_bitmap *late; /* blocks of the plan itself, up to the tail's end: zeroed last */
	uint64_t next_blk;	 /* the ranges ascend: none begins before this */
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
		if (runs[i].start_blk < f->next_blk)
			return bow_err(err, -EUCLEAN, "the ranges to zero do not ascend");
		f->next_blk = runs[i].start_blk + runs[i].count_blk;
		if (bow_bitmap_set(f->zero, runs[i].start_blk, runs[i].count_blk))
			return bow_err_errno(err, -ENOMEM, "cannot read the plan");
	}
	return 0;
}

/* A block of the plan itself: it is zeroed only when sector 0 is in place. */
static int add_own(struct finish *f, uint64_t blk, struct bowimg_error *err)
{
	if (!bow_parking_ok(f->sb, blk, 1, bow_bitmap_bits(f->late)))
		return bow_err(err, -EUCLEAN, "the plan lies outside the image");
	if (bow_bitmap_test(f->late, blk))
		return bow_err(err, -EUCLEAN, "the plan has block %" PRIu64 " twice", blk);
	if (bow_bitmap_set(f->late, blk, 1))
		return bow_err_errno(err, -ENOMEM, "cannot read the plan");
	return 0;
}

static int read_list(struct finish *f, struct bowimg_error *err)
{
	struct bow_run runs[BOW_FINISH_RUNS];
	uint64_t blk = f->sb->finish_list_blk;
	uint8_t block[BOW_BLOCK];
	uint32_t n;
	int rc = 0;

	/* The list ends, because no block may be in it twice. */
	while (blk != BOW_NO_BLK && !rc) {
		rc = add_own(f, blk, err);
		if (!rc)
			rc = bow_disk_read(f->dev, block, sizeof(block), blk * BOW_BLOCK, err);
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
		rc = bow_disk_read(f->dev, f->block0, BOW_BLOCK,
				   f->sb->finish_block0_blk * BOW_BLOCK, err);
	if (!rc && bow_hash(f->block0, BOW_BLOCK, f->sb->seed) != f->sb->finish_block0_hash)
		rc = bow_err(err, -EBADMSG, "block 0's final content is damaged");
	return rc;
}

/* Zero the listed blocks whose bit in f->late is `late`. */
static int zero(struct finish *f, bool late, struct bowimg_error *err)
{
	uint64_t s = 0, n, k, count = bow_bitmap_bits(f->zero);
	int rc = 0;

	for (; !rc && bow_bitmap_next_run(f->zero, &s, &n, count); s += k) {
		bool own = bow_bitmap_test(f->late, s);

		k = bow_bitmap_next(f->late, s, s + n, !own) - s;
		if (own == late)
			rc = bow_disk_zero(f->dev, s * BOW_BLOCK, k * BOW_BLOCK, BOW_ZERO_PUNCH,
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
	/* The barrier behind sectors 1-7 covers the zeros, too. */
	if (!rc)
		rc = bow_finish_block0(f->dev, f->block0, err);
	if (!rc)
		rc = zero(f, true, err);
	if (!rc)
		rc = bow_disk_flush(f->dev, err);
	return rc ? rc : bow_finish_cut(f->dev, f->sb->image_size, err);
}

int bow_finish_resume(struct bowimg_disk *dev, const struct bow_super *sb, struct bowimg_error *err)
{
	struct finish f = {.dev = dev, .sb = sb};
	int rc = -ENOMEM;

	f.zero = bow_bitmap_new(bow_super_image_blk(sb));
	f.late = bow_bitmap_new(bow_max(bow_super_image_blk(sb), dev->size / BOW_BLOCK));
	if (f.zero && f.late)
		rc = carry_out(&f, err);
	else
		bow_err_errno(err, rc, "cannot read the plan");
	bow_bitmap_free(f.zero);
	bow_bitmap_free(f.late);
	return rc ? bow_err_wrap(err, rc, "cannot finish the last step") : 0;
}

int bow_finish_block0(struct bowimg_disk *dev, const uint8_t block0[BOW_BLOCK],
		      struct bowimg_error *err)
{
	int rc = bow_disk_write_first(dev, block0 + BOW_SUPER_BYTES, BOW_NOTE_BYTES,
				      BOW_SUPER_BYTES, err);

	if (!rc)
		rc = bow_disk_flush(dev, err);
	/* Sector 0 ends the checkpoint; until then everything can be run again [I5]. */
	if (!rc)
		rc = bow_disk_write_first(dev, block0, BOW_SUPER_BYTES, 0, err);
	if (!rc)
		rc = bow_disk_flush(dev, err);
	return rc ? bow_err_wrap(err, rc, "cannot put block 0 back") : 0;
}

int bow_finish_cut(struct bowimg_disk *dev, uint64_t image_size, struct bowimg_error *err)
{
	int rc;

	if (!dev->can_grow)
		return 0;
	/* Another program may have opened a checkpoint with a tail since (rule 16). */
	rc = bow_disk_check_first(dev, err);
	/* Also if the size is right: this gives back the space reserved past the end. */
	if (!rc)
		rc = bow_disk_resize(dev, image_size, err);
	if (!rc)
		rc = bow_disk_flush(dev, err);
	return rc ? bow_err_wrap(err, rc, "cannot cut the tail") : 0;
}

/* Only a rollback finishes a rollback, and only a commit a commit. */
static int refuse_other(bool undoing, struct bowimg_error *err)
{
	const char *other = undoing ? "commit" : "rollback";

	bow_err(err, -EINPROGRESS, "a %s is all but finished", other);
	bow_err_hint(err, "run 'bowimg %s' to finish it", other);
	return -EINPROGRESS;
}

int bow_finish_again(struct bow_opened *o, bool undoing, const struct bowimg_end_options *opts,
		     struct bowimg_error *err)
{
	const struct bow_super *sb = &o->cp.sb;

	if (!o->cut_only && undoing != !!(sb->flags & BOW_SUPER_UNDOING))
		return refuse_other(undoing, err);
	if (opts->dry_run)
		return 0;
	if (undoing && opts->again) {
		bow_err(err, -EINPROGRESS, "it is all but rolled back, and its free map is gone");
		bow_err_hint(err, "finish it with 'bowimg rollback', then 'bowimg prepare' again");
		return -EINPROGRESS;
	}
	return o->cut_only ? bow_finish_cut(o->dev, sb->image_size, err)
			   : bow_finish_resume(o->dev, sb, err);
}
