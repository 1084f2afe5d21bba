/* SPDX-License-Identifier: MIT */
/*
 * Blocks that come back: space that can be used again, and requests that are still under way when
 * it is given back. The device stops a reader or a writer at the worst moment.
 */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"
#include "disk_before.h"

#define BLOCKS 256u
#define FIRST_FREE 128u
#define NOWHERE UINT64_MAX

struct stage {
	struct bowimg_disk *dev;
	const struct bow_backend_ops *inner;
	struct bow_backend_ops ops;
	bowimg_disk *img;
	uint8_t original[BLOCKS * BOW_BLOCK];
	struct bowimg_error err;
	_Atomic uint64_t read_off, write_off; /* who comes here next waits; once */
	sem_t arrived, go;
};

static struct stage stage; /* a device's operations carry no context of a test */

static void wait_if(_Atomic uint64_t *at, uint64_t off)
{
	uint64_t want = off;

	if (!atomic_compare_exchange_strong(at, &want, NOWHERE))
		return;
	sem_post(&stage.arrived);
	sem_wait(&stage.go);
}

static int64_t staged_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	wait_if(&stage.read_off, off);
	return stage.inner->read(dev, buf, bytes, off);
}

static int64_t staged_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	wait_if(&stage.write_off, off);
	return stage.inner->write(dev, buf, bytes, off);
}

static void attach(struct stage *s)
{
	static const struct bowimg_open_options opts = {.force = BOWIMG_FORCE_CHANGED};

	if (bow_serve_dev(s->dev, &opts, &s->img, &s->err))
		fail_msg("attach: %s", s->err.message);
}

static int set_up(void **state)
{
	struct stage *s = &stage;
	struct bow_prepare_plan plan = {.free_source = "test", .on_full = BOWIMG_ON_FULL_STOP};
	struct bow_bitmap *free_map = bow_bitmap_new(BLOCKS);
	struct bowimg_prepare_report report;

	memset(s, 0, sizeof(*s));
	s->read_off = s->write_off = NOWHERE;
	s->dev = mem_dev_new(sizeof(s->original), 2 * sizeof(s->original));
	assert_non_null(s->dev);
	for (uint64_t i = 0; i < FIRST_FREE * BOW_BLOCK; i++)
		mem_dev_bytes(s->dev)[i] = (uint8_t)(i / BOW_BLOCK * 5 + i % 251 + 1);
	memcpy(s->original, mem_dev_bytes(s->dev), sizeof(s->original));
	assert_int_equal(bow_bitmap_set(free_map, FIRST_FREE, BLOCKS - FIRST_FREE), 0);
	plan.free = free_map;
	assert_int_equal(bow_prepare_dev(s->dev, &plan, &report, &s->err), 0);
	bow_bitmap_free(free_map);
	s->inner = s->dev->ops;
	s->ops = *s->inner;
	s->ops.read = staged_read;
	s->ops.write = staged_write;
	s->dev->ops = &s->ops;
	sem_init(&s->arrived, 0, 0);
	sem_init(&s->go, 0, 0);
	attach(s);
	*state = s;
	return 0;
}

/* Whatever happened, all used blocks come back. */
static int tear_down(void **state)
{
	static const struct bowimg_end_options opts = {.force = BOWIMG_FORCE_CHANGED};
	struct stage *s = *state;
	struct bowimg_end_report report;
	int rc = 0;

	if (s->img)
		rc = bowimg_disk_flush(s->img, &s->err);
	bow_engine_free(s->img);
	if (!rc)
		rc = bow_rollback_dev(s->dev, &opts, &report, &s->err);
	if (rc)
		print_error("%s\n", s->err.message);
	assert_int_equal(rc, 0);
	assert_memory_equal(mem_dev_bytes(s->dev), s->original, FIRST_FREE * BOW_BLOCK);
	sem_destroy(&s->arrived);
	sem_destroy(&s->go);
	bow_disk_close(s->dev, NULL);
	return 0;
}

static int write_block(struct stage *s, uint64_t blk, uint8_t with)
{
	uint8_t block[BOW_BLOCK];

	memset(block, with, sizeof(block));
	return bowimg_disk_write(s->img, block, sizeof(block), blk * BOW_BLOCK, 0, &s->err);
}

static void zero(struct stage *s, uint64_t blk, uint64_t n)
{
	assert_int_equal(bowimg_disk_zero(s->img, blk * BOW_BLOCK, n * BOW_BLOCK, 0, &s->err), 0);
}

static void assert_reads(struct stage *s, uint64_t blk, uint8_t want)
{
	uint8_t block[BOW_BLOCK];

	assert_int_equal(bowimg_disk_read(s->img, block, sizeof(block), blk * BOW_BLOCK, &s->err),
			 0);
	for (size_t i = 0; i < sizeof(block); i++)
		if (block[i] != want)
			fail_msg("byte %zu of block %d is %d, not %d", i, (int)blk, block[i], want);
}

static enum bow_block_state state_of(struct stage *s, uint64_t blk)
{
	struct bow_engine *img = bow_engine_of(s->img);
	enum bow_block_state state;

	pthread_mutex_lock(&img->lock);
	state = bow_blocks_state(&img->blocks, blk);
	pthread_mutex_unlock(&img->lock);
	return state;
}

static uint64_t given_blk(struct stage *s)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(s->img, &c);
	return c.given_bytes / BOW_BLOCK;
}

/* Write to free blocks until there is no room; returns where it ended. */
static uint64_t fill_up(struct stage *s)
{
	uint64_t blk = FIRST_FREE;

	while (blk < BLOCKS && !write_block(s, blk, 7))
		blk++;
	return blk;
}

static void what_the_guest_deletes_is_room_for_backups(void **state)
{
	struct stage *s = *state;
	uint64_t end = fill_up(s);

	assert_true(end < BLOCKS);
	assert_int_equal(write_block(s, 1, 9), -ENOSPC);
	zero(s, FIRST_FREE, end - FIRST_FREE);
	for (uint64_t blk = 1; blk < 60; blk++)
		assert_int_equal(write_block(s, blk, 9), 0);
	assert_true(given_blk(s) > 50);
	for (uint64_t blk = FIRST_FREE; blk < end; blk++)
		assert_reads(s, blk, 0);
}

static void given_blocks_read_as_zeros_after_a_kill(void **state)
{
	struct stage *s = *state;
	struct bowimg_status status;
	uint64_t end = fill_up(s);

	zero(s, FIRST_FREE, end - FIRST_FREE);
	for (uint64_t blk = 1; blk < 60; blk++)
		assert_int_equal(write_block(s, blk, 9), 0);
	bow_engine_free(s->img);
	s->img = NULL;
	assert_int_equal(bow_status_dev(s->dev, BOWIMG_FORCE_CHANGED, &status, &s->err), 0);
	assert_true(status.gives > 0);
	attach(s);
	for (uint64_t blk = FIRST_FREE; blk < end; blk++)
		assert_reads(s, blk, 0);
	assert_reads(s, 5, 9);
}

static void a_block_that_is_written_again_is_not_given(void **state)
{
	struct stage *s = *state;
	uint64_t end = fill_up(s);

	zero(s, FIRST_FREE, end - FIRST_FREE);
	assert_int_equal(write_block(s, FIRST_FREE + 4, 8), 0);
	assert_true(bow_engine_make_room(bow_engine_of(s->img)) > 0);
	assert_int_equal(state_of(s, FIRST_FREE + 4), BOW_LIVE);
	assert_reads(s, FIRST_FREE + 4, 8);
}

/* A lift that came after the GIVE would end its Z: so it is logged first. */
static void a_block_whose_lift_waits_is_given_after_it(void **state)
{
	struct stage *s = *state;
	uint64_t blk = BLOCKS - 20;

	zero(s, blk, 20);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(write_block(s, blk + i, 6), 0);
	zero(s, blk, 20);
	assert_true(bow_engine_make_room(bow_engine_of(s->img)) >= 20);
	assert_int_equal(state_of(s, blk), BOW_FREE);
	for (uint64_t i = 1; i < FIRST_FREE && !write_block(s, i, 9);)
		i++;
	assert_int_equal(state_of(s, blk), BOW_HELD);
	bowimg_disk_flush(s->img, &s->err);
	bow_engine_free(s->img);
	attach(s);
	for (uint64_t i = 0; i < 20; i++)
		assert_true(bow_bitmap_test(bow_engine_of(s->img)->blocks.zero_pending, blk + i));
}

static void used_blocks_are_never_given(void **state)
{
	struct stage *s = *state;

	for (uint64_t blk = 1; blk < 40; blk++)
		assert_int_equal(write_block(s, blk, 9), 0);
	zero(s, 1, FIRST_FREE - 1);
	bow_engine_make_room(bow_engine_of(s->img));
	assert_int_equal(state_of(s, 1), BOW_SAVED);
	assert_int_equal(bowimg_disk_flush(s->img, &s->err), 0);
	bow_engine_free(s->img);
	attach(s);
}

static void what_was_taken_ahead_is_given_back_before_space_runs_out(void **state)
{
	struct stage *s = *state;
	struct bow_engine *img = bow_engine_of(s->img);
	uint64_t n = 0;

	for (uint64_t blk = FIRST_FREE + 20; blk < FIRST_FREE + 60; blk++)
		assert_int_equal(write_block(s, blk, 7), 0);
	for (uint64_t blk = FIRST_FREE; blk < BLOCKS; blk++)
		n += bow_bitmap_test(img->ahead, blk);
	assert_true(n > 0);
	for (uint64_t blk = 1; blk < FIRST_FREE && !write_block(s, blk, 9);)
		blk++;
	assert_true(given_blk(s) > 0);
}

static void a_log_that_has_grown_long_gives_no_more(void **state)
{
	struct stage *s = *state;
	struct bowimg_counters c;

	for (int i = 0; i < 2000; i++) {
		uint64_t blk = FIRST_FREE + 40 + (uint64_t)i % 40;

		assert_int_equal(write_block(s, blk, 7), 0);
		zero(s, blk, 1);
		assert_int_equal(bowimg_disk_flush(s->img, &s->err), 0);
	}
	bowimg_disk_get_counters(s->img, &c);
	assert_true(c.given_bytes > 0);
	assert_true(c.log_bytes <= 80 * BOW_BLOCK);
}

/* ---- requests in flight ---------------------------------------------------------- */

struct act {
	struct stage *s;
	uint64_t blk;
	uint8_t byte;
	pthread_t thread;
	uint8_t got[BOW_BLOCK];
};

static void *write_it(void *arg)
{
	struct act *a = arg;

	assert_int_equal(write_block(a->s, a->blk, a->byte), 0);
	return NULL;
}

static void *read_it(void *arg)
{
	struct act *a = arg;

	assert_int_equal(bowimg_disk_read(a->s->img, a->got, BOW_BLOCK, a->blk * BOW_BLOCK, NULL),
			 0);
	return NULL;
}

/* Give back all that can be, and fill it with backups. */
static void *give_and_fill(void *arg)
{
	struct act *a = arg;

	bow_engine_make_room(bow_engine_of(a->s->img));
	for (uint64_t blk = 1; blk < FIRST_FREE && !write_block(a->s, blk, 9);)
		blk++;
	return NULL;
}

static void start(struct act *a, void *(*what)(void *))
{
	assert_int_equal(pthread_create(&a->thread, NULL, what, a), 0);
}

/* Long enough for one who does not wait to be caught; one who does loses nothing. */
static void let_go_late(struct stage *s)
{
	usleep(100000);
	sem_post(&s->go);
}

static void a_write_that_is_delayed_neither_is_lost_nor_destroys_a_backup(void **state)
{
	struct stage *s = *state;
	uint64_t end = fill_up(s), blk = FIRST_FREE + 30;
	struct act w = {.s = s, .blk = blk, .byte = 42}, g = {.s = s};

	assert_true(end > blk);
	s->write_off = blk * BOW_BLOCK;
	start(&w, write_it);
	sem_wait(&s->arrived);
	zero(s, FIRST_FREE, end - FIRST_FREE);
	start(&g, give_and_fill);
	let_go_late(s);
	pthread_join(w.thread, NULL);
	pthread_join(g.thread, NULL);
	assert_reads(s, blk, 42);
	assert_true(given_blk(s) > 0);
}

/* The write was there before the block was zeroed, or comes after it: nothing in between. */
static void a_write_beside_a_zero_is_there_if_it_was_seen(void **state)
{
	struct stage *s = *state;
	uint64_t end = fill_up(s), blk = FIRST_FREE + 30;
	struct act w = {.s = s, .blk = blk, .byte = 42};

	s->write_off = blk * BOW_BLOCK;
	start(&w, write_it);
	sem_wait(&s->arrived);
	zero(s, FIRST_FREE, end - FIRST_FREE);
	sem_post(&s->go);
	pthread_join(w.thread, NULL);
	assert_reads(s, blk, 42);
	bow_engine_make_room(bow_engine_of(s->img));
	assert_reads(s, blk, 42);
}

static void a_read_that_is_delayed_sees_no_backup(void **state)
{
	struct stage *s = *state;
	uint64_t end = fill_up(s), blk = FIRST_FREE + 30;
	struct act r = {.s = s, .blk = blk}, g = {.s = s};

	s->read_off = blk * BOW_BLOCK;
	start(&r, read_it);
	sem_wait(&s->arrived);
	zero(s, FIRST_FREE, end - FIRST_FREE);
	start(&g, give_and_fill);
	let_go_late(s);
	pthread_join(r.thread, NULL);
	pthread_join(g.thread, NULL);
	for (size_t i = 0; i < BOW_BLOCK; i++)
		if (r.got[i] != 0 && r.got[i] != 7)
			fail_msg("byte %zu is %d", i, r.got[i]);
}

static void assert_before(struct stage *s, uint64_t blk)
{
	uint8_t block[BOW_BLOCK];

	assert_int_equal(disk_read_before(s->img, block, sizeof(block), blk * BOW_BLOCK, &s->err),
			 0);
	assert_memory_equal(block, s->original + blk * BOW_BLOCK, BOW_BLOCK);
}

/* The backup is found, moves, its block is given back, and has another backup then. */
static void the_disk_before_finds_backups_that_moved_from_given_blocks(void **state)
{
	struct stage *s = *state;
	uint64_t end;

	for (uint64_t blk = 1; blk < 20; blk++)
		assert_int_equal(write_block(s, blk, 9), 0);
	for (uint64_t blk = 1; blk < 20; blk++)
		assert_before(s, blk);
	end = fill_up(s); /* moves them */
	zero(s, FIRST_FREE, end - FIRST_FREE);
	for (uint64_t blk = 20; blk < 80; blk++)
		assert_int_equal(write_block(s, blk, 9), 0);
	assert_true(given_blk(s) > 0);
	for (uint64_t blk = 1; blk < FIRST_FREE; blk++)
		assert_before(s, blk);
}

int main(void)
{
#define STAGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		STAGED(what_the_guest_deletes_is_room_for_backups),
		STAGED(given_blocks_read_as_zeros_after_a_kill),
		STAGED(a_block_that_is_written_again_is_not_given),
		STAGED(a_block_whose_lift_waits_is_given_after_it),
		STAGED(used_blocks_are_never_given),
		STAGED(what_was_taken_ahead_is_given_back_before_space_runs_out),
		STAGED(a_log_that_has_grown_long_gives_no_more),
		STAGED(a_write_that_is_delayed_neither_is_lost_nor_destroys_a_backup),
		STAGED(a_write_beside_a_zero_is_there_if_it_was_seen),
		STAGED(a_read_that_is_delayed_sees_no_backup),
		STAGED(the_disk_before_finds_backups_that_moved_from_given_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
