/* SPDX-License-Identifier: MIT */
/* The sparse bitmap against a plain array of booleans, and its promises about memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "lib/blocks/bitmap.h"

#define BITS (4 * BOW_LEAF_BITS + 12345)

static uint64_t random_state = 88172645463325252u;

static uint64_t rnd(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static uint64_t array_next(const bool *array, uint64_t from, uint64_t end, bool value)
{
	while (from < end && array[from] != value)
		from++;
	return from;
}

static uint64_t array_count(const bool *array, uint64_t start, uint64_t count)
{
	uint64_t set = 0;

	for (uint64_t i = start; i < start + count; i++)
		set += array[i];
	return set;
}

/* A range that is short, or a few leaves long, or ends on a leaf or on the map's end. */
static void random_range(uint64_t *start, uint64_t *count)
{
	*start = rnd(3) ? rnd(BITS) : rnd(5) * BOW_LEAF_BITS;
	switch (rnd(4)) {
	case 0:
		*count = 1 + rnd(70);
		break;
	case 1:
		*count = BOW_LEAF_BITS * (1 + rnd(2));
		break;
	case 2:
		*count = rnd(BITS);
		break;
	default:
		*count = BITS;
	}
	if (*count > BITS - *start)
		*count = BITS - *start;
}

static void assert_same(const struct bow_bitmap *map, const bool *array)
{
	uint64_t start, count, from;

	assert_int_equal(bow_bitmap_count(map), array_count(array, 0, BITS));
	random_range(&start, &count);
	assert_int_equal(bow_bitmap_count_range(map, start, count),
			 array_count(array, start, count));
	for (int value = 0; value < 2; value++) {
		uint64_t next = array_next(array, start, start + count, value);

		assert_int_equal(bow_bitmap_next(map, start, start + count, value), next);
		assert_int_equal(bow_bitmap_all(map, start, count, !value), next == start + count);
	}
	from = rnd(BITS);
	assert_int_equal(bow_bitmap_test(map, from), array[from]);
}

static void assert_runs(const struct bow_bitmap *map, const bool *array)
{
	uint64_t start = 0, count, expect = 0;

	while (bow_bitmap_next_run(map, &start, &count, BITS)) {
		expect = array_next(array, expect, BITS, true);
		assert_int_equal(start, expect);
		expect = array_next(array, expect, BITS, false);
		assert_int_equal(start + count, expect);
		start += count;
	}
	assert_int_equal(array_next(array, expect, BITS, true), BITS);
}

static void assert_leaves(const struct bow_bitmap *map, const bool *array)
{
	static uint8_t leaf[BOW_LEAF_BYTES];

	for (uint64_t i = 0; i * BOW_LEAF_BITS < BITS; i++) {
		bow_bitmap_get_leaf(map, i, leaf);
		for (uint64_t bit = 0; bit < BOW_LEAF_BITS; bit++) {
			uint64_t at = i * BOW_LEAF_BITS + bit;

			assert_int_equal(leaf[bit / 8] >> (bit % 8) & 1, at < BITS && array[at]);
		}
	}
}

static void change(struct bow_bitmap *map, bool *array)
{
	uint64_t start, count;
	bool value = rnd(2);

	random_range(&start, &count);
	if (value)
		assert_int_equal(bow_bitmap_set(map, start, count), 0);
	else
		assert_int_equal(bow_bitmap_clear(map, start, count), 0);
	memset(array + start, value, count);
}

static void random_changes_agree_with_a_plain_array(void **state)
{
	bool *array = calloc(BITS, 1);
	struct bow_bitmap *map = bow_bitmap_new(BITS);

	(void)state;
	assert_int_equal(bow_bitmap_bits(map), BITS);
	for (int i = 0; i < 1500; i++) {
		if (i == 700) {
			/* From here on some leaves are materialised and full or empty. */
			assert_int_equal(bow_bitmap_reserve(map, BOW_LEAF_BITS - 1, 2), 0);
			assert_same(map, array);
		}
		change(map, array);
		assert_same(map, array);
		if (i % 50 == 0) {
			assert_runs(map, array);
			assert_leaves(map, array);
		}
	}
	bow_bitmap_free(map);
	free(array);
}

static void merge_and_intersect_agree_with_plain_arrays(void **state)
{
	bool *x = calloc(BITS, 1), *y = calloc(BITS, 1);

	(void)state;
	for (int round = 0; round < 60; round++) {
		struct bow_bitmap *a = bow_bitmap_new(BITS), *b = bow_bitmap_new(BITS), *copy;
		bool both = false;

		memset(x, 0, BITS);
		memset(y, 0, BITS);
		for (int i = 0; i < round % 4; i++)
			change(a, x);
		for (int i = 0; i < round % 3; i++)
			change(b, y);
		for (uint64_t i = 0; i < BITS; i++) {
			both |= x[i] && y[i];
			x[i] |= y[i];
		}
		assert_int_equal(bow_bitmap_intersects(a, b), both);
		assert_int_equal(bow_bitmap_merge(a, b), 0);
		copy = bow_bitmap_dup(a);
		bow_bitmap_free(a);
		assert_leaves(copy, x);
		assert_leaves(b, y);
		assert_same(copy, x);
		bow_bitmap_free(copy);
		bow_bitmap_free(b);
	}
	free(x);
	free(y);
}

/* The same for a map of several groups of 256 leaves: each boolean stands for an eighth of a leaf.
 */
#define CELL (BOW_LEAF_BITS / 8)
#define CELLS (2 * 256 * 8 + 1003u)
#define GROUP_CELLS (256u * 8)

static void random_cells(uint64_t *start, uint64_t *count)
{
	*start = rnd(2) ? rnd(CELLS) : rnd(3) * GROUP_CELLS;
	*count = rnd(3) ? 1 + rnd(3 * GROUP_CELLS) : 1 + rnd(20);
	if (rnd(3) == 0)
		*count = GROUP_CELLS * (1 + rnd(3));
	if (*count > CELLS - *start)
		*count = CELLS - *start;
}

static void change_cells(struct bow_bitmap *map, bool *array)
{
	uint64_t start, count;
	bool value = rnd(2);

	random_cells(&start, &count);
	if (value)
		assert_int_equal(bow_bitmap_set(map, start * CELL, count * CELL), 0);
	else
		assert_int_equal(bow_bitmap_clear(map, start * CELL, count * CELL), 0);
	memset(array + start, value, count);
}

static void assert_same_cells(const struct bow_bitmap *map, const bool *array)
{
	uint64_t start, count, from;
	bool value = rnd(2);

	random_cells(&start, &count);
	from = start + rnd(count);
	assert_int_equal(bow_bitmap_count(map), array_count(array, 0, CELLS) * CELL);
	assert_int_equal(bow_bitmap_count_range(map, start * CELL, count * CELL),
			 array_count(array, start, count) * CELL);
	assert_int_equal(bow_bitmap_next(map, from * CELL, (start + count) * CELL, value),
			 array_next(array, from, start + count, value) * CELL);
	assert_int_equal(bow_bitmap_test(map, from * CELL + rnd(CELL)), array[from]);
	for (uint64_t run = 0; bow_bitmap_next_run(map, &run, &count, CELLS * CELL); run += count) {
		assert_int_equal(run % CELL, 0);
		assert_int_equal(count % CELL, 0);
		assert_int_equal(array_count(array, run / CELL, count / CELL), count / CELL);
	}
}

static void changes_of_whole_groups_agree_with_a_plain_array(void **state)
{
	bool x[CELLS], y[CELLS];

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct bow_bitmap *a = bow_bitmap_new(CELLS * CELL), *copy;
		struct bow_bitmap *b = bow_bitmap_new(CELLS * CELL);
		bool both = false;

		memset(x, 0, CELLS);
		memset(y, 0, CELLS);
		if (round % 7 == 0)
			assert_int_equal(bow_bitmap_reserve(a, rnd(CELLS) * CELL, 1), 0);
		for (int i = 0; i < round % 5; i++) {
			change_cells(a, x);
			assert_same_cells(a, x);
		}
		for (int i = 0; i < round % 3; i++)
			change_cells(b, y);
		for (uint64_t i = 0; i < CELLS; i++) {
			both |= x[i] && y[i];
			x[i] |= y[i];
		}
		assert_int_equal(bow_bitmap_intersects(a, b), both);
		assert_int_equal(bow_bitmap_merge(a, b), 0);
		copy = bow_bitmap_dup(a);
		bow_bitmap_free(a);
		assert_same_cells(copy, x);
		change_cells(copy, x);
		assert_same_cells(copy, x);
		assert_same_cells(b, y);
		bow_bitmap_free(copy);
		bow_bitmap_free(b);
	}
}

static void an_empty_range_changes_nothing(void **state)
{
	struct bow_bitmap *map = bow_bitmap_new(BITS);
	uint64_t start = 0, count;

	(void)state;
	assert_int_equal(bow_bitmap_set(map, BITS, 0), 0);
	assert_int_equal(bow_bitmap_clear(map, 0, 0), 0);
	assert_int_equal(bow_bitmap_reserve(map, BITS, 0), 0);
	assert_int_equal(bow_bitmap_count(map), 0);
	assert_int_equal(bow_bitmap_count_range(map, BITS, 0), 0);
	assert_true(bow_bitmap_all(map, BITS, 0, true));
	assert_false(bow_bitmap_next_run(map, &start, &count, BITS));
	bow_bitmap_free(map);
	bow_bitmap_free(NULL);
}

static long resident_kib(void)
{
	struct rusage used;

	assert_int_equal(getrusage(RUSAGE_SELF, &used), 0);
	return used.ru_maxrss;
}

static void a_map_of_a_pebibyte_costs_little_until_it_is_mixed(void **state)
{
	const uint64_t bits = (uint64_t)1 << 38;
	const long before = resident_kib();
	struct bow_bitmap *map = bow_bitmap_new(bits), *copy = bow_bitmap_new(bits);
	uint64_t start = 0, count;

	(void)state;
	assert_int_equal(bow_bitmap_merge(copy, map), 0);
	assert_false(bow_bitmap_intersects(copy, map));
	assert_int_equal(bow_bitmap_set(map, 1, bits - 2), 0);
	assert_int_equal(bow_bitmap_count(map), bits - 2);
	assert_true(bow_bitmap_next_run(map, &start, &count, bits));
	assert_int_equal(start, 1);
	assert_int_equal(count, bits - 2);
	assert_int_equal(bow_bitmap_count_range(map, 0, bits), bits - 2);
	assert_int_equal(bow_bitmap_merge(copy, map), 0);
	bow_bitmap_free(map);
	map = bow_bitmap_dup(copy);
	assert_int_equal(bow_bitmap_count(map), bits - 2);
	bow_bitmap_free(map);
	bow_bitmap_free(copy);
	assert_in_range(resident_kib() - before, 0, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_agree_with_a_plain_array),
		cmocka_unit_test(merge_and_intersect_agree_with_plain_arrays),
		cmocka_unit_test(an_empty_range_changes_nothing),
		cmocka_unit_test(changes_of_whole_groups_agree_with_a_plain_array),
		cmocka_unit_test(a_map_of_a_pebibyte_costs_little_until_it_is_mixed),
	};

	return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
