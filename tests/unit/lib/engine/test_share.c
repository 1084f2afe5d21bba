/* SPDX-License-Identifier: MIT */
/* How much is prepared ahead where what was not written can be found again, and how it is given
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"
#include "rng.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 20480u /* 80 MiB; all but the first MiB is free */
#define USED_BLK 256u

struct fixture {
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint64_t barriers; /* at the beginning */
	uint8_t buf[8 * BOWIMG_BLOCK_SIZE];
};

static uint64_t barriers(const struct fixture *f)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(f->img, &c);
	return c.barriers - f->barriers;
}

static int set_up_as(void **state, bool exact)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bow_bitmap *free_map = bow_bitmap_new(IMAGE_BLK);
	struct bow_prepare_plan plan = {.free = free_map,
					.free_source = "map",
					.exact = exact,
					.store = BOWIMG_STORE_FREE,
					.on_full = BOWIMG_ON_FULL_STOP};
	struct bowimg_prepare_report report;

	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, 2 * IMAGE_BLK * BLOCK);
	assert_int_equal(bow_bitmap_set(free_map, USED_BLK, IMAGE_BLK - USED_BLK), 0);
	assert_int_equal(bow_prepare_dev(f->dev, &plan, &report, NULL), 0);
	assert_int_equal(bow_serve_dev(f->dev, NULL, &f->img, NULL), 0);
	bow_bitmap_free(free_map);
	f->barriers = barriers(f);
	memset(f->buf, 0x5a, sizeof(f->buf));
	*state = f;
	return 0;
}

/* A file whose free space is holes. */
static int set_up_sparse(void **state)
{
	return set_up_as(state, true);
}

static int set_up_dense(void **state)
{
	return set_up_as(state, false);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bowimg_disk_close(f->img, NULL), 0);
	free(f);
	return 0;
}

static void write_at(struct fixture *f, uint64_t blk, uint64_t count)
{
	assert_int_equal(bowimg_disk_write(f->img, f->buf, count * BLOCK, blk * BLOCK, 0, NULL), 0);
}

static void scatter(struct fixture *f, unsigned n)
{
	struct rng r = {6};

	while (n--)
		write_at(f, rng_between(&r, 1024, IMAGE_BLK - 1024), 1);
}

static void overwrite(struct fixture *f, uint64_t from, uint64_t end)
{
	for (uint64_t blk = from; blk < end; blk += 8)
		write_at(f, blk, 8);
}

static uint64_t free_now(const struct fixture *f)
{
	return bow_engine_of(f->img)->alloc.free_blk;
}

static uint64_t taken(const struct fixture *f)
{
	return bow_share_taken(bow_engine_of(f->img));
}

/* As a process that is killed, and another one. */
static void serve_again(struct fixture *f)
{
	bow_engine_free(f->img);
	assert_int_equal(bow_serve_dev(f->dev, NULL, &f->img, NULL), 0);
}

static void scattered_writes_get_nearly_all_of_a_sparse_file(void **state)
{
	struct fixture *f = *state;

	scatter(f, 2000);
	assert_in_range(barriers(f), 1, 32);
	assert_in_range(free_now(f), 64, IMAGE_BLK / 8);
}

static void what_was_taken_goes_to_backups_when_they_need_it(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	scatter(f, 2000);
	before = barriers(f);
	overwrite(f, 16, USED_BLK);
	assert_in_range(barriers(f) - before, 1, 16);
	assert_in_range(free_now(f), IMAGE_BLK / 4, IMAGE_BLK);
}

/* Giving back and taking again must not become a loop. */
static void backups_and_free_writes_in_turn_cost_little_more_than_themselves(void **state)
{
	struct fixture *f = *state;
	struct rng r = {7};

	scatter(f, 500);
	for (uint64_t blk = 1; blk < USED_BLK; blk++) {
		write_at(f, blk, 1);
		write_at(f, rng_between(&r, 1024, IMAGE_BLK - 1024), 1);
	}
	assert_in_range(barriers(f), 1, 24 + 2 * USED_BLK);
}

static void what_was_not_written_comes_back_at_the_end(void **state)
{
	struct fixture *f = *state;

	scatter(f, 500);
	assert_int_equal(bow_engine_detach(bow_engine_of(f->img), NULL), 0);
	assert_in_range(taken(f), 0, 511);
	assert_in_range(free_now(f), IMAGE_BLK - 2048, IMAGE_BLK);
}

/* Blocks that were written are no holes any more: those stay the guest's. */
static void what_a_killed_process_did_not_write_is_found_again(void **state)
{
	struct fixture *f = *state;
	uint64_t n;
	uint8_t block[BOWIMG_BLOCK_SIZE];
	struct rng r = {6};

	scatter(f, 500);
	n = taken(f);
	serve_again(f);
	assert_int_equal(taken(f), n);
	assert_true(bow_engine_make_room(bow_engine_of(f->img)) > IMAGE_BLK / 2);
	for (unsigned i = 0; i < 500; i++) {
		uint64_t blk = rng_between(&r, 1024, IMAGE_BLK - 1024);

		assert_int_equal(bowimg_disk_read(f->img, block, BLOCK, blk * BLOCK, NULL), 0);
		assert_memory_equal(block, f->buf, BLOCK);
	}
}

/* What is FREE may have been written by another program before prepare, or by bowimg. */
static void it_comes_back_also_where_what_is_left_has_no_holes(void **state)
{
	struct fixture *f = *state;
	struct bow_engine *img;
	uint64_t start = 0, n;

	scatter(f, 500);
	img = bow_engine_of(f->img);
	for (; bow_blocks_next_free(&img->blocks, &start, &n, IMAGE_BLK, 1); start += n)
		assert_int_equal(bow_disk_write(f->dev, f->buf, BLOCK, start * BLOCK, NULL), 0);
	serve_again(f);
	assert_true(bow_engine_of(f->img)->ahead_wide);
	assert_int_equal(bow_engine_detach(bow_engine_of(f->img), NULL), 0);
	assert_in_range(free_now(f), IMAGE_BLK - 2048, IMAGE_BLK);
}

/* Taking and giving in turn may not make the log longer and longer. */
static void with_a_long_log_it_comes_back_and_only_a_share_is_taken(void **state)
{
	struct fixture *f = *state;
	struct bow_engine *img = bow_engine_of(f->img);
	uint64_t most, gives;

	scatter(f, 500);
	img->log_blk = IMAGE_BLK / 8;
	overwrite(f, 16, 64);
	gives = img->gives;
	assert_in_range(gives, 1, 8);
	most = taken(f);
	assert_in_range(most, 0, IMAGE_BLK / 2);
	for (unsigned i = 8; i < 16; i++) {
		scatter(f, 500 * i);
		assert_in_range(taken(f), 0, most);
		overwrite(f, 16 * i, 16 * i + 16);
	}
	assert_int_equal(img->gives, gives);
}

static void of_a_dense_file_no_more_is_taken_than_a_killed_process_may_lose(void **state)
{
	struct fixture *f = *state;

	scatter(f, 2000);
	assert_false(bow_engine_of(f->img)->ahead_wide);
	assert_in_range(taken(f), 1, IMAGE_BLK / 8);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_sparse, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(scattered_writes_get_nearly_all_of_a_sparse_file),
		TEST(what_was_taken_goes_to_backups_when_they_need_it),
		TEST(backups_and_free_writes_in_turn_cost_little_more_than_themselves),
		TEST(what_was_not_written_comes_back_at_the_end),
		TEST(what_a_killed_process_did_not_write_is_found_again),
		TEST(it_comes_back_also_where_what_is_left_has_no_holes),
		TEST(with_a_long_log_it_comes_back_and_only_a_share_is_taken),
		cmocka_unit_test_setup_teardown(
			of_a_dense_file_no_more_is_taken_than_a_killed_process_may_lose,
			set_up_dense, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
