/* SPDX-License-Identifier: MIT */
/*
 * Every operation on a whole hostile image. What must hold, whatever the image says [I7]:
 * nothing is written outside; what only looks writes nothing; a block that the state table keeps
 * from an operation is not touched by it; damage is found before the first write [I6]; and a
 * rollback that succeeds comes to what a replay of the log backwards comes to [I3].
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "mem_dev.h"
#include "lib/verbs/rescue/rescue.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"
#include "disk_before.h"

enum op { LOOK, ROLLBACK, COMMIT, WIPE, AGAIN, SERVE, RESCUE, OPS };

/* The image as it was found. */
struct before {
	bool loaded;
	struct bow_opened o;
	uint8_t *restored;	  /* by model.c */
	struct bow_bitmap *asked; /* what the guest wrote to */
};

static int check_change(void *ctx, const struct bowimg_change *c)
{
	uint64_t *reached = ctx;

	if (c->off < *reached || !c->bytes)
		fuzz_die("changes are out of order");
	*reached = c->off + c->bytes;
	return 0;
}

/* Before is what a replay of the log backwards comes to. */
static void check_block(bowimg_disk *look, const struct before *b, uint64_t off, size_t n)
{
	uint8_t before[BOW_BLOCK], now[BOW_BLOCK];
	uint64_t blk = off / BOW_BLOCK;

	if (disk_read_before(look, before, n, off, NULL) ||
	    bowimg_disk_read(look, now, n, off, NULL))
		return;
	if (b && b->restored && !bow_bitmap_test(b->o.cp.blocks.free, blk) &&
	    memcmp(before, b->restored + off, n))
		fuzz_die("block %d was not what a replay makes it", (int)blk);
}

/* b: the image as it still is, or NULL. */
static void look_at_both(struct fuzz_fence *f, const struct before *b)
{
	struct bowimg_error err = {0};
	uint64_t size, reached = 0;
	bowimg_disk *look;
	size_t n;

	if (fuzz_check_error(bow_view_open(&f->dev, BOWIMG_FORCE_CHANGED, &look, &err), &err))
		return;
	size = bowimg_disk_size(look);
	for (uint64_t off = 0; off < size && off < f->dev.size; off += n) {
		n = (size_t)bow_min(BOW_BLOCK, size - off);
		check_block(look, b, off, n);
	}
	bowimg_disk_changes(look, check_change, &reached, NULL);
	if (reached > size)
		fuzz_die("changes reach beyond the end");
	bowimg_disk_close(look, NULL);
}

static void look(struct fuzz_fence *f, const struct before *b)
{
	static const struct bowimg_end_options dry = {.dry_run = true,
						      .force = BOWIMG_FORCE_CHANGED};
	struct bowimg_end_report report;
	struct bowimg_status status;
	struct bowimg_error err = {0};

	f->look_only = true;
	fuzz_check_error(bow_status_dev(&f->dev, BOWIMG_FORCE_CHANGED, &status, &err), &err);
	memset(&err, 0, sizeof(err));
	fuzz_check_error(bow_verify_dev(&f->dev, &dry, &report, &err), &err);
	memset(&err, 0, sizeof(err));
	fuzz_check_error(bow_rollback_dev(&f->dev, &dry, &report, &err), &err);
	memset(&err, 0, sizeof(err));
	fuzz_check_error(bow_commit_dev(&f->dev, &dry, &report, &err), &err);
	look_at_both(f, b);
	f->look_only = false;
}

static void load_before(struct fuzz_fence *f, struct before *b)
{
	int rc = bow_checkpoint_open(&f->dev, 0, BOWIMG_FORCE_CHANGED, &b->o, NULL);

	b->loaded = !rc && b->o.loaded;
	b->asked = bow_bitmap_new(f->touched_blk);
	if (!b->asked)
		abort();
	if (b->loaded)
		b->restored = fuzz_replay(&f->dev, &b->o.cp.sb);
}

static void release_before(struct before *b)
{
	bow_opened_release(&b->o);
	bow_bitmap_free(b->asked);
	free(b->restored);
}

/* ---- what may be touched --------------------------------------------------------- */

static bool may_touch(const struct before *b, enum op op, uint64_t blk)
{
	const struct bow_blocks *blocks = &b->o.cp.blocks;
	enum bow_block_state state = bow_blocks_state(blocks, blk);
	bool exact = b->o.cp.sb.flags & BOW_SUPER_EXACT;
	bool zero = bow_bitmap_test(blocks->zero_pending, blk);

	if (blk == 0 || state == BOW_FREE || state == BOW_HELD)
		return true;
	switch (op) {
	case ROLLBACK:
		/* On a device that is full, the plan of the last step has no other place. */
		if (state == BOW_LIVE && !b->o.cp.dev->can_grow)
			return true;
		/* fallthrough */
	case RESCUE:
		return state == BOW_SAVED || (state == BOW_LIVE && exact);
	case AGAIN:
		return state != BOW_ORIGINAL;
	case COMMIT:
	case WIPE:
		return zero;
	case SERVE:
		return bow_bitmap_test(b->asked, blk);
	default:
		return false;
	}
}

static void check_touched(const struct fuzz_fence *f, const struct before *b, enum op op, int rc)
{
	bool damaged = rc == -EBADMSG || rc == -EUCLEAN;

	if (b->o.state != BOWIMG_STATE_CHECKPOINT && b->o.state != BOWIMG_STATE_ROLLING_BACK &&
	    b->o.state != BOWIMG_STATE_COMMITTING)
		return;
	for (uint64_t blk = 0; blk < b->o.cp.blocks.count; blk++) {
		if (!f->touched[blk])
			continue;
		if (damaged && op != SERVE)
			fuzz_die("block %d was touched, and then the image was damaged", (int)blk);
		if (b->loaded && !may_touch(b, op, blk))
			fuzz_die("block %d was touched", (int)blk);
	}
}

static void check_restored(const struct fuzz_fence *f, const struct before *b)
{
	const struct bow_blocks *blocks = &b->o.cp.blocks;
	const uint8_t *now = mem_dev_bytes(f->inner);

	for (uint64_t blk = 0; blk < blocks->count; blk++) {
		size_t n = bow_super_bytes(&b->o.cp.sb, blk, 1);

		if (!bow_bitmap_test(blocks->free, blk) &&
		    memcmp(now + blk * BOW_BLOCK, b->restored + blk * BOW_BLOCK, n))
			fuzz_die("block %d is not what a replay of the log makes it", (int)blk);
	}
}

/* ---- the operations -------------------------------------------------------------- */

static int run_end(struct fuzz_fence *f, enum op op)
{
	struct bowimg_end_options opts = {
		.force = BOWIMG_FORCE_CHANGED, .again = op == AGAIN, .wipe = op == WIPE};
	struct bowimg_end_report report;
	struct bowimg_error err = {0};
	int rc = op == COMMIT || op == WIPE ? bow_commit_dev(&f->dev, &opts, &report, &err)
					    : bow_rollback_dev(&f->dev, &opts, &report, &err);

	return fuzz_check_error(rc, &err);
}

static void request(struct fuzz_fence *f, struct before *b, bowimg_disk *img, uint32_t word)
{
	static const uint8_t data[3 * BOW_BLOCK] = {1, 2, 3};
	uint8_t back[3 * BOW_BLOCK];
	uint64_t size = bowimg_disk_size(img), off = word % size;
	size_t n = (size_t)bow_min(1 + (word >> 8) % sizeof(data), size - off);
	uint64_t first = off / BOW_BLOCK, end = bow_div_up(off + n, BOW_BLOCK);
	int rc;

	if (bow_bitmap_set(b->asked, first, bow_min(end, f->touched_blk) - first))
		abort();
	if (word >> 31) {
		bowimg_disk_zero(img, off, n, 0, NULL);
		return;
	}
	rc = bowimg_disk_write(img, data, n, off, 0, NULL);
	if (!rc && (bowimg_disk_read(img, back, n, off, NULL) || memcmp(back, data, n)))
		fuzz_die("what was written is not what is read");
}

static int serve(struct fuzz_fence *f, struct before *b, const uint8_t *data, size_t size)
{
	static const struct bowimg_open_options opts = {.force = BOWIMG_FORCE_CHANGED};
	struct bowimg_error err = {0};
	bowimg_disk *img;
	int rc = fuzz_check_error(bow_serve_dev(&f->dev, &opts, &img, &err), &err);

	if (rc)
		return rc;
	/* Requests from the end of the input. */
	for (unsigned i = 1; i <= 8 && i * 4 <= size; i++)
		request(f, b, img, bow_get32(data + size - i * 4));
	return fuzz_check_error(bowimg_disk_close(img, &err), &err);
}

static int rescue(struct fuzz_fence *f)
{
	static const struct bowimg_rescue_options opts = {.write = true,
							  .force = BOWIMG_FORCE_CHANGED};
	struct bowimg_rescue_report report;
	struct bowimg_error err = {0};
	int rc = fuzz_check_error(bow_rescue_dev(&f->dev, &opts, &report, &err), &err);

	if (rc)
		return rc;
	rc = run_end(f, ROLLBACK);
	/* A forged log may keep all blocks of a device, the plan's room too; no engine does. */
	if (rc && (rc != -ENOSPC || f->dev.can_grow))
		fuzz_die("what was rescued cannot be rolled back (%d)", rc);
	return 0;
}

static void run_op(struct fuzz_fence *f, struct before *b, enum op op, const uint8_t *data,
		   size_t size)
{
	int rc;

	if (op == SERVE)
		rc = serve(f, b, data, size);
	else if (op == RESCUE)
		rc = rescue(f);
	else
		rc = run_end(f, op);
	if (b->loaded || op != RESCUE)
		check_touched(f, b, op, rc);
	if (!rc && op == ROLLBACK && b->restored && b->o.state == BOWIMG_STATE_CHECKPOINT)
		check_restored(f, b);
	/* Whatever came out must be looked at without harm, too. */
	if (op != SERVE) {
		fuzz_expect_success(false);
		look(f, NULL);
	}
}

static void run(const uint8_t *data, size_t size)
{
	struct before b = {0};
	struct fuzz_built built;
	struct fuzz_fence f;
	enum op op;

	if (!fuzz_build(data, size, &built))
		return;
	op = built.op % OPS;
	fuzz_fence_init(&f, built.dev);
	load_before(&f, &b);
	if (op == LOOK)
		look(&f, &b);
	else
		run_op(&f, &b, op, data, size);
	release_before(&b);
	fuzz_fence_release(&f);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	enum op op = i % OPS;
	struct bowimg_disk *dev;
	uint8_t flags = FUZZ_FIT | FUZZ_NOTE;

	if (i >= FUZZ_LIVES * OPS)
		return false;
	dev = fuzz_life(i / OPS);
	flags |= dev->can_grow ? 0 : FUZZ_DEVICE;
	flags |= op == RESCUE ? FUZZ_LOST : 0;
	fuzz_dump(dev, flags, (uint8_t)op, out);
	bow_disk_close(dev, NULL);
	return true;
}

const struct fuzz_target fuzz_image = {"image", run, seed, fuzz_mutate};
