/* SPDX-License-Identifier: MIT */
/* Linux swap space: free is what its header claims, and no page that the header calls bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/freespace/freemap.h"
#include "mem_dev.h"

#define SIZE (8u << 20)
#define BLOCK 4096u
#define HEAD_BLK 16u /* kept, whatever the page size */

struct swap {
	struct bowimg_disk *dev;
	struct bow_bitmap *map;
	struct bow_freemap_info info;
	bool big_endian;
};

static void put(struct swap *s, uint32_t at, uint32_t value)
{
	bow_put32(mem_dev_bytes(s->dev) + at, s->big_endian ? __builtin_bswap32(value) : value);
}

static struct swap make(uint32_t page_bytes, uint32_t pages, bool big_endian)
{
	struct swap s = {.dev = mem_dev_new(SIZE, SIZE), .big_endian = big_endian};

	s.map = bow_bitmap_new(SIZE / BLOCK);
	assert_non_null(s.map);
	put(&s, 1024, 1);
	put(&s, 1028, pages - 1);
	memcpy(mem_dev_bytes(s.dev) + page_bytes - 10, "SWAPSPACE2", 10);
	return s;
}

static int read_swap(struct swap *s, struct bowimg_error *err)
{
	const struct bow_freemap_options opts = {0};

	return bow_freemap_read(s->dev, &opts, s->map, &s->info, err);
}

static void release(struct swap *s)
{
	bow_bitmap_free(s->map);
	bow_disk_close(s->dev, NULL);
}

static void refused(struct swap *s, int code, const char *message)
{
	struct bowimg_error err = {0};
	int rc = read_swap(s, &err);

	if (rc != code || !strstr(err.message, message))
		fail_msg("%d \"%s\"", rc, err.message);
	release(s);
}

static void what_lies_behind_the_last_page_is_used(void **state)
{
	static const uint32_t page_bytes[] = {4096, 8192, 16384, 65536};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(page_bytes) / sizeof(page_bytes[0]); i++) {
		uint32_t page = page_bytes[i / 2], pages = (5u << 20) / page;
		struct swap s = make(page, pages, i % 2);

		assert_int_equal(read_swap(&s, NULL), 0);
		assert_string_equal(s.info.source, "swap");
		assert_int_equal(bow_bitmap_count(s.map), pages * page / BLOCK - HEAD_BLK);
		assert_true(bow_bitmap_all(s.map, HEAD_BLK, pages * page / BLOCK - HEAD_BLK, true));
		assert_int_equal(s.info.fs_free_bytes, pages * page - HEAD_BLK * BLOCK);
		release(&s);
	}
}

static void bad_pages_are_used(void **state)
{
	struct swap s = make(8192, SIZE / 8192, false);

	(void)state;
	put(&s, 1032, 2);
	put(&s, 1536, 100);
	put(&s, 1540, SIZE / 8192 - 1);
	assert_int_equal(read_swap(&s, NULL), 0);
	assert_int_equal(bow_bitmap_count(s.map), SIZE / BLOCK - HEAD_BLK - 4);
	assert_true(bow_bitmap_all(s.map, 200, 2, false));
	assert_true(bow_bitmap_all(s.map, SIZE / BLOCK - 2, 2, false));
	release(&s);
}

static void a_header_that_cannot_be_true_is_refused(void **state)
{
	struct swap s = make(4096, SIZE / 4096 + 1, false);

	(void)state;
	refused(&s, -EUCLEAN, "larger than its place");
	s = make(4096, SIZE / 4096, false);
	put(&s, 1032, 1);
	put(&s, 1536, SIZE / 4096);
	refused(&s, -EUCLEAN, "a bad page is not in the swap space");
	s = make(4096, SIZE / 4096, false);
	put(&s, 1032, (4096 - 10 - 1536) / 4 + 1);
	refused(&s, -EUCLEAN, "too many bad pages");
}

/* The oldest kind has a bitmap instead of a length; what a machine sleeps in is no swap space. */
static void swap_space_of_another_kind_is_refused(void **state)
{
	struct swap s = make(4096, SIZE / 4096, false);

	(void)state;
	memcpy(mem_dev_bytes(s.dev) + 4086, "SWAP-SPACE", 10);
	refused(&s, -EOPNOTSUPP, "swap");
	s = make(4096, SIZE / 4096, false);
	put(&s, 1024, 2);
	refused(&s, -EOPNOTSUPP, "");
	s = make(4096, SIZE / 4096, false);
	memcpy(mem_dev_bytes(s.dev) + 4086, "S1SUSPEND\0", 10);
	refused(&s, -EOPNOTSUPP, "swsuspend");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_lies_behind_the_last_page_is_used),
		cmocka_unit_test(bad_pages_are_used),
		cmocka_unit_test(a_header_that_cannot_be_true_is_refused),
		cmocka_unit_test(swap_space_of_another_kind_is_refused),
	};

	return cmocka_run_group_tests_name("swap", tests, NULL, NULL);
}
