/* SPDX-License-Identifier: MIT */
/* Exact mode: of the free blocks only those that read as zeros stay free, and holes are not read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/freespace/freemap.h"
#include "rng.h"

#define BLOCK BOWIMG_BLOCK_SIZE
#define EXTENTS 64

/* A device whose holes are where the test says, in bytes, and which counts what is read. */
struct holed {
	struct bowimg_disk dev;
	uint8_t *bytes;
	uint64_t end[EXTENTS]; /* where each extent ends, ascending; every second one is a hole */
	uint64_t read, largest, asked;
	bool fail_read, fail_extent;
};

static bool is_hole(const struct holed *h, uint64_t off, uint64_t *end)
{
	size_t i = 0;

	while (h->end[i] <= off)
		i++;
	*end = h->end[i];
	return i % 2;
}

static int64_t holed_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct holed *h = (struct holed *)dev;

	if (h->fail_read)
		return -EIO;
	memcpy(buf, h->bytes + off, bytes);
	h->read += bytes;
	h->largest = bow_max(h->largest, bytes);
	return (int64_t)bytes;
}

static int holed_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct holed *h = (struct holed *)dev;
	uint64_t end;

	if (h->fail_extent)
		return -EIO;
	h->asked++;
	*hole = is_hole(h, off, &end);
	*bytes = end - off;
	return 0;
}

static const struct bow_backend_ops holed_ops = {.read = holed_read, .extent = holed_extent};

static struct holed *holed_new(uint64_t size)
{
	struct holed *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	h->bytes = calloc(1, size);
	assert_non_null(h->bytes);
	h->dev = (struct bowimg_disk){.ops = &holed_ops, .name = "holed", .size = size};
	h->end[0] = size;
	return h;
}

static void holed_free(struct holed *h)
{
	free(h->bytes);
	free(h);
}

static void random_extents(struct holed *h, struct rng *rng)
{
	uint64_t at = 0;
	size_t i = 0;

	/* Not aligned with anything, as no file system promises that. */
	while (at < h->dev.size) {
		uint64_t n = 1 + rng_below(rng, rng_chance(rng, 30) ? 3000 : 90000);

		at = i == EXTENTS - 1 ? h->dev.size : bow_min(h->dev.size, at + n);
		if (i % 2 == 0 && rng_chance(rng, 60))
			h->bytes[at - 1] = 1;
		h->end[i++] = at;
	}
}

static void only_zero_blocks_stay_free(void **state)
{
	struct rng rng = {7};

	(void)state;
	for (int round = 0; round < 100; round++) {
		struct holed *h = holed_new(200 * BLOCK + rng_below(&rng, BLOCK));
		struct bow_bitmap *map = bow_bitmap_new(bow_div_up(h->dev.size, BLOCK));
		bool was_free[202] = {false};
		uint64_t holes = 0, sum = 1, end;

		random_extents(h, &rng);
		for (uint64_t b = 1; b < 200; b++)
			if (rng_chance(&rng, 80)) {
				was_free[b] = true;
				bow_bitmap_set(map, b, 1);
			}
		for (uint64_t at = BLOCK; at < 200 * BLOCK; at++)
			sum += was_free[at / BLOCK] && is_hole(h, at, &end);
		assert_int_equal(bow_freemap_hole_bytes(&h->dev, map, &holes, NULL), 0);
		assert_int_equal(holes, sum - 1);
		assert_int_equal(bow_freemap_keep_zeros(&h->dev, map, NULL, NULL), 0);
		for (uint64_t b = 0; b < 200; b++)
			assert_int_equal(bow_bitmap_test(map, b),
					 was_free[b] && bow_is_zero(h->bytes + b * BLOCK, BLOCK));
		bow_bitmap_free(map);
		holed_free(h);
	}
}

static void told(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	uint64_t *last = ctx;

	assert_string_equal(what, "read free map");
	assert_true(done > *last && done <= total);
	*last = done;
}

static void holes_are_not_read_and_data_only_in_pieces(void **state)
{
	const uint64_t size = 64u << 20;
	struct holed *h = holed_new(size);
	struct bow_bitmap *map = bow_bitmap_new(size / BLOCK);
	uint64_t last = 0;
	struct bowimg_events events = {.progress = told, .ctx = &last};

	(void)state;
	h->end[0] = 10u << 20;
	h->end[1] = size;
	/* Many runs: the device is asked once an extent all the same. */
	for (uint64_t b = 1; b < size / BLOCK; b += 2)
		bow_bitmap_set(map, b, 1);
	bow_bitmap_set(map, 256, 1024);
	assert_int_equal(bow_freemap_keep_zeros(&h->dev, map, &events, NULL), 0);
	assert_true(h->read <= 10u << 20);
	assert_int_equal(h->largest, 1u << 20);
	assert_int_equal(h->asked, 2);
	assert_int_equal(last, bow_bitmap_count(map) * BLOCK);
	bow_bitmap_free(map);
	holed_free(h);
}

static void a_sparse_tebibyte_is_done_without_reading_it(void **state)
{
	const uint64_t size = (uint64_t)1 << 40;
	struct holed *h = holed_new(BLOCK);
	struct bow_bitmap *map = bow_bitmap_new(size / BLOCK);
	uint64_t holes = 0;

	(void)state;
	h->dev.size = size;
	h->end[0] = BLOCK;
	h->end[1] = size;
	bow_bitmap_set(map, 1, size / BLOCK - 1);
	assert_int_equal(bow_freemap_hole_bytes(&h->dev, map, &holes, NULL), 0);
	assert_int_equal(holes, size - BLOCK);
	assert_int_equal(bow_freemap_keep_zeros(&h->dev, map, NULL, NULL), 0);
	assert_int_equal(bow_bitmap_count(map), size / BLOCK - 1);
	assert_int_equal(h->read, 0);
	bow_bitmap_free(map);
	holed_free(h);
}

static void errors_of_the_device_are_passed_on(void **state)
{
	struct holed *h = holed_new(64 * BLOCK);
	struct bow_bitmap *map = bow_bitmap_new(64);
	struct bowimg_error err = {0};
	uint64_t holes;

	(void)state;
	bow_bitmap_set(map, 1, 63);
	h->fail_read = true;
	assert_int_equal(bow_freemap_keep_zeros(&h->dev, map, NULL, &err), -EIO);
	assert_non_null(strstr(err.message, "holed: read"));
	h->fail_extent = true;
	assert_int_equal(bow_freemap_keep_zeros(&h->dev, map, NULL, NULL), -EIO);
	assert_int_equal(bow_freemap_hole_bytes(&h->dev, map, &holes, &err), -EIO);
	bow_bitmap_free(map);
	holed_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_zero_blocks_stay_free),
		cmocka_unit_test(holes_are_not_read_and_data_only_in_pieces),
		cmocka_unit_test(a_sparse_tebibyte_is_done_without_reading_it),
		cmocka_unit_test(errors_of_the_device_are_passed_on),
	};

	return cmocka_run_group_tests_name("exact", tests, NULL, NULL);
}
