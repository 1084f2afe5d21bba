/* SPDX-License-Identifier: MIT */
/* Handing out blocks: by zones, by runs, nothing twice, nothing that is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/log/log.h"

#define ZONE_BLK 4096u /* as in alloc.c */

struct supply {
	struct bow_blocks blocks;
	struct bow_alloc alloc;
};

/* Three zones, the last of which is short; free: all but block 0, a gap in the middle one. */
static void begin_supply(struct supply *s)
{
	assert_int_equal(bow_blocks_init(&s->blocks, 2 * ZONE_BLK + 10), 0);
	bow_bitmap_set(s->blocks.free, 1, 2 * ZONE_BLK + 9);
	bow_bitmap_clear(s->blocks.free, ZONE_BLK + 4, 2);
	bow_alloc_init(&s->alloc, &s->blocks, 2 * ZONE_BLK + 10, 2 * ZONE_BLK + 20);
}

static void zones_are_used_from_the_back_and_ascending_inside(void **state)
{
	struct supply s;
	uint64_t start;

	(void)state;
	begin_supply(&s);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 4, &start), 4);
	assert_int_equal(start, 2 * ZONE_BLK);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 100, &start), 6);
	assert_int_equal(start, 2 * ZONE_BLK + 4);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 100, &start), 4);
	assert_int_equal(start, ZONE_BLK);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 100, &start), 100);
	assert_int_equal(start, ZONE_BLK + 6);
	assert_int_equal(bow_blocks_state(&s.blocks, ZONE_BLK + 6), BOW_HELD);
	bow_blocks_release(&s.blocks);
}

static void runs_that_are_too_short_are_skipped_and_found_later(void **state)
{
	struct supply s;
	uint64_t start;

	(void)state;
	begin_supply(&s);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 11, 20, &start), 20);
	assert_int_equal(start, ZONE_BLK + 6);
	/* Everything is handed out in the end, the skipped ones too, and nothing twice. */
	while (bow_alloc_free_run(&s.alloc, 1, 256, &start))
		;
	assert_int_equal(s.alloc.free_blk, 0);
	assert_int_equal(bow_bitmap_count(s.blocks.held), 2 * ZONE_BLK + 9 - 2);
	assert_int_equal(bow_bitmap_count(s.blocks.held), bow_bitmap_count(s.blocks.free));
	bow_blocks_release(&s.blocks);
}

static void nothing_is_given_that_is_shorter_than_asked(void **state)
{
	struct supply s;
	uint64_t start = 99;

	(void)state;
	assert_int_equal(bow_blocks_init(&s.blocks, 100), 0);
	bow_bitmap_set(s.blocks.free, 10, 1);
	bow_bitmap_set(s.blocks.free, 12, 1);
	bow_alloc_init(&s.alloc, &s.blocks, 100, 100);
	assert_int_equal(s.alloc.free_blk, 2);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 2, 2, &start), 0);
	assert_int_equal(start, 99);
	assert_int_equal(s.alloc.free_blk, 2);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 2, &start), 1);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 2, &start), 1);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 2, &start), 0);
	bow_blocks_release(&s.blocks);
}

static void taken_blocks_are_not_handed_out_until_they_are_given_back(void **state)
{
	struct supply s;
	uint64_t start;

	(void)state;
	assert_int_equal(bow_blocks_init(&s.blocks, 100), 0);
	bow_bitmap_set(s.blocks.free, 50, 4);
	bow_bitmap_set(s.blocks.taken, 53, 1); /* LIVE from the start */
	bow_bitmap_set(s.blocks.taken, 3, 1);  /* SAVED: not free, and so not counted */
	bow_alloc_init(&s.alloc, &s.blocks, 100, 100);
	assert_int_equal(s.alloc.free_blk, 3);
	bow_alloc_take(&s.alloc, 50, 3);
	assert_int_equal(bow_blocks_state(&s.blocks, 52), BOW_LIVE);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 9, &start), 0);
	bow_alloc_untake(&s.alloc, 51, 2);
	assert_int_equal(s.alloc.free_blk, 2);
	assert_int_equal(bow_alloc_free_run(&s.alloc, 1, 9, &start), 2);
	assert_int_equal(start, 51);
	bow_blocks_release(&s.blocks);
}

static void the_tail_is_handed_out_in_order_up_to_its_end(void **state)
{
	struct supply s;
	uint64_t start;

	(void)state;
	begin_supply(&s);
	assert_int_equal(bow_alloc_tail_run(&s.alloc, 1, 4, &start), 4);
	assert_int_equal(start, 2 * ZONE_BLK + 10);
	assert_int_equal(bow_alloc_tail_run(&s.alloc, 7, 9, &start), 0);
	assert_int_equal(bow_alloc_tail_run(&s.alloc, 1, 9, &start), 6);
	assert_int_equal(start, 2 * ZONE_BLK + 14);
	assert_int_equal(bow_alloc_tail_run(&s.alloc, 1, 9, &start), 0);
	assert_int_equal(bow_alloc_tail_run(&s.alloc, 0, 9, &start), 0);
	bow_blocks_release(&s.blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zones_are_used_from_the_back_and_ascending_inside),
		cmocka_unit_test(runs_that_are_too_short_are_skipped_and_found_later),
		cmocka_unit_test(nothing_is_given_that_is_shorter_than_asked),
		cmocka_unit_test(taken_blocks_are_not_handed_out_until_they_are_given_back),
		cmocka_unit_test(the_tail_is_handed_out_in_order_up_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
