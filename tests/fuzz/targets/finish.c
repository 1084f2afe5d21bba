/* SPDX-License-Identifier: MIT */
/*
 * The last step of an end: list blocks, block 0's final content, footer. Zeroes what the plan says
 * and nothing else; done again, it comes to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "mem_dev.h"
#include "lib/verbs/operations.h"

/* Whole blocks that the valid list blocks of the image name; a set that is large enough. */
static void note_listed(struct fuzz_fence *f, const struct bow_super *sb, uint8_t *listed)
{
	struct bow_run runs[BOW_FINISH_RUNS];
	const uint8_t *bytes = mem_dev_bytes(f->inner);
	uint64_t next, whole = sb->image_size / BOW_BLOCK;
	uint32_t n;

	for (uint64_t blk = 1; blk < f->dev.size / BOW_BLOCK; blk++) {
		if (!bow_finish_decode(bytes + blk * BOW_BLOCK, sb, runs, &n, &next))
			continue;
		for (uint32_t i = 0; i < n; i++)
			if (bow_range_ok(runs[i].start_blk, runs[i].count_blk, whole))
				memset(listed + runs[i].start_blk, 1, runs[i].count_blk);
	}
	listed[0] = 1;
}

static void check_touched(const struct fuzz_fence *f, const struct bow_super *sb,
			  const uint8_t *listed, int rc)
{
	for (uint64_t blk = 0; blk < bow_super_image_blk(sb); blk++) {
		if (f->touched[blk] && !listed[blk])
			fuzz_die("block %d was touched, and no list names it", (int)blk);
		if (f->touched[blk] && (rc == -EBADMSG || rc == -EUCLEAN))
			fuzz_die("block %d was touched before the plan was checked", (int)blk);
	}
}

static int end(struct fuzz_fence *f, const struct bow_super *sb)
{
	static const struct bowimg_end_options opts = {.force = BOWIMG_FORCE_CHANGED};
	struct bowimg_end_report report;
	struct bowimg_error err = {0};
	int rc = sb->flags & BOW_SUPER_UNDOING ? bow_rollback_dev(&f->dev, &opts, &report, &err)
					       : bow_commit_dev(&f->dev, &opts, &report, &err);

	return fuzz_check_error(rc, &err);
}

/* Cut in the middle, and done again. */
static void run_plan(struct fuzz_fence *f, const struct bow_super *sb, uint8_t op)
{
	uint8_t *listed = calloc(1, f->touched_blk);
	int rc;

	if (!listed)
		abort();
	note_listed(f, sb, listed);
	f->cut = op != 0;
	f->writes_left = op;
	rc = end(f, sb);
	check_touched(f, sb, listed, rc);
	if (!rc && f->dev.can_grow && f->dev.size != sb->image_size)
		fuzz_die("a tail was left");
	if (rc == -EIO) {
		/* Sector 0 may be in place: a footer can say anything of the size then. */
		f->cut = false;
		end(f, sb);
		check_touched(f, sb, listed, 0);
	}
	free(listed);
}

static void run(const uint8_t *data, size_t size)
{
	struct bowimg_end_report report;
	struct bowimg_error err = {0};
	struct fuzz_built b;
	struct fuzz_fence f;

	if (!fuzz_build(data, size, &b))
		return;
	fuzz_fence_init(&f, b.dev);
	if (b.super && b.sb.state == BOW_SUPER_FINISHING && b.sb.image_size <= f.dev.size)
		run_plan(&f, &b.sb, b.op);
	else if (!b.super)
		fuzz_check_error(bow_rollback_dev(&f.dev, NULL, &report, &err), &err);
	fuzz_fence_release(&f);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	struct bowimg_disk *dev = NULL;

	if (i >= 2 * FUZZ_LIVES)
		return false;
	dev = fuzz_finishing_life(i / 2, i & 1);
	if (!dev)
		dev = fuzz_finishing_life(7, i & 1); /* with a tail, so that it needs a plan */
	fuzz_dump(dev, (dev->can_grow ? 0 : FUZZ_DEVICE) | FUZZ_FIT | FUZZ_NOTE, 0, out);
	bow_disk_close(dev, NULL);
	return true;
}

const struct fuzz_target fuzz_finish = {"finish", run, seed, fuzz_mutate};
