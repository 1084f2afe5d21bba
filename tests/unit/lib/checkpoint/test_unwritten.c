/* SPDX-License-Identifier: MIT */
/*
 * A server was killed that had taken nearly all free blocks and written to few of them. What every
 * verb says of such an image, and leaves of its free space.
 */
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
#define IMAGE_BLK 20480u /* 80 MiB of holes; all but the first MiB is free */
#define USED_BLK 256u
#define WRITTEN_BLK 500u
#define NEARLY_ALL (IMAGE_BLK - 2048u)

struct fixture {
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint8_t data[BOWIMG_BLOCK_SIZE], *original;
};

static void serve(struct fixture *f)
{
	assert_int_equal(bow_serve_dev(f->dev, NULL, &f->img, NULL), 0);
}

static void detach(struct fixture *f)
{
	assert_int_equal(bow_engine_detach(bow_engine_of(f->img), NULL), 0);
	bow_engine_free(f->img);
	f->img = NULL;
}

static void kill_server(struct fixture *f)
{
	bow_engine_free(f->img);
	f->img = NULL;
}

static void mark(struct fixture *f, const char *name)
{
	struct bowimg_mark made;

	assert_int_equal(bow_mark_make_dev(f->dev, name, 0, &made, NULL), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bow_bitmap *free_map = bow_bitmap_new(IMAGE_BLK);
	struct bow_prepare_plan plan = {.free = free_map,
					.free_source = "map",
					.exact = true,
					.store = BOWIMG_STORE_FREE,
					.on_full = BOWIMG_ON_FULL_STOP};
	struct bowimg_prepare_report report;

	memset(f->data, 0x5a, sizeof(f->data));
	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, 2 * IMAGE_BLK * BLOCK);
	for (uint64_t blk = 0; blk < USED_BLK; blk++)
		assert_int_equal(bow_disk_write(f->dev, f->data, BLOCK, blk * BLOCK, NULL), 0);
	f->original = malloc(IMAGE_BLK * BLOCK);
	memcpy(f->original, mem_dev_bytes(f->dev), IMAGE_BLK * BLOCK);
	assert_int_equal(bow_bitmap_set(free_map, USED_BLK, IMAGE_BLK - USED_BLK), 0);
	assert_int_equal(bow_prepare_dev(f->dev, &plan, &report, NULL), 0);
	bow_bitmap_free(free_map);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->img)
		kill_server(f);
	if (f->dev)
		bow_disk_close(f->dev, NULL);
	free(f->original);
	free(f);
	return 0;
}

static uint64_t place(struct rng *r)
{
	return rng_between(r, 1024, IMAGE_BLK - 1024);
}

static void scatter(struct fixture *f)
{
	struct rng r = {6};

	for (unsigned i = 0; i < WRITTEN_BLK; i++)
		assert_int_equal(
			bowimg_disk_write(f->img, f->data, BLOCK, place(&r) * BLOCK, 0, NULL), 0);
}

/* It is killed when it has taken most of the free space. */
static void scatter_and_kill(struct fixture *f)
{
	serve(f);
	scatter(f);
	assert_in_range(bow_engine_of(f->img)->alloc.free_blk, 0, IMAGE_BLK / 8);
	kill_server(f);
}

/* What was written is there, and all else is free. */
static void check_served(struct fixture *f)
{
	struct rng r = {6};
	uint8_t block[BOWIMG_BLOCK_SIZE];

	serve(f);
	for (unsigned i = 0; i < WRITTEN_BLK; i++) {
		assert_int_equal(bowimg_disk_read(f->img, block, BLOCK, place(&r) * BLOCK, NULL),
				 0);
		assert_memory_equal(block, f->data, BLOCK);
	}
	assert_true(bow_engine_of(f->img)->alloc.free_blk >= NEARLY_ALL);
	detach(f);
}

/* ---- marks ------------------------------------------------------------------------ */

static void a_mark_gives_back_what_was_not_written(void **state)
{
	struct fixture *f = *state;

	scatter_and_kill(f);
	mark(f, "m");
	check_served(f);
}

/* The deletion ends cleanly, so that whoever comes next does not look for it any more. */
static void so_does_the_deletion_of_a_mark(void **state)
{
	struct fixture *f = *state;

	mark(f, "m");
	scatter_and_kill(f);
	assert_int_equal(bow_mark_delete_dev(f->dev, "m", 0, NULL), 0);
	check_served(f);
}

static void a_return_to_a_mark_leaves_free_what_was_free_then(void **state)
{
	struct fixture *f = *state;
	const struct bowimg_end_options to = {.to = "m"};
	struct bowimg_end_report report;
	uint8_t block[BOWIMG_BLOCK_SIZE];

	mark(f, "m");
	scatter_and_kill(f);
	assert_int_equal(bow_rollback_dev(f->dev, &to, &report, NULL), 0);
	serve(f);
	assert_true(bow_engine_of(f->img)->alloc.free_blk >= NEARLY_ALL);
	for (uint64_t blk = USED_BLK; blk < IMAGE_BLK; blk++) {
		assert_int_equal(bowimg_disk_read(f->img, block, BLOCK, blk * BLOCK, NULL), 0);
		assert_memory_equal(block, f->original + blk * BLOCK, BLOCK);
	}
	detach(f);
}

/* ---- figures ---------------------------------------------------------------------- */

static void check_status(struct fixture *f)
{
	struct bowimg_status s;

	assert_int_equal(bow_status_dev(f->dev, BOWIMG_FORCE_CHANGED, &s, NULL), 0);
	assert_true(s.attached);
	assert_in_range(s.new_bytes, 1, WRITTEN_BLK * BLOCK);
	assert_in_range(s.free_left_bytes, NEARLY_ALL * BLOCK, IMAGE_BLK * BLOCK);
}

static void status_counts_it_as_left_and_not_as_new(void **state)
{
	struct fixture *f = *state;

	serve(f);
	scatter(f);
	check_status(f);
	kill_server(f);
	check_status(f);
}

static int add_up(void *ctx, const struct bowimg_change *c)
{
	*(uint64_t *)ctx += c->bytes;
	return 0;
}

static void count_changes(struct fixture *f, const char *since)
{
	bowimg_disk *view;
	uint64_t bytes = 0;

	assert_int_equal(bow_view_open(f->dev, 0, &view, NULL), 0);
	assert_int_equal(bowimg_disk_changes_since(view, since, add_up, &bytes, NULL), 0);
	assert_in_range(bytes, BLOCK, WRITTEN_BLK * BLOCK);
	/* The device goes with the view. */
	f->dev = NULL;
	bowimg_disk_close(view, NULL);
}

static void no_change_is_told_of_it(void **state)
{
	struct fixture *f = *state;

	scatter_and_kill(f);
	count_changes(f, NULL);
}

static void nor_since_a_mark(void **state)
{
	struct fixture *f = *state;

	mark(f, "m");
	scatter_and_kill(f);
	count_changes(f, "m");
}

/* ---- ends ------------------------------------------------------------------------- */

static uint64_t holes(struct fixture *f)
{
	uint64_t n = 0, blk = 0, run;
	bool hole;

	for (; blk < IMAGE_BLK; blk += run) {
		run = bow_hole_run(f->dev, blk, IMAGE_BLK - blk, &hole);
		n += hole ? run : 0;
	}
	return n;
}

static void a_rollback_brings_back_every_byte_and_hole(void **state)
{
	struct fixture *f = *state;
	struct bowimg_end_report report;

	scatter_and_kill(f);
	assert_int_equal(bow_rollback_dev(f->dev, NULL, &report, NULL), 0);
	assert_memory_equal(mem_dev_bytes(f->dev), f->original, IMAGE_BLK * BLOCK);
	assert_int_equal(holes(f), IMAGE_BLK - USED_BLK);
}

static void a_commit_keeps_what_was_written_and_the_holes(void **state)
{
	struct fixture *f = *state;
	struct rng r = {6};
	struct bowimg_end_report report;

	scatter_and_kill(f);
	assert_int_equal(bow_commit_dev(f->dev, NULL, &report, NULL), 0);
	for (unsigned i = 0; i < WRITTEN_BLK; i++)
		memcpy(f->original + place(&r) * BLOCK, f->data, BLOCK);
	for (uint64_t blk = 0; blk < USED_BLK; blk++)
		assert_memory_equal(mem_dev_bytes(f->dev) + blk * BLOCK, f->original + blk * BLOCK,
				    BLOCK);
	r.state = 6;
	for (unsigned i = 0; i < WRITTEN_BLK; i++)
		assert_memory_equal(mem_dev_bytes(f->dev) + place(&r) * BLOCK, f->data, BLOCK);
	assert_in_range(holes(f), NEARLY_ALL, IMAGE_BLK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_mark_gives_back_what_was_not_written),
		TEST(so_does_the_deletion_of_a_mark),
		TEST(a_return_to_a_mark_leaves_free_what_was_free_then),
		TEST(status_counts_it_as_left_and_not_as_new),
		TEST(no_change_is_told_of_it),
		TEST(nor_since_a_mark),
		TEST(a_rollback_brings_back_every_byte_and_hole),
		TEST(a_commit_keeps_what_was_written_and_the_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
