/* SPDX-License-Identifier: MIT */
/* The states of blocks, and the runs that have the same one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/blocks/blocks.h"

/*
 * 0-9 used, of which 2-3 SAVED; 10-19 free: 12-13 LIVE, 15-16 HELD; pending zeros on 1, 3, 11,
 * 13, 16.
 */
static void begin(struct bow_blocks *b)
{
	static const uint64_t pending[] = {1, 3, 11, 13, 16};

	assert_int_equal(bow_blocks_init(b, 20), 0);
	bow_bitmap_set(b->free, 10, 10);
	bow_bitmap_set(b->taken, 2, 2);
	bow_bitmap_set(b->taken, 12, 2);
	bow_bitmap_set(b->held, 15, 2);
	for (size_t i = 0; i < 5; i++)
		bow_bitmap_set(b->zero_pending, pending[i], 1);
}

static void states_follow_the_table(void **state)
{
	struct bow_blocks b;

	(void)state;
	begin(&b);
	assert_int_equal(bow_blocks_state(&b, 0), BOW_ORIGINAL);
	assert_int_equal(bow_blocks_state(&b, 2), BOW_SAVED);
	assert_int_equal(bow_blocks_state(&b, 10), BOW_FREE);
	assert_int_equal(bow_blocks_state(&b, 12), BOW_LIVE);
	assert_int_equal(bow_blocks_state(&b, 15), BOW_HELD);
	/* Taken over by the file system: what was held does not count any more. */
	bow_bitmap_set(b.taken, 15, 1);
	assert_int_equal(bow_blocks_state(&b, 15), BOW_LIVE);
	bow_blocks_release(&b);
}

static void a_run_has_one_state_and_one_zero_pending(void **state)
{
	static const struct {
		uint64_t n;
		enum bow_block_state state;
		bool zero;
	} runs[] = {
		{1, BOW_ORIGINAL, false}, {1, BOW_ORIGINAL, true},  {1, BOW_SAVED, false},
		{1, BOW_SAVED, true},	  {6, BOW_ORIGINAL, false}, {1, BOW_FREE, false},
		{1, BOW_FREE, true},	  {1, BOW_LIVE, false},	    {1, BOW_LIVE, true},
		{1, BOW_FREE, false},	  {1, BOW_HELD, false},	    {1, BOW_HELD, true},
		{3, BOW_FREE, false},
	};
	struct bow_blocks b;
	uint64_t blk = 0;

	(void)state;
	begin(&b);
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		enum bow_block_state s;
		bool zero;
		uint64_t n = bow_blocks_run(&b, blk, 20 - blk, &s, &zero);

		assert_int_equal(n, runs[i].n);
		assert_int_equal(s, runs[i].state);
		assert_int_equal(zero, runs[i].zero);
		assert_int_equal(bow_blocks_run(&b, blk, 1, &s, &zero), 1);
		blk += n;
	}
	assert_int_equal(blk, 20);
	bow_blocks_release(&b);
}

static void a_write_needs_nothing_where_all_is_taken_and_no_zero_is_pending(void **state)
{
	struct bow_blocks b;

	(void)state;
	begin(&b);
	assert_true(bow_blocks_settled(&b, 2, 1));
	assert_false(bow_blocks_settled(&b, 2, 2)); /* 3 has a pending zero */
	assert_false(bow_blocks_settled(&b, 0, 1));
	assert_false(bow_blocks_settled(&b, 10, 1));
	assert_false(bow_blocks_settled(&b, 15, 1));
	bow_bitmap_clear(b.zero_pending, 3, 1);
	assert_true(bow_blocks_settled(&b, 2, 2));
	assert_false(bow_blocks_settled(&b, 2, 3));
	bow_blocks_release(&b);
}

static void free_runs_skip_what_is_taken_or_held(void **state)
{
	struct bow_blocks b;
	uint64_t s = 0, n = 0;

	(void)state;
	begin(&b);
	assert_true(bow_blocks_next_free(&b, &s, &n, 20, 100));
	assert_true(s == 10 && n == 2);
	s += n;
	assert_true(bow_blocks_next_free(&b, &s, &n, 20, 100));
	assert_true(s == 14 && n == 1);
	s += n;
	assert_true(bow_blocks_next_free(&b, &s, &n, 20, 2));
	assert_true(s == 17 && n == 2); /* as many as were wanted */
	s = 15;
	assert_true(bow_blocks_next_free(&b, &s, &n, 18, 100));
	assert_true(s == 17 && n == 1); /* no further than `end` */
	s = 0;
	assert_false(bow_blocks_next_free(&b, &s, &n, 10, 100));
	bow_blocks_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_follow_the_table),
		cmocka_unit_test(a_run_has_one_state_and_one_zero_pending),
		cmocka_unit_test(a_write_needs_nothing_where_all_is_taken_and_no_zero_is_pending),
		cmocka_unit_test(free_runs_skip_what_is_taken_or_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
