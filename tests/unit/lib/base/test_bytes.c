/* SPDX-License-Identifier: MIT */
/* Little-endian access, ranges at the edge of 64 bits, the zero scan and the hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "lib/base/bytes.h"

static void numbers_are_little_endian_at_any_alignment(void **state)
{
	const uint8_t wanted[8] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
	uint8_t buf[16];

	(void)state;
	for (size_t at = 0; at < 8; at++) {
		bow_put64(buf + at, 0x0123456789abcdefu);
		assert_memory_equal(buf + at, wanted, 8);
		assert_true(bow_get64(buf + at) == 0x0123456789abcdefu);
		assert_true(bow_get32(buf + at) == 0x89abcdefu);
		assert_true(bow_get16(buf + at) == 0xcdefu);
		bow_put32(buf + at, 0x11223344u);
		assert_int_equal(buf[at], 0x44);
		bow_put16(buf + at, 0x5566u);
		assert_int_equal(buf[at], 0x66);
	}
}

static void ranges_that_wrap_or_are_empty_are_refused(void **state)
{
	(void)state;
	assert_true(bow_range_ok(0, 10, 10));
	assert_true(bow_range_ok(9, 1, 10));
	assert_false(bow_range_ok(10, 1, 10));
	assert_false(bow_range_ok(0, 0, 10));
	assert_false(bow_range_ok(5, 6, 10));
	assert_false(bow_range_ok(UINT64_MAX, 2, UINT64_MAX));
	assert_false(bow_range_ok(5, UINT64_MAX - 2, 10));
	assert_true(bow_div_up(UINT64_MAX, 4096) == UINT64_MAX / 4096 + 1);
}

static void one_bit_anywhere_is_not_zero(void **state)
{
	static const size_t sizes[] = {1, 7, 15, 16, 17, 31, 33, 512, 4096, 4099};

	(void)state;
	assert_true(bow_is_zero("", 0));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *buf = calloc(1, sizes[i]); /* exact, so that sanitizers see an overrun */

		assert_non_null(buf);
		assert_true(bow_is_zero(buf, sizes[i]));
		for (size_t at = 0; at < sizes[i]; at++) {
			buf[at] = 0x80;
			assert_false(bow_is_zero(buf, sizes[i]));
			buf[at] = 0;
		}
		free(buf);
	}
}

/* The figures are part of the on-disk format: they are xxHash's published ones for no input. */
static void the_hash_is_seeded_xxh3(void **state)
{
	(void)state;
	assert_true(bow_hash("", 0, 0) == 0x2d06800538d394c2u);
	assert_true(bow_hash("bow", 3, 1) != bow_hash("bow", 3, 2));
	assert_true(bow_hash("bow", 3, 1) == bow_hash("bow", 3, 1));
	assert_true(bow_hash("bow", 3, 1) != bow_hash("bov", 3, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_little_endian_at_any_alignment),
		cmocka_unit_test(ranges_that_wrap_or_are_empty_are_refused),
		cmocka_unit_test(one_bit_anywhere_is_not_zero),
		cmocka_unit_test(the_hash_is_seeded_xxh3),
	};

	return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
