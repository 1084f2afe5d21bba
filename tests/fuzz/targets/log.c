/* SPDX-License-Identifier: MIT */
/* Walking and loading a log, and checking its backups: writes nothing, whatever the log says. */
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "lib/own/steps.h"

/* What check_against_map() promised to everybody above. */
static void check_states(const struct bow_checkpoint *cp)
{
	const struct bow_blocks *b = &cp->blocks;

	for (uint64_t blk = 0; blk < b->count; blk++) {
		bool is_free = bow_bitmap_test(b->free, blk);

		if (bow_bitmap_test(b->held, blk) && (!is_free || bow_bitmap_test(b->taken, blk)))
			fuzz_die("block %d is held, and somebody else's", (int)blk);
		if (is_free && (blk == 0 || blk >= cp->sb.image_size / BOW_BLOCK))
			fuzz_die("block %d is free", (int)blk);
	}
	if (!bow_parking_ok(&cp->sb, cp->original0_blk, 1,
			    bow_max(b->count, cp->dev->size / BOW_BLOCK)))
		fuzz_die("block 0's original is nowhere");
}

static int load(struct bowimg_disk *dev, const struct bow_super *sb)
{
	struct bow_checkpoint cp = {.dev = dev, .sb = *sb};
	struct bowimg_end_report report = {0};
	struct bowimg_events events = {0};
	struct bowimg_error err = {0};
	int rc = fuzz_check_error(bow_checkpoint_load(&cp, &err), &err);

	if (!rc) {
		check_states(&cp);
		rc = fuzz_check_error(bow_restore_check(&cp, NULL, &events, &report, &err), &err);
	}
	bow_checkpoint_release(&cp);
	return rc;
}

static void run(const uint8_t *data, size_t size)
{
	struct fuzz_built b;
	struct fuzz_fence f;

	if (!fuzz_build(data, size, &b))
		return;
	fuzz_fence_init(&f, b.dev);
	f.look_only = true;
	if (b.super && b.sb.image_size <= b.dev->size)
		load(&f.dev, &b.sb);
	fuzz_fence_release(&f);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	struct bowimg_disk *dev;

	if (i >= FUZZ_LIVES)
		return false;
	dev = fuzz_life(i);
	fuzz_dump(dev, (dev->can_grow ? 0 : FUZZ_DEVICE) | FUZZ_FIT, 0, out);
	bow_disk_close(dev, NULL);
	return true;
}

const struct fuzz_target fuzz_log = {"log", run, seed, fuzz_mutate};
