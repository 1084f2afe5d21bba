/* SPDX-License-Identifier: MIT */
/* The set of changed blocks, against plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bowimg/diff/changed.h"
#include "rng.h"

#define BLOCKS 400u

static void changes_are_cut_to_the_window_and_widened_to_blocks(void **state)
{
	struct bow_changed c = {.off = 10000, .bytes = 100 * 8192, .block_size = 8192};
	const struct bowimg_change before = {.off = 0, .bytes = 10000};
	const struct bowimg_change half = {.off = 8192, .bytes = 4096, .was_free = true};
	const struct bowimg_change whole = {
		.off = 10000 + 3 * 8192, .bytes = 3 * 8192 + 1, .was_free = true};
	const struct bowimg_change past = {.off = 10000 + 99 * 8192, .bytes = UINT64_C(1) << 40};
	uint64_t start;

	(void)state;
	assert_int_equal(bow_changed_add(&c, &before), 0);
	assert_int_equal(bow_changed_add(&c, &half), 0);
	assert_int_equal(bow_changed_add(&c, &whole), 0);
	assert_int_equal(bow_changed_add(&c, &past), 0);
	assert_int_equal(bow_changed_finish(&c), 0);
	assert_int_equal(c.blocks, 1 + 4 + 1);
	/* Of what was free, only blocks that were so as a whole are settled. */
	assert_int_equal(c.open, 3);
	assert_int_equal(bow_changed_next(&c, 0, 100, &start), 1);
	assert_int_equal(start, 0);
	assert_int_equal(bow_changed_next(&c, 1, 100, &start), 4);
	assert_int_equal(start, 3);
	assert_int_equal(bow_changed_next_open(&c, 1, 100, &start), 1);
	assert_int_equal(start, 6);
	assert_int_equal(bow_changed_next(&c, 7, 99, &start), 0);
	bow_changed_release(&c);
}

static void make(struct bow_changed *c, bool *changed, struct rng *rng)
{
	for (uint32_t blk = 0; blk < BLOCKS;) {
		const uint32_t n = rng_between(rng, 1, 5);
		const struct bowimg_change change = {.off = blk * 4096, .bytes = n * 4096};

		if (rng_chance(rng, 50)) {
			assert_int_equal(bow_changed_add(c, &change), 0);
			for (uint32_t k = blk; k < blk + n && k < BLOCKS; k++)
				changed[k] = true;
		}
		blk += n;
	}
	assert_int_equal(bow_changed_finish(c), 0);
}

/* The first run of set elements in [from, end). */
static uint64_t expected(const bool *set, uint32_t from, uint32_t end, uint64_t *start)
{
	uint32_t n = 0;

	while (from < end && !set[from])
		from++;
	while (from + n < end && set[from + n])
		n++;
	*start = from;
	return n;
}

static void check(const struct bow_changed *c, const bool *changed, const bool *open,
		  struct rng *rng)
{
	const uint32_t from = rng_below(rng, BLOCKS), end = rng_below(rng, BLOCKS + 1);
	uint64_t start = 0, wanted = 0, n = bow_changed_next(c, from, end, &start), left = 0;

	assert_int_equal(n, expected(changed, from, end, &wanted));
	assert_true(!n || start == wanted);
	n = bow_changed_next_open(c, from, end, &start);
	/* A run of open blocks may end where a range does. */
	assert_int_equal(n != 0, expected(open, from, end, &wanted) != 0);
	assert_true(!n || start == wanted);
	for (uint32_t i = 0; i < BLOCKS; i++)
		left += open[i];
	assert_int_equal(c->open, left);
}

static void settling_agrees_with_a_plain_array(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct bow_changed c = {.bytes = BLOCKS * 4096, .block_size = 4096};
		bool changed[BLOCKS] = {false}, open[BLOCKS];
		struct rng rng = {seed};

		make(&c, changed, &rng);
		memcpy(open, changed, sizeof(open));
		for (int step = 0; step < 60; step++) {
			const uint32_t from = rng_below(&rng, BLOCKS);
			const uint32_t end = from + rng_below(&rng, 9);
			bool news = false;

			for (uint32_t i = from; i < end && i < BLOCKS; i++) {
				news |= open[i];
				open[i] = false;
			}
			assert_int_equal(bow_changed_settle(&c, from, end), news);
			check(&c, changed, open, &rng);
		}
		bow_changed_release(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_are_cut_to_the_window_and_widened_to_blocks),
		cmocka_unit_test(settling_agrees_with_a_plain_array),
	};

	return cmocka_run_group_tests_name("changed", tests, NULL, NULL);
}
