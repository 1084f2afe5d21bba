/* SPDX-License-Identifier: MIT */
/* Many writes at a time: what is durable before them, who waits, and where backups go. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_before.h"
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
#define STEP 4u
#define NOWHERE UINT64_MAX
#define OLD 0x5a
#define NEW 0x77

struct fixture {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint8_t *original;
	uint8_t data[BOWIMG_BLOCK_SIZE];
	struct bow_write writes[MANY];
	atomic_uint backups, guests, flushes, early;
	atomic_uint unflushed; /* writes besides the guest's since a barrier began */
	bool watches;
	_Atomic uint64_t pause_at; /* who reads there waits */
	sem_t arrived, go;
	atomic_bool done;
};

static struct fixture *f; /* the current test's */

static int64_t watched_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	uint64_t want = off;

	if (atomic_compare_exchange_strong(&f->pause_at, &want, NOWHERE)) {
		sem_post(&f->arrived);
		sem_wait(&f->go);
	}
	return f->below->read(dev, buf, bytes, off);
}

/* The guest of these tests writes used blocks only. */
static int64_t watched_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	if (off && off < FREE_BLK * BLOCK) {
		f->guests++;
		f->early += f->watches && f->unflushed;
	} else {
		f->backups++;
		f->unflushed++;
	}
	return f->below->write(dev, buf, bytes, off);
}

static int watched_flush(struct bowimg_disk *dev)
{
	f->flushes++;
	f->unflushed = 0;
	return f->below->flush(dev);
}

static int stays_open(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static void watch(void)
{
	f->below = f->dev->ops;
	f->ops = *f->below;
	f->ops.read = watched_read;
	f->ops.write = watched_write;
	f->ops.flush = watched_flush;
	f->ops.close = stays_open;
	f->dev->ops = &f->ops;
}

static void prepare(enum bowimg_store store)
{
	struct bow_bitmap *free_map = bow_bitmap_new(IMAGE_BLK);
	struct bow_prepare_plan plan = {.free = free_map,
					.free_source = "map",
					.store = store,
					.on_full = BOWIMG_ON_FULL_STOP};
	struct bowimg_prepare_report report;

	assert_int_equal(bow_bitmap_set(free_map, FREE_BLK, IMAGE_BLK - FREE_BLK), 0);
	assert_int_equal(bow_prepare_dev(f->dev, &plan, &report, NULL), 0);
	bow_bitmap_free(free_map);
}

static void begin(enum bowimg_store store, unsigned queue_depth)
{
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->pause_at = NOWHERE;
	sem_init(&f->arrived, 0, 0);
	sem_init(&f->go, 0, 0);
	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, 3 * IMAGE_BLK * BLOCK);
	assert_non_null(f->dev);
	f->dev->queue_depth = queue_depth;
	for (uint64_t i = 0; i < FREE_BLK * BLOCK / 8; i++)
		((uint64_t *)mem_dev_bytes(f->dev))[i] = 0x9e3779b97f4a7c15u * (i + 1);
	f->original = malloc(FREE_BLK * BLOCK);
	assert_non_null(f->original);
	memcpy(f->original, mem_dev_bytes(f->dev), FREE_BLK * BLOCK);
	prepare(store);
	watch();
	memset(f->data, OLD, sizeof(f->data));
	assert_int_equal(bow_serve_dev(f->dev, NULL, &f->img, NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	begin(BOWIMG_STORE_FREE, 0);
	return 0;
}

static int set_up_far(void **state)
{
	(void)state;
	begin(BOWIMG_STORE_FREE, 16);
	return 0;
}

static int set_up_tail(void **state)
{
	(void)state;
	begin(BOWIMG_STORE_TAIL, 0);
	return 0;
}

/* Whatever happened, a rollback brings all of it back. */
static int tear_down(void **state)
{
	const struct bowimg_end_options opts = {0};
	struct bowimg_end_report report;

	(void)state;
	f->watches = false;
	assert_int_equal(bowimg_disk_close(f->img, NULL), 0);
	assert_int_equal(bow_rollback_dev(f->dev, &opts, &report, NULL), 0);
	assert_memory_equal(mem_dev_bytes(f->dev), f->original, FREE_BLK * BLOCK);
	assert_int_equal(bow_disk_size(f->dev), IMAGE_BLK * BLOCK);
	f->dev->ops = f->below;
	bow_disk_close(f->dev, NULL);
	sem_destroy(&f->arrived);
	sem_destroy(&f->go);
	free(f->original);
	free(f);
	return 0;
}

static uint64_t place(uint32_t i)
{
	return 1 + (uint64_t)i * STEP;
}

/* Overwrite n blocks, STEP apart. Returns how many were begun. */
static uint32_t scatter(uint32_t n)
{
	uint32_t begun = 0;

	f->backups = f->guests = f->flushes = f->unflushed = 0;
	for (uint32_t i = 0; i < n; i++)
		f->writes[i] =
			(struct bow_write){.buf = f->data, .bytes = BLOCK, .off = place(i) * BLOCK};
	bow_disk_write_many(f->img, f->writes, n, NULL);
	for (uint32_t i = 0; i < n; i++) {
		if (f->writes[i].begun)
			assert_int_equal(f->writes[i].result, 0);
		begun += f->writes[i].begun;
	}
	return begun;
}

static void assert_reads(uint64_t blk, int byte)
{
	uint8_t got[BOWIMG_BLOCK_SIZE], want[BOWIMG_BLOCK_SIZE];

	memset(want, byte, sizeof(want));
	assert_int_equal(bow_disk_read(f->img, got, BLOCK, blk * BLOCK, NULL), 0);
	assert_memory_equal(got, want, BLOCK);
}

static void assert_original(uint64_t blk)
{
	uint8_t got[BOWIMG_BLOCK_SIZE];

	assert_int_equal(bow_disk_read(f->img, got, BLOCK, blk * BLOCK, NULL), 0);
	assert_memory_equal(got, f->original + blk * BLOCK, BLOCK);
}

static void assert_all_done(uint32_t n)
{
	print_message("%u backup and log writes, %u of data, %u barriers\n", f->backups, f->guests,
		      f->flushes);
	assert_int_equal(f->early, 0);
	assert_int_equal(f->guests, n);
	for (uint32_t i = 0; i < n; i++) {
		assert_reads(place(i), OLD);
		assert_original(place(i) + 1);
	}
}

/* [I1] Not one write of the guest's, and nothing of bowimg's behind the last barrier. */
static void test_no_data_is_written_while_a_backup_or_the_record_is_not_durable(void **s)
{
	(void)s;
	f->watches = true;
	assert_int_equal(scatter(MANY), MANY);
	assert_all_done(MANY);
	assert_in_range(f->flushes, 1, 4);
}

static void test_a_crew_saves_them_in_the_same_order(void **s)
{
	(void)s;
	f->watches = true;
	assert_int_equal(scatter(MANY), MANY);
	assert_all_done(MANY);
	assert_in_range(f->flushes, 1, 4);
	/* Each of up to 32 gets as much: pieces of 32 blocks here. */
	assert_in_range(f->backups, MANY / 64, MANY / 32 + 16);
}

static void test_an_image_that_stores_in_the_tail_grows_once(void **s)
{
	struct bowimg_counters c;

	(void)s;
	f->watches = true;
	assert_int_equal(scatter(MANY), MANY);
	assert_all_done(MANY);
	/* One more for the file's new size. */
	assert_in_range(f->flushes, 1, 5);
	bowimg_disk_get_counters(f->img, &c);
	assert_in_range(c.tail_bytes / BLOCK, MANY, 3 * 4096);
}

static void *make_many(void *arg)
{
	assert_int_equal(scatter(100), 100);
	return arg;
}

static void *overwrite(void *arg)
{
	uint8_t block[BOWIMG_BLOCK_SIZE];

	memset(block, NEW, sizeof(block));
	assert_int_equal(bow_disk_write(f->img, block, BLOCK, place(50) * BLOCK, NULL), 0);
	f->done = true;
	return arg;
}

/* One thread has begun many writes, and reads the original of the last one. */
static void start_held(pthread_t *many)
{
	f->pause_at = place(99) * BLOCK;
	assert_int_equal(pthread_create(many, NULL, make_many, NULL), 0);
	sem_wait(&f->arrived);
}

static void test_an_overwrite_of_a_held_block_waits_and_is_seen(void **s)
{
	pthread_t many, other;

	(void)s;
	start_held(&many);
	assert_int_equal(pthread_create(&other, NULL, overwrite, NULL), 0);
	usleep(100000);
	assert_false(f->done);
	assert_int_equal(bow_disk_write(f->img, f->data, BLOCK, (place(50) + 1) * BLOCK, NULL), 0);
	assert_original(place(50));
	sem_post(&f->go);
	pthread_join(many, NULL);
	pthread_join(other, NULL);
	assert_true(f->done);
	assert_reads(place(49), OLD);
	assert_reads(place(50), NEW);
	assert_reads(place(50) + 1, OLD);
}

/* What is held by a single write is not waited for, and the others are made. */
static void test_a_block_that_a_single_write_holds_is_left(void **s)
{
	pthread_t other;

	(void)s;
	f->pause_at = place(50) * BLOCK;
	assert_int_equal(pthread_create(&other, NULL, overwrite, NULL), 0);
	sem_wait(&f->arrived);
	assert_int_equal(scatter(100), 99);
	assert_false(f->writes[50].begun);
	sem_post(&f->go);
	pthread_join(other, NULL);
	assert_reads(place(50), NEW);
	assert_reads(place(51), OLD);
	assert_int_equal(bow_disk_write(f->img, f->data, BLOCK, place(50) * BLOCK, NULL), 0);
	assert_reads(place(50), OLD);
}

static void *read_before(void *arg)
{
	uint8_t got[BOWIMG_BLOCK_SIZE];

	assert_int_equal(disk_read_before(f->img, got, BLOCK, place(50) * BLOCK, NULL), 0);
	assert_memory_equal(got, f->original + place(50) * BLOCK, BLOCK);
	return arg;
}

static void test_the_disk_before_is_the_same_beside_them_and_after(void **s)
{
	pthread_t many, reader;

	(void)s;
	start_held(&many);
	assert_int_equal(pthread_create(&reader, NULL, read_before, NULL), 0);
	usleep(50000);
	sem_post(&f->go);
	pthread_join(many, NULL);
	pthread_join(reader, NULL);
	read_before(NULL);
}

int main(void)
{
#define WITH(up, fn) cmocka_unit_test_setup_teardown(fn, up, tear_down)
#define TEST(fn) WITH(set_up, fn)
	const struct CMUnitTest tests[] = {
		TEST(test_no_data_is_written_while_a_backup_or_the_record_is_not_durable),
		WITH(set_up_far, test_a_crew_saves_them_in_the_same_order),
		WITH(set_up_tail, test_an_image_that_stores_in_the_tail_grows_once),
		TEST(test_an_overwrite_of_a_held_block_waits_and_is_seen),
		TEST(test_a_block_that_a_single_write_holds_is_left),
		TEST(test_the_disk_before_is_the_same_beside_them_and_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
