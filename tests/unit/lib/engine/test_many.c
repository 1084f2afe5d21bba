/* SPDX-License-Identifier: MIT */
/* Many writes at a time: what they cost, what is not begun, and what fails alone. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "free_end.h"
#include "mem_dev.h"
#include "lib/base/bytes.h"
#include "lib/disk/scatter.h"
#include "lib/engine/engine.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 8192u
#define FREE_BLK 4096u /* from here on */
#define MANY 1000u
#define STEP 4u /* from one to the next */
#define NOWHERE UINT64_MAX

struct fixture {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint8_t *original;
	uint8_t data[BOWIMG_BLOCK_SIZE];
	struct bow_write writes[BOW_MANY_BLK + 8];
	struct bowimg_counters start;
	uint64_t bad_read, bad_write, paused_read; /* offsets; NOWHERE: none */
	uint64_t watched; /* flushes are counted when the block here is read, and written */
	unsigned reads, written, flushes, flushes_at_read, flushes_at_write;
	sem_t arrived, go;
};

static struct fixture *f; /* the current test's */

static int64_t watched_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	f->reads++;
	if (off == f->watched)
		f->flushes_at_read = f->flushes;
	if (off == f->paused_read) {
		f->paused_read = NOWHERE;
		sem_post(&f->arrived);
		sem_wait(&f->go);
	}
	return f->bad_read - off < bytes ? -EIO : f->below->read(dev, buf, bytes, off);
}

static int64_t watched_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	f->written++;
	if (off == f->watched)
		f->flushes_at_write = f->flushes;
	return f->bad_write - off < bytes ? -EIO : f->below->write(dev, buf, bytes, off);
}

static int watched_flush(struct bowimg_disk *dev)
{
	f->flushes++;
	return f->below->flush(dev);
}

static int stays_open(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static void attach(void)
{
	assert_int_equal(bow_serve_dev(f->dev, NULL, &f->img, NULL), 0);
	bowimg_disk_get_counters(f->img, &f->start);
}

static void begin(uint64_t image_blk, uint64_t free_blk, enum bowimg_on_full on_full)
{
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->bad_read = f->bad_write = f->paused_read = f->watched = NOWHERE;
	sem_init(&f->arrived, 0, 0);
	sem_init(&f->go, 0, 0);
	f->dev = mem_dev_new(image_blk * BLOCK, 2 * IMAGE_BLK * BLOCK);
	assert_non_null(f->dev);
	for (uint64_t i = 0; i < free_blk * BLOCK / 8; i++)
		((uint64_t *)mem_dev_bytes(f->dev))[i] = 0x9e3779b97f4a7c15u * (i + 1);
	f->original = malloc(free_blk * BLOCK);
	assert_non_null(f->original);
	memcpy(f->original, mem_dev_bytes(f->dev), free_blk * BLOCK);
	assert_int_equal(prepare_free_end(f->dev, free_blk, on_full), 0);
	f->below = f->dev->ops;
	f->ops = *f->below;
	f->ops.read = watched_read;
	f->ops.write = watched_write;
	f->ops.flush = watched_flush;
	f->ops.close = stays_open;
	f->dev->ops = &f->ops;
	memset(f->data, 0x5a, sizeof(f->data));
	attach();
}

static int set_up(void **state)
{
	(void)state;
	begin(IMAGE_BLK, FREE_BLK, BOWIMG_ON_FULL_STOP);
	return 0;
}

static int set_up_tight(void **state)
{
	(void)state;
	begin(FREE_BLK + 128, FREE_BLK, BOWIMG_ON_FULL_STOP);
	return 0;
}

static int set_up_growing(void **state)
{
	(void)state;
	begin(FREE_BLK + 128, FREE_BLK, BOWIMG_ON_FULL_TAIL);
	return 0;
}

/* Whatever happened, a rollback brings all of it back. */
static int tear_down(void **state)
{
	struct bowimg_end_report report;
	const struct bowimg_end_options opts = {0};

	(void)state;
	f->bad_read = f->bad_write = NOWHERE;
	assert_int_equal(bowimg_disk_close(f->img, NULL), 0);
	assert_int_equal(bow_rollback_dev(f->dev, &opts, &report, NULL), 0);
	assert_memory_equal(mem_dev_bytes(f->dev), f->original, FREE_BLK * BLOCK);
	f->dev->ops = f->below;
	bow_disk_close(f->dev, NULL);
	free(f->original);
	free(f);
	return 0;
}

static struct bow_write whole(uint64_t blk)
{
	return (struct bow_write){.buf = f->data, .bytes = BLOCK, .off = blk * BLOCK};
}

/* Every STEP-th block from `first` on. */
static void scatter(uint64_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		f->writes[i] = whole(first + (uint64_t)i * STEP);
	bow_disk_write_many(f->img, f->writes, n, NULL);
}

static uint32_t begun(uint32_t n)
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (f->writes[i].begun)
			assert_int_equal(f->writes[i].result, 0);
		k += f->writes[i].begun;
	}
	return k;
}

static void assert_reads(uint64_t blk, int byte)
{
	uint8_t got[BOWIMG_BLOCK_SIZE], want[BOWIMG_BLOCK_SIZE];

	memset(want, byte, sizeof(want));
	assert_int_equal(bow_disk_read(f->img, got, BLOCK, blk * BLOCK, NULL), 0);
	assert_memory_equal(got, want, BLOCK);
}

static uint64_t left(void)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(f->img, &c);
	return c.free_left_bytes / BLOCK;
}

static void test_a_thousand_overwrites_share_their_barriers_and_their_backups_lie_together(void **s)
{
	(void)s;
	f->reads = f->written = f->flushes = 0;
	scatter(1, MANY);
	assert_int_equal(begun(MANY), MANY);
	/* One for the record; a segment's end costs three more. */
	assert_in_range(f->flushes, 1, 4);
	assert_in_range(f->reads, MANY, MANY + 8);
	/* 64 blocks of backups are one write. */
	assert_in_range(f->written, MANY + MANY / 64, MANY + MANY / 64 + 12);
	for (uint32_t i = 0; i < MANY; i++)
		assert_reads(1 + i * STEP, 0x5a);
	assert_memory_equal(mem_dev_bytes(f->dev) + 2 * BLOCK, f->original + 2 * BLOCK, BLOCK);
}

static void test_free_blocks_cost_a_record_and_nothing_else(void **s)
{
	uint64_t was = left();

	(void)s;
	f->reads = f->written = f->flushes = 0;
	scatter(FREE_BLK + 1024, 500);
	assert_int_equal(begun(500), 500);
	assert_int_equal(f->reads, 0);
	assert_in_range(f->flushes, 1, 4);
	assert_in_range(was - left(), 500, 516);
}

static void test_nothing_is_written_before_the_record_is_durable(void **s)
{
	(void)s;
	f->watched = (1 + 7 * STEP) * BLOCK;
	scatter(1, 64);
	assert_int_equal(begun(64), 64);
	assert_true(f->flushes_at_write > f->flushes_at_read);
}

static void test_blocks_that_were_written_before_need_no_record(void **s)
{
	(void)s;
	scatter(1, MANY);
	f->reads = f->written = f->flushes = 0;
	scatter(1, MANY);
	assert_int_equal(begun(MANY), MANY);
	assert_int_equal(f->reads, 0);
	assert_int_equal(f->written, MANY);
	assert_int_equal(f->flushes, 0);
}

static void assert_not_begun_but_possible(const struct bow_write *w)
{
	assert_false(w->begun);
	assert_int_equal(bow_disk_write(f->img, w->buf, w->bytes, w->off, NULL), 0);
}

static void test_block_0_is_left_to_a_single_write(void **s)
{
	(void)s;
	f->writes[0] = whole(0);
	f->writes[1] = whole(9);
	bow_disk_write_many(f->img, f->writes, 2, NULL);
	assert_true(f->writes[1].begun);
	assert_not_begun_but_possible(&f->writes[0]);
	assert_reads(0, 0x5a);
	assert_reads(9, 0x5a);
}

static void test_blocks_that_bowimg_holds_are_left_to_single_writes(void **s)
{
	struct bow_engine *img = bow_engine_of(f->img);
	uint64_t held[2] = {img->live0_blk, img->sb.seg_blk};

	(void)s;
	for (int i = 0; i < 2; i++) {
		f->writes[0] = whole(77 + i);
		f->writes[1] = whole(held[i]);
		bow_disk_write_many(f->img, f->writes, 2, NULL);
		assert_true(f->writes[0].begun);
		assert_not_begun_but_possible(&f->writes[1]);
		assert_reads(held[i], 0x5a);
	}
}

static void test_a_block_of_two_writes_is_begun_once(void **s)
{
	(void)s;
	for (uint32_t i = 0; i < 3; i++)
		f->writes[i] = (struct bow_write){
			.buf = f->data, .bytes = BLOCK, .off = 40 * BLOCK + i * (BLOCK / 2)};
	f->writes[1].off = 41 * BLOCK - 512;
	f->writes[1].bytes = 512;
	f->writes[0].bytes = BLOCK - 512;
	f->writes[2] = whole(30); /* and one that is out of order */
	bow_disk_write_many(f->img, f->writes, 3, NULL);
	assert_true(f->writes[0].begun);
	assert_not_begun_but_possible(&f->writes[1]);
	assert_not_begun_but_possible(&f->writes[2]);
	assert_reads(40, 0x5a);
}

static void test_more_than_one_call_can_hold_is_left(void **s)
{
	const uint32_t n = BOW_MANY_BLK + 5;

	(void)s;
	for (uint32_t i = 0; i < n; i++)
		f->writes[i] = whole(1 + i);
	bow_disk_write_many(f->img, f->writes, n, NULL);
	assert_int_equal(begun(n), BOW_MANY_BLK);
	for (uint32_t i = BOW_MANY_BLK; i < n; i++)
		assert_not_begun_but_possible(&f->writes[i]);
}

static void test_a_write_that_is_not_inside_the_disk_begins_none(void **s)
{
	(void)s;
	f->writes[0] = whole(5);
	f->writes[1] = whole(IMAGE_BLK);
	bow_disk_write_many(f->img, f->writes, 2, NULL);
	assert_false(f->writes[0].begun || f->writes[1].begun);
}

static void test_an_original_that_cannot_be_read_fails_alone(void **s)
{
	uint64_t was = left();
	uint32_t failed = 0;

	(void)s;
	f->bad_read = (1 + 50 * STEP) * BLOCK;
	f->writes[100] = whole(FREE_BLK + 2000);
	for (uint32_t i = 0; i < 100; i++)
		f->writes[i] = whole(1 + i * STEP);
	bow_disk_write_many(f->img, f->writes, 101, NULL);
	assert_int_equal(begun(101), 0);
	/* What was taken is free again; only places of backups are lost. */
	assert_in_range(was - left(), 0, 100);
	assert_false(bow_bitmap_test(bow_engine_of(f->img)->blocks.taken, FREE_BLK + 2000));
	for (uint32_t i = 0; i < 101; i++)
		failed += bow_disk_write(f->img, f->data, BLOCK, f->writes[i].off, NULL) != 0;
	assert_int_equal(failed, 1);
}

static void test_data_that_cannot_be_written_fails_alone(void **s)
{
	struct bowimg_error err = {0};

	(void)s;
	f->bad_write = (1 + 20 * STEP) * BLOCK;
	for (uint32_t i = 0; i < 40; i++)
		f->writes[i] = whole(1 + i * STEP);
	bow_disk_write_many(f->img, f->writes, 40, &err);
	for (uint32_t i = 0; i < 40; i++) {
		assert_true(f->writes[i].begun);
		assert_int_equal(f->writes[i].result, i == 20 ? -EIO : 0);
	}
	assert_non_null(strstr(err.message, "write 4096 bytes"));
	f->bad_write = NOWHERE;
	assert_int_equal(bow_disk_write(f->img, f->data, BLOCK, (1 + 20 * STEP) * BLOCK, NULL), 0);
}

static void test_what_has_no_room_is_left_and_refused_alone(void **s)
{
	uint32_t n;

	(void)s;
	scatter(1, MANY);
	n = begun(MANY);
	assert_in_range(n, 1, 127);
	for (uint32_t i = n; i < MANY; i++)
		assert_false(f->writes[i].begun);
	assert_int_equal(bow_disk_write(f->img, f->data, BLOCK, (1 + 900 * STEP) * BLOCK, NULL), 0);
	while (bow_disk_write(f->img, f->data, BLOCK, (1 + n * STEP) * BLOCK, NULL) == 0)
		n++;
	assert_in_range(n, 1, 127);
}

static void test_the_tail_takes_what_has_no_room_in_free_blocks(void **s)
{
	uint32_t done = 0;

	(void)s;
	/* A call keeps to one of the two. */
	for (int i = 0; i < 8 && done < MANY; i++) {
		scatter(1, MANY);
		done = begun(MANY);
		if (done < MANY)
			assert_int_equal(bow_disk_write(f->img, f->data, BLOCK, f->writes[done].off,
							NULL),
					 0);
	}
	assert_int_equal(done, MANY);
}

static void test_a_part_of_a_block_that_reads_as_zeros_leaves_zeros_around_it(void **s)
{
	uint8_t got[BOWIMG_BLOCK_SIZE];

	(void)s;
	assert_int_equal(bowimg_disk_zero(f->img, 100 * BLOCK, 8 * BLOCK, 0, NULL), 0);
	for (uint32_t i = 0; i < 8; i++)
		f->writes[i] = (struct bow_write){
			.buf = f->data, .bytes = 512, .off = (100 + i) * BLOCK + 1024};
	bow_disk_write_many(f->img, f->writes, 8, NULL);
	assert_int_equal(begun(8), 8);
	assert_int_equal(bowimg_disk_flush(f->img, NULL), 0);
	assert_int_equal(bowimg_disk_close(f->img, NULL), 0);
	attach();
	assert_int_equal(bow_disk_read(f->img, got, BLOCK, 103 * BLOCK, NULL), 0);
	assert_true(bow_is_zero(got, 1024) && bow_is_zero(got + 1536, BLOCK - 1536));
	assert_memory_equal(got + 1024, f->data, 512);
}

static void *make_many(void *arg)
{
	scatter(1, 100);
	return arg;
}

static void *overwrite(void *arg)
{
	uint8_t block[BOWIMG_BLOCK_SIZE];

	memset(block, 0x77, sizeof(block));
	assert_int_equal(bow_disk_write(f->img, block, BLOCK, (1 + 99 * STEP) * BLOCK, NULL), 0);
	return arg;
}

static void test_others_wait_for_held_blocks_and_for_no_others(void **s)
{
	pthread_t many, other;
	uint8_t got[BOWIMG_BLOCK_SIZE];

	(void)s;
	f->paused_read = (1 + 99 * STEP) * BLOCK;
	assert_int_equal(pthread_create(&many, NULL, make_many, NULL), 0);
	sem_wait(&f->arrived);
	/* A block between two that are held, and another that one of these readers sees as it was.
	 */
	assert_int_equal(bow_disk_write(f->img, f->data, BLOCK, 3 * BLOCK, NULL), 0);
	assert_int_equal(bow_disk_read(f->img, got, BLOCK, (1 + STEP) * BLOCK, NULL), 0);
	assert_memory_equal(got, f->original + (1 + STEP) * BLOCK, BLOCK);
	assert_int_equal(pthread_create(&other, NULL, overwrite, NULL), 0);
	sem_post(&f->go);
	pthread_join(many, NULL);
	pthread_join(other, NULL);
	assert_int_equal(begun(100), 100);
	assert_reads(1 + 98 * STEP, 0x5a);
	assert_reads(1 + 99 * STEP, 0x77);
}

int main(void)
{
#define WITH(up, fn) cmocka_unit_test_setup_teardown(fn, up, tear_down)
#define TEST(fn) WITH(set_up, fn)
	const struct CMUnitTest tests[] = {
		TEST(test_a_thousand_overwrites_share_their_barriers_and_their_backups_lie_together),
		TEST(test_free_blocks_cost_a_record_and_nothing_else),
		TEST(test_nothing_is_written_before_the_record_is_durable),
		TEST(test_blocks_that_were_written_before_need_no_record),
		TEST(test_block_0_is_left_to_a_single_write),
		TEST(test_blocks_that_bowimg_holds_are_left_to_single_writes),
		TEST(test_a_block_of_two_writes_is_begun_once),
		TEST(test_more_than_one_call_can_hold_is_left),
		TEST(test_a_write_that_is_not_inside_the_disk_begins_none),
		TEST(test_an_original_that_cannot_be_read_fails_alone),
		TEST(test_data_that_cannot_be_written_fails_alone),
		WITH(set_up_tight, test_what_has_no_room_is_left_and_refused_alone),
		WITH(set_up_growing, test_the_tail_takes_what_has_no_room_in_free_blocks),
		TEST(test_a_part_of_a_block_that_reads_as_zeros_leaves_zeros_around_it),
		TEST(test_others_wait_for_held_blocks_and_for_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
