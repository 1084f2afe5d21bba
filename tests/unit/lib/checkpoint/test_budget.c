/* SPDX-License-Identifier: MIT */
/* Which limit is the smaller one: the image's free blocks, or the space on the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/blocks/blocks.h"
#include "lib/checkpoint/checkpoint.h"
#include "mem_dev.h"

#define MIB ((uint64_t)1 << 20)

static struct bowimg_budget find(struct bow_budget_facts f)
{
	struct bowimg_budget b;

	bow_budget_find(&f, &b);
	return b;
}

static void a_host_that_does_not_tell_is_no_limit(void **state)
{
	struct bowimg_budget b =
		find((struct bow_budget_facts){.free_left = 50 * MIB, .holes = 50 * MIB});

	(void)state;
	assert_true(b.known && !b.by_host && !b.host_known);
	assert_int_equal(b.left_bytes, 50 * MIB);
	assert_int_equal(b.host_used, 0);
	/* In the tail alone nothing else is a limit. */
	b = find((struct bow_budget_facts){.only_tail = true, .grows = true});
	assert_false(b.known);
}

static void holes_need_space_on_the_host(void **state)
{
	struct bow_budget_facts f = {.free_left = 50 * MIB,
				     .holes = 40 * MIB,
				     .host_known = true,
				     .host_left = 30 * MIB};
	struct bowimg_budget b = find(f);

	(void)state;
	assert_true(b.by_host);
	assert_int_equal(b.left_bytes, 40 * MIB);
	assert_int_equal(b.host_left_bytes, 30 * MIB);
	f.host_left = 40 * MIB;
	b = find(f);
	assert_false(b.by_host);
	assert_int_equal(b.left_bytes, 50 * MIB);
	assert_int_equal(b.host_used, 0);
	/* What is allocated needs none. */
	f.holes = f.host_left = 0;
	b = find(f);
	assert_false(b.by_host);
	assert_int_equal(b.left_bytes, 50 * MIB);
}

static void the_tail_ends_with_the_host(void **state)
{
	struct bow_budget_facts f = {.free_left = 50 * MIB,
				     .used = 60 * MIB,
				     .only_tail = true,
				     .grows = true,
				     .host_known = true,
				     .host_left = 20 * MIB};
	struct bowimg_budget b = find(f);

	(void)state;
	assert_true(b.known && b.by_host);
	assert_int_equal(b.left_bytes, 20 * MIB);
	assert_int_equal(b.host_used, 75);
	/* While free blocks are left, they are the limit; the share of the host counts already. */
	f.only_tail = false;
	b = find(f);
	assert_false(b.by_host);
	assert_int_equal(b.left_bytes, 50 * MIB);
	assert_int_equal(b.host_used, 100 * 60 / 130);
	f.free_left = 0;
	assert_true(find(f).by_host);
	assert_int_equal(find(f).left_bytes, 20 * MIB);
}

static void a_full_host_is_used_up(void **state)
{
	struct bow_budget_facts f = {.free_left = MIB, .holes = MIB, .host_known = true};
	struct bowimg_budget b = find(f);

	(void)state;
	assert_true(b.by_host);
	assert_int_equal(b.left_bytes, 0);
	assert_int_equal(b.host_used, 100);
	f.used = MIB;
	assert_int_equal(find(f).host_used, 100);
}

static void no_number_overflows(void **state)
{
	struct bow_budget_facts f = {.free_left = UINT64_MAX,
				     .holes = 1,
				     .used = UINT64_MAX,
				     .grows = true,
				     .host_known = true,
				     .host_left = UINT64_MAX};
	struct bowimg_budget b = find(f);

	(void)state;
	assert_false(b.by_host);
	assert_int_equal(b.left_bytes, UINT64_MAX);
	assert_int_equal(b.host_used, 100);
	f.holes = UINT64_MAX;
	f.free_left = MIB;
	f.host_left = 1;
	assert_int_equal(find(f).left_bytes, 1);
}

/* ---- of an image ------------------------------------------------------------------ */

#define BLOCKS 256u

static struct bow_room room;

static int tell_room(struct bowimg_disk *dev, struct bow_room *out)
{
	(void)dev;
	*out = room;
	return 0;
}

/* Half of the image is free, and half of that has data. */
static void only_holes_that_are_free_and_left_count(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(BLOCKS * BOW_BLOCK, BLOCKS * BOW_BLOCK);
	struct bow_super sb = {.image_size = BLOCKS * BOW_BLOCK, .free_total_blk = BLOCKS / 2};
	struct bow_backend_ops ops = *dev->ops;
	uint8_t block[BOW_BLOCK] = {1};
	struct bow_blocks blocks;
	struct bowimg_budget b;

	(void)state;
	ops.room = tell_room;
	dev->ops = &ops;
	assert_int_equal(bow_blocks_init(&blocks, BLOCKS), 0);
	assert_int_equal(bow_bitmap_set(blocks.free, BLOCKS / 2, BLOCKS / 2), 0);
	assert_int_equal(bow_bitmap_set(blocks.taken, BLOCKS / 2, 8), 0);
	for (uint64_t blk = 0; blk < BLOCKS * 3 / 4; blk++)
		if (blk % 2 || blk >= BLOCKS / 2)
			assert_int_equal(
				bow_disk_write(dev, block, BOW_BLOCK, blk * BOW_BLOCK, NULL), 0);
	room = (struct bow_room){.left = 10 * BOW_BLOCK, .allocated = 128 * BOW_BLOCK};
	bow_budget_of(dev, &sb, &blocks, BLOCKS / 2 - 8, &b);
	assert_true(b.by_host);
	assert_int_equal(b.left_bytes, (56 + 10) * BOW_BLOCK);
	assert_int_equal(b.host_used, 100 * 8 / (8 + 66));
	/* Space that was allocated ahead looks like holes, but the file lacks little. */
	room.allocated = (BLOCKS - 9) * BOW_BLOCK;
	bow_budget_of(dev, &sb, &blocks, BLOCKS / 2 - 8, &b);
	assert_false(b.by_host);
	assert_int_equal(b.left_bytes, (BLOCKS / 2 - 8) * BOW_BLOCK);
	bow_blocks_release(&blocks);
	bow_disk_close(dev, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_that_does_not_tell_is_no_limit),
		cmocka_unit_test(holes_need_space_on_the_host),
		cmocka_unit_test(the_tail_ends_with_the_host),
		cmocka_unit_test(a_full_host_is_used_up),
		cmocka_unit_test(no_number_overflows),
		cmocka_unit_test(only_holes_that_are_free_and_left_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
