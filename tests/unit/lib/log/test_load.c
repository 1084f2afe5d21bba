/* SPDX-License-Identifier: MIT */
/* What a log says about every block, and the logs that are refused because it cannot be true. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "hand_log.h"

enum { A = 4, B = 8, X = 50, Y = 54 };

static int load(struct hand_log *h, struct bow_checkpoint *cp)
{
	memset(cp, 0, sizeof(*cp));
	memset(&h->err, 0, sizeof(h->err));
	cp->dev = h->dev;
	cp->sb = h->sb;
	return bow_checkpoint_load(cp, &h->err);
}

/* The log so far, and h with it, is refused. */
static void assert_refused(struct hand_log *h, int code, const char *words)
{
	struct bow_checkpoint cp;
	int rc = load(h, &cp);

	if (rc != code || !strstr(h->err.message, words))
		fail_msg("%d '%s', not %d '%s'", rc, h->err.message, code, words);
	bow_checkpoint_release(&cp);
	hand_log_release(h);
}

static enum bow_block_state at(const struct bow_checkpoint *cp, uint64_t blk)
{
	return bow_blocks_state(&cp->blocks, blk);
}

static void every_block_has_the_state_that_the_log_gives_it(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 2);
	hand_log_one(&h, hand_copy(&h, A, X, 2, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, B, 3));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, Y, 4));
	hand_log_one(&h, hand_copy(&h, X, 60, 1, BOW_ENTRY_MOVE));
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(at(&cp, 0), BOW_SAVED);
	assert_int_equal(at(&cp, 1), BOW_ORIGINAL);
	assert_int_equal(at(&cp, A), BOW_SAVED);
	assert_int_equal(at(&cp, B + 2), BOW_SAVED);
	assert_int_equal(at(&cp, HAND_ORIGINAL0), BOW_HELD);
	assert_int_equal(at(&cp, HAND_LIVE0), BOW_HELD);
	assert_int_equal(at(&cp, HAND_SEGMENT + 1), BOW_HELD);
	assert_int_equal(at(&cp, HAND_SEGMENT + 2), BOW_FREE);
	assert_int_equal(at(&cp, X), BOW_LIVE); /* moved on: the file system's now */
	assert_int_equal(at(&cp, X + 1), BOW_HELD);
	assert_int_equal(at(&cp, 60), BOW_HELD);
	assert_int_equal(at(&cp, Y + 3), BOW_LIVE);
	assert_int_equal(at(&cp, 63), BOW_FREE);
	assert_int_equal(cp.entries, 6);
	assert_int_equal(cp.next_seq, 6);
	assert_int_equal(cp.changed_blk, 6); /* block 0 too, by its copies */
	assert_int_equal(cp.backup_blk, 2);
	assert_int_equal(cp.log_blk, 2);
	assert_int_equal(cp.original0_blk, HAND_ORIGINAL0);
	assert_int_equal(cp.tail_next, HAND_BLK);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void block_0_is_changed_when_its_live_copy_is(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	memcpy(hand_block(&h, HAND_LIVE0), hand_block(&h, 0), BOW_BLOCK);
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(cp.changed_blk, 0);
	bow_checkpoint_release(&cp);
	hand_block(&h, HAND_LIVE0)[100] ^= 1;
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(cp.changed_blk, 1);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

/* They go last, when free space is zeroed; plain backups may go before. */
static void the_log_and_block_0s_copies_are_kept_apart(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_log_switch(&h, 40, 1);
	hand_log_one(&h, hand_copy(&h, HAND_SEGMENT, 60, 1, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_copy(&h, HAND_ORIGINAL0, 61, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, HAND_SEGMENT, 1);
	hand_scribble(&h, HAND_ORIGINAL0, 1);
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(cp.original0_blk, 61);
	assert_int_equal(bow_bitmap_count(cp.kept), 4);
	assert_true(bow_bitmap_test(cp.kept, HAND_LIVE0));
	assert_true(bow_bitmap_test(cp.kept, 40));
	assert_true(bow_bitmap_test(cp.kept, 60));
	assert_true(bow_bitmap_test(cp.kept, 61));
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void of_zero_pending_and_zero_done_the_newest_counts(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 2);
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO_PENDING, 1, 10));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO_DONE, 3, 4));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO_PENDING, 5, 1));
	assert_int_equal(load(&h, &cp), 0);
	for (uint64_t b = 0; b < 12; b++)
		assert_int_equal(bow_bitmap_test(cp.blocks.zero_pending, b),
				 b == 1 || b == 2 || b == 5 || (b >= 7 && b <= 10));
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

/* A block lives in a circle: the newest of what took it and what gave it back decides. */
static void a_block_that_was_given_back_may_have_any_new_use(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 4, 0));
	hand_log_one(&h, hand_copy(&h, X, Y, 4, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 4));
	hand_log_one(&h, hand_copy(&h, B, X, 1, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X + 1, 1));
	hand_log_switch(&h, X + 2, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO_DONE, X + 1, 1));
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(at(&cp, X), BOW_HELD);
	assert_int_equal(at(&cp, X + 1), BOW_LIVE);
	assert_int_equal(at(&cp, X + 2), BOW_HELD);
	assert_int_equal(at(&cp, X + 3), BOW_FREE);
	assert_int_equal(at(&cp, Y + 3), BOW_HELD);
	for (uint64_t b = 0; b < 4; b++)
		assert_int_equal(bow_bitmap_test(cp.blocks.zero_pending, X + b), b != 1);
	assert_int_equal(cp.gives, 1);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void block_0s_live_copy_may_lie_in_a_block_that_was_given_back(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X, 2));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 2));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, HAND_LIVE0, 1));
	h.sb.live0_blk = X;
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(at(&cp, X), BOW_HELD);
	assert_int_equal(at(&cp, X + 1), BOW_FREE);
	assert_int_equal(at(&cp, HAND_LIVE0), BOW_LIVE);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void giving_back_sets_z_and_a_lift_from_before_does_not_count(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X, 2));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO_DONE, X, 2));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 2));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X, 1));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO_DONE, X, 1));
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(at(&cp, X), BOW_LIVE);
	assert_int_equal(at(&cp, X + 1), BOW_FREE);
	assert_false(bow_bitmap_test(cp.blocks.zero_pending, X));
	assert_true(bow_bitmap_test(cp.blocks.zero_pending, X + 1));
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void giving_back_what_the_file_system_does_not_have_is_refused(void **state)
{
	static const uint64_t not_taken[] = {X, HAND_ORIGINAL0, HAND_SEGMENT, A, Y + 1};
	struct hand_log h;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		hand_log_begin(&h, 512, 1);
		hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, Y, 1));
		hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, not_taken[i], 1));
		assert_refused(&h, -EUCLEAN,
			       i == 1 ? "which the file system has"
				      : "gives back a block that the file system");
	}
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X, 4));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 2));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X + 1, 2));
	assert_refused(&h, -EUCLEAN, "block 51 is given back twice");
	/* A used block that is "taken" and given back again. */
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, B, 1));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, B, 1));
	assert_refused(&h, -EUCLEAN, "the log uses a block that is not free");
}

static void something_put_on_a_taken_block_is_refused_though_it_is_given_back_later(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X, 2));
	hand_log_one(&h, hand_copy(&h, A, X + 1, 1, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 2));
	assert_refused(&h, -EUCLEAN, "put at block 51, which the file system has");
	/* Two things in one place, and no GIVE between them. */
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_log_one(&h, hand_copy(&h, B, X, 1, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X, 1));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 1));
	assert_refused(&h, -EUCLEAN, "two things are put at block 50");
}

/* So a chain of segments cannot ask for more to be read than there is. */
static void two_segments_in_one_place_are_refused_although_a_give_lies_between(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, X, 4);
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, B, 1));
	hand_log_switch(&h, 40, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, X + 3, 1));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X + 3, 1));
	hand_log_switch(&h, X + 3, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, A, 1));
	assert_refused(&h, -EUCLEAN, "two things are put at block 53");
}

static void blocks_of_the_tail_are_counted_as_used(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	assert_int_equal(bow_disk_resize(h.dev, 80 * BOW_BLOCK, &h.err), 0);
	hand_log_one(&h, hand_copy(&h, A, 70, 4, 0));
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(cp.tail_next, 74);
	assert_int_equal(at(&cp, A + 3), BOW_SAVED);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void what_moved_to_both_sides_of_the_images_end_is_held_on_both(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	assert_int_equal(bow_disk_resize(h.dev, 80 * BOW_BLOCK, &h.err), 0);
	hand_log_one(&h, hand_copy(&h, A, X, 4, 0));
	hand_log_one(&h, hand_copy(&h, X, HAND_BLK - 2, 2, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_copy(&h, X + 2, HAND_BLK, 2, BOW_ENTRY_MOVE));
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(cp.tail_next, HAND_BLK + 2);
	assert_int_equal(at(&cp, HAND_BLK - 2), BOW_HELD);
	assert_int_equal(at(&cp, HAND_BLK - 1), BOW_HELD);
	assert_int_equal(at(&cp, X + 3), BOW_LIVE);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void what_has_to_be_redone_is_handed_on(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_entry(&h, A, X, 3, 0));
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(cp.redos, 1);
	assert_int_equal(cp.redo[0].source_blk, A);
	assert_int_equal(cp.redo[0].dest_blk, X);
	assert_int_equal(cp.redo[0].count_blk, 3);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void a_block_backed_up_twice_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 2, 0));
	hand_log_one(&h, hand_copy(&h, A + 1, Y, 2, 0));
	assert_refused(&h, -EUCLEAN, "is backed up twice");
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 2, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, A + 1, 1));
	assert_refused(&h, -EUCLEAN, "is backed up twice");
}

static void a_log_that_uses_used_blocks_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, B, 1, 0));
	assert_refused(&h, -EUCLEAN, "the log uses a block that is not free");
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, HAND_FREE - 1, 1));
	assert_refused(&h, -EUCLEAN, "the log uses a block that is not free");
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, BOW_ENTRY_MOVE));
	assert_refused(&h, -EUCLEAN, "the log uses a block that is not free");
}

static void a_segment_on_used_blocks_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, B, 1);
	assert_refused(&h, -EUCLEAN, "the log uses a block that is not free");
}

static void a_backup_of_a_free_block_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, X, Y, 1, 0));
	assert_refused(&h, -EUCLEAN, "the log backs up a block that is free");
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, X, 1));
	assert_refused(&h, -EUCLEAN, "the log backs up a block that is free");
}

/* A log of one record: block 0's backup if `dest0`, and this piece of the free map. */
static void begin_with_map(struct hand_log *h, uint64_t dest0, struct bow_entry map)
{
	struct bow_entry e[2];
	uint32_t n = 0;

	hand_log_init(h, 512, 1);
	if (dest0)
		e[n++] = hand_copy(h, 0, dest0, 1, 0);
	e[n++] = map;
	hand_log_record(h, e, n);
}

static void a_free_map_of_another_size_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	begin_with_map(&h, HAND_ORIGINAL0, hand_map_run(HAND_FREE, 31));
	assert_refused(&h, -EUCLEAN, "the saved free map is not complete");
	begin_with_map(&h, HAND_ORIGINAL0, hand_map_run(HAND_FREE - 1, 33));
	assert_refused(&h, -EUCLEAN,
		       "the saved free map has more blocks than the superblock counts");
}

static void a_free_map_with_block_0_or_a_partial_block_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	begin_with_map(&h, HAND_ORIGINAL0, hand_map_run(0, HAND_BLK));
	h.sb.free_total_blk = HAND_BLK;
	assert_refused(&h, -EUCLEAN, "the saved free map names a block that is in use");
	hand_log_begin(&h, 512, 1);
	h.sb.image_size -= 512;
	assert_refused(&h, -EUCLEAN, "the saved free map names a block that is in use");
}

static void a_log_that_does_not_save_block_0_alone_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	begin_with_map(&h, 0, hand_map_run(HAND_FREE, HAND_BLK - HAND_FREE));
	assert_refused(&h, -EUCLEAN, "the log does not save block 0");
	/* Block 0 has its own copies, and its own rules. */
	hand_log_init(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, 0, X, 2, 0));
	hand_log_one(&h, hand_map_run(HAND_FREE, HAND_BLK - HAND_FREE));
	assert_refused(&h, -EUCLEAN, "block 0 is saved together with others");
}

/* The free map as a block of bits at X. */
static struct bow_entry map_bits(struct hand_log *h)
{
	struct bow_entry e = {
		.type = BOW_ENTRY_MAP_BITS,
		.count_blk = 1,
		.dest_blk = X,
	};

	memset(hand_block(h, X), 0, BOW_BLOCK);
	memset(hand_block(h, X) + HAND_FREE / 8, 0xff, (HAND_BLK - HAND_FREE) / 8);
	e.hash = bow_hash(hand_block(h, X), BOW_BLOCK, h->sb.seed);
	return e;
}

static void begin_with_bits(struct hand_log *h)
{
	struct bow_entry e[2];

	hand_log_init(h, 512, 1);
	e[0] = hand_copy(h, 0, HAND_ORIGINAL0, 1, 0);
	e[1] = map_bits(h);
	hand_log_record(h, e, 2);
}

static void a_free_map_of_bits_is_read_even_after_it_moved(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	begin_with_bits(&h);
	hand_log_one(&h, hand_copy(&h, X, Y, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, X, 1);
	assert_int_equal(load(&h, &cp), 0);
	assert_int_equal(at(&cp, HAND_FREE - 1), BOW_ORIGINAL);
	assert_int_equal(at(&cp, X), BOW_LIVE);
	assert_int_equal(at(&cp, Y), BOW_HELD);
	assert_true(bow_bitmap_test(cp.kept, Y));
	assert_false(bow_bitmap_test(cp.kept, X));
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

static void a_free_map_of_bits_that_rotted_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	begin_with_bits(&h);
	hand_block(&h, X)[5] ^= 4;
	assert_refused(&h, -EBADMSG, "the saved free map is damaged");
}

static void block_0s_live_copy_lies_in_a_block_of_its_own(void **state)
{
	static const uint64_t on_other_data[] = {HAND_ORIGINAL0, HAND_SEGMENT, X, Y};
	static const uint64_t outside[] = {0, HAND_BLK, UINT64_MAX};
	struct hand_log h;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		hand_log_begin(&h, 512, 1);
		hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
		hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, Y, 1));
		h.sb.live0_blk = on_other_data[i];
		assert_refused(&h, -EUCLEAN, "block 0's live copy lies on other data");
	}
	for (size_t i = 0; i < 3; i++) {
		hand_log_begin(&h, 512, 1);
		h.sb.live0_blk = outside[i];
		assert_refused(&h, -EUCLEAN, "block 0's live copy lies outside the image");
	}
	hand_log_begin(&h, 512, 1);
	h.sb.live0_blk = HAND_FREE - 1;
	assert_refused(&h, -EUCLEAN, "the log uses a block that is not free");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_block_has_the_state_that_the_log_gives_it),
		cmocka_unit_test(block_0_is_changed_when_its_live_copy_is),
		cmocka_unit_test(the_log_and_block_0s_copies_are_kept_apart),
		cmocka_unit_test(of_zero_pending_and_zero_done_the_newest_counts),
		cmocka_unit_test(a_block_that_was_given_back_may_have_any_new_use),
		cmocka_unit_test(block_0s_live_copy_may_lie_in_a_block_that_was_given_back),
		cmocka_unit_test(giving_back_sets_z_and_a_lift_from_before_does_not_count),
		cmocka_unit_test(giving_back_what_the_file_system_does_not_have_is_refused),
		cmocka_unit_test(
			something_put_on_a_taken_block_is_refused_though_it_is_given_back_later),
		cmocka_unit_test(
			two_segments_in_one_place_are_refused_although_a_give_lies_between),
		cmocka_unit_test(blocks_of_the_tail_are_counted_as_used),
		cmocka_unit_test(what_moved_to_both_sides_of_the_images_end_is_held_on_both),
		cmocka_unit_test(what_has_to_be_redone_is_handed_on),
		cmocka_unit_test(a_block_backed_up_twice_is_refused),
		cmocka_unit_test(a_log_that_uses_used_blocks_is_refused),
		cmocka_unit_test(a_segment_on_used_blocks_is_refused),
		cmocka_unit_test(a_backup_of_a_free_block_is_refused),
		cmocka_unit_test(a_free_map_of_another_size_is_refused),
		cmocka_unit_test(a_free_map_with_block_0_or_a_partial_block_is_refused),
		cmocka_unit_test(a_log_that_does_not_save_block_0_alone_is_refused),
		cmocka_unit_test(a_free_map_of_bits_is_read_even_after_it_moved),
		cmocka_unit_test(a_free_map_of_bits_that_rotted_is_refused),
		cmocka_unit_test(block_0s_live_copy_lies_in_a_block_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
