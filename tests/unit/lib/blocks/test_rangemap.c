/* SPDX-License-Identifier: MIT */
/* The range map against a plain array, and with hostile orders of keys. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/blocks/rangemap.h"

#define BLOCKS 600u
#define NOTHING UINT64_MAX

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t rnd(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* Does block b+1's answer continue block b's? */
static bool continues(const uint64_t *array, uint64_t b)
{
	if (array[b] == NOTHING)
		return array[b + 1] == NOTHING;
	return array[b + 1] == array[b] + 1;
}

static void assert_same(const struct bow_rangemap *map, const uint64_t *array)
{
	size_t runs = 0;
	uint64_t b = 0;

	while (b < BLOCKS) {
		uint64_t value = 7, end = b;
		bool found = false;
		uint64_t n = bow_rangemap_get(map, b, BLOCKS - b, &value, &found);

		while (end + 1 < BLOCKS && continues(array, end))
			end++;
		assert_int_equal(n, end + 1 - b);
		assert_int_equal(found, array[b] != NOTHING);
		assert_int_equal(value, found ? array[b] : 7);
		runs += found;
		b += n;
	}
	assert_int_equal(bow_rangemap_nodes(map), runs);
}

static void assert_same_at_random_places(const struct bow_rangemap *map, const uint64_t *array)
{
	for (int i = 0; i < 10; i++) {
		uint64_t at = rnd(BLOCKS), count = 1 + rnd(BLOCKS - at), value = 0;
		bool found;
		uint64_t n = bow_rangemap_get(map, at, count, &value, &found);

		assert_true(n >= 1 && n <= count);
		assert_int_equal(found, array[at] != NOTHING);
		for (uint64_t k = 0; k < n; k++)
			assert_int_equal(array[at + k], found ? value + k : NOTHING);
		if (n < count)
			assert_false(continues(array, at + n - 1));
	}
}

static void change(struct bow_rangemap *map, uint64_t *array)
{
	uint64_t start = rnd(BLOCKS), count = rnd(rnd(20) ? 12 : 300), value = rnd(64);
	bool erase = rnd(3) == 0;

	if (count > BLOCKS - start)
		count = BLOCKS - start;
	/* Often continue what is there, so that merging on both sides happens. */
	if (start > 0 && rnd(2) && array[start - 1] != NOTHING)
		value = array[start - 1] + 1;
	if (erase)
		assert_int_equal(bow_rangemap_erase(map, start, count), 0);
	else
		assert_int_equal(bow_rangemap_set(map, start, count, value), 0);
	for (uint64_t i = 0; i < count; i++)
		array[start + i] = erase ? NOTHING : value + i;
}

static void random_changes_agree_with_a_plain_array(void **state)
{
	uint64_t array[BLOCKS];
	struct bow_rangemap *map = bow_rangemap_new();

	(void)state;
	for (uint64_t b = 0; b < BLOCKS; b++)
		array[b] = NOTHING;
	for (int i = 0; i < 30000; i++) {
		change(map, array);
		assert_same_at_random_places(map, array);
		if (i % 10 == 0)
			assert_same(map, array);
	}
	bow_rangemap_free(map);
}

static void move(struct bow_rangemap *map, uint64_t *array)
{
	uint64_t count = 1 + rnd(rnd(4) ? 12 : 200), from = rnd(BLOCKS - 2 * count), to;

	to = from + count + rnd(BLOCKS - from - 2 * count + 1);
	if (rnd(2)) {
		uint64_t other = to;

		to = from;
		from = other;
	}
	assert_int_equal(bow_rangemap_move(map, from, to, count), 0);
	for (uint64_t i = 0; i < count; i++) {
		array[to + i] = array[from + i] == NOTHING ? from + i : array[from + i];
		array[from + i] = NOTHING;
	}
}

static void random_moves_agree_with_a_plain_array(void **state)
{
	uint64_t array[BLOCKS], value = 0;
	bool found;
	struct bow_rangemap *map = bow_rangemap_new();

	(void)state;
	for (uint64_t b = 0; b < BLOCKS; b++)
		array[b] = NOTHING;
	for (int i = 0; i < 20000; i++) {
		if (rnd(3))
			move(map, array);
		else
			change(map, array);
		for (uint64_t b = 0; b < BLOCKS && i % 20 == 0; b++) {
			assert_int_equal(bow_rangemap_get(map, b, 1, &value, &found), 1);
			assert_int_equal(found, array[b] != NOTHING);
			assert_int_equal(found ? value : NOTHING, array[b]);
		}
	}
	bow_rangemap_free(map);
}

static void a_run_that_fills_a_gap_joins_both_neighbours(void **state)
{
	struct bow_rangemap *map = bow_rangemap_new();
	uint64_t value;
	bool found;

	(void)state;
	bow_rangemap_set(map, 10, 5, 100);
	bow_rangemap_set(map, 20, 5, 110);
	assert_int_equal(bow_rangemap_nodes(map), 2);
	bow_rangemap_set(map, 15, 5, 105);
	assert_int_equal(bow_rangemap_nodes(map), 1);
	assert_int_equal(bow_rangemap_get(map, 12, 100, &value, &found), 13);
	assert_true(found);
	assert_int_equal(value, 102);
	bow_rangemap_free(map);
}

static void erasing_the_middle_of_a_run_leaves_both_ends(void **state)
{
	struct bow_rangemap *map = bow_rangemap_new();
	uint64_t value;
	bool found;

	(void)state;
	bow_rangemap_set(map, 0, 100, 1000);
	bow_rangemap_erase(map, 40, 20);
	assert_int_equal(bow_rangemap_nodes(map), 2);
	assert_int_equal(bow_rangemap_get(map, 40, 100, &value, &found), 20);
	assert_false(found);
	assert_int_equal(bow_rangemap_get(map, 60, 100, &value, &found), 40);
	assert_int_equal(value, 1060);
	bow_rangemap_free(map);
}

static void runs_at_the_end_of_the_number_space_work_and_beyond_it_are_refused(void **state)
{
	struct bow_rangemap *map = bow_rangemap_new();
	uint64_t value = 0;
	bool found;

	(void)state;
	assert_int_equal(bow_rangemap_set(map, UINT64_MAX - 4, 5, 0), -EINVAL);
	assert_int_equal(bow_rangemap_set(map, 0, 5, UINT64_MAX - 4), -EINVAL);
	assert_int_equal(bow_rangemap_erase(map, 5, UINT64_MAX), -EINVAL);
	assert_int_equal(bow_rangemap_nodes(map), 0);
	assert_int_equal(bow_rangemap_set(map, UINT64_MAX - 5, 5, 9), 0);
	assert_int_equal(bow_rangemap_get(map, UINT64_MAX - 2, 2, &value, &found), 2);
	assert_true(found);
	assert_int_equal(value, 12);
	assert_int_equal(bow_rangemap_set(map, 3, 0, 9), 0);
	assert_int_equal(bow_rangemap_nodes(map), 1);
	bow_rangemap_free(map);
	bow_rangemap_free(NULL);
}

/* An ordinary tree would be a list a million nodes deep here, and this test would not end. */
static void a_million_keys_in_order_stay_fast(void **state)
{
	struct bow_rangemap *map = bow_rangemap_new();
	const uint64_t n = 1000000;
	uint64_t value;
	bool found;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(bow_rangemap_set(map, i * 2, 1, i), 0);
	assert_int_equal(bow_rangemap_nodes(map), n);
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(bow_rangemap_get(map, i * 2, 2, &value, &found), 1);
		assert_int_equal(value, i);
	}
	assert_int_equal(bow_rangemap_erase(map, 2, (n - 2) * 2), 0);
	assert_int_equal(bow_rangemap_nodes(map), 2);
	bow_rangemap_free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_agree_with_a_plain_array),
		cmocka_unit_test(random_moves_agree_with_a_plain_array),
		cmocka_unit_test(a_run_that_fills_a_gap_joins_both_neighbours),
		cmocka_unit_test(erasing_the_middle_of_a_run_leaves_both_ends),
		cmocka_unit_test(
			runs_at_the_end_of_the_number_space_work_and_beyond_it_are_refused),
		cmocka_unit_test(a_million_keys_in_order_stay_fast),
	};

	return cmocka_run_group_tests_name("rangemap", tests, NULL, NULL);
}
