/* SPDX-License-Identifier: MIT */
/* What the search for names keeps in memory, against plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bowimg/diff/names/names.h"
#include "rng.h"

static uint32_t nearest(const uint32_t *missing, uint32_t n, uint32_t ino)
{
	uint32_t best = BOW_TARGETS_NONE;

	for (uint32_t i = 0; i < n; i++)
		if (missing[i] && (i > ino ? i - ino : ino - i) < best)
			best = i > ino ? i - ino : ino - i;
	return best;
}

static void the_nearest_missing_number_is_found(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct bow_targets t = {0};
		uint32_t missing[200] = {0}, all[200] = {0};
		struct rng rng = {seed};

		for (uint32_t i = 0; i < 200; i++)
			if (rng_chance(&rng, 30)) {
				all[i] = missing[i] = rng_between(&rng, 1, 3);
				assert_int_equal(bow_targets_add(&t, i, missing[i]), 0);
			}
		assert_int_equal(bow_targets_seal(&t), 0);
		for (int step = 0; step < 600; step++) {
			const uint32_t ino = rng_below(&rng, 200);

			assert_int_equal(bow_targets_distance(&t, ino), nearest(missing, 200, ino));
			assert_int_equal(bow_targets_found(&t, ino), all[ino] != 0);
			missing[ino] -= missing[ino] != 0;
		}
		bow_targets_release(&t);
	}
}

#define DIRS 20000u

static void every_directory_has_one_index(void **state)
{
	struct bow_dirs dirs = {0};
	uint32_t index;

	(void)state;
	assert_int_equal(bow_dirs_find(&dirs, 2), BOW_NO_DIR);
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < DIRS; i++) {
			assert_int_equal(bow_dirs_get(&dirs, UINT32_MAX - 8192 * i, &index), 0);
			assert_int_equal(index, i);
		}
	assert_int_equal(dirs.n, DIRS);
	for (uint32_t i = 0; i < DIRS; i++) {
		assert_int_equal(bow_dirs_find(&dirs, UINT32_MAX - 8192 * i), i);
		assert_int_equal(bow_dirs_find(&dirs, UINT32_MAX - 8192 * i - 1), BOW_NO_DIR);
	}
	bow_dirs_release(&dirs);
}

/* A name that came is one of an inode in a directory: all three must be the same. */
static void a_fresh_link_is_counted_and_found(void **state)
{
	struct bow_diff_link added[] = {{.parent = 2, .ino = 12, .name = "b"},
					{.parent = 2, .ino = 11, .name = "a"},
					{.parent = 3, .ino = 12, .name = "a"}};
	struct bow_diff_link replaced[] = {{.parent = 2, .ino = 12, .old_ino = 14, .name = "a"}};
	struct bow_diff_link other = {.parent = 3, .ino = 12, .name = "b"};
	struct bow_diff d = {.added = {added, 3, 3}, .replaced = {replaced, 1, 1}};
	struct bow_fresh fresh = {0};

	(void)state;
	assert_int_equal(bow_fresh_collect(&d, &fresh, NULL), 0);
	assert_int_equal(bow_fresh_count(&fresh, 10), 0);
	assert_int_equal(bow_fresh_count(&fresh, 11), 1);
	assert_int_equal(bow_fresh_count(&fresh, 12), 3);
	assert_int_equal(bow_fresh_count(&fresh, 14), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(bow_fresh_has(&fresh, &added[i]));
	assert_true(bow_fresh_has(&fresh, &replaced[0]));
	assert_false(bow_fresh_has(&fresh, &other));
	bow_fresh_release(&fresh);
	assert_false(bow_fresh_has(&fresh, &added[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nearest_missing_number_is_found),
		cmocka_unit_test(every_directory_has_one_index),
		cmocka_unit_test(a_fresh_link_is_counted_and_found),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
