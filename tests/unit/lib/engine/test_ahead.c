/* SPDX-License-Identifier: MIT */
/* What is prepared ahead: it saves barriers, and keeps to its share of the free blocks. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "disk_before.h"
#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/verbs/operations.h"
#include "rng.h"
#include "lib/engine/open.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 20480u /* 80 MiB; all but the first MiB is free */
#define USED_BLK 256u

/* A barrier that can be held up, a block that cannot be read, a backup that cannot be written. */
struct gate {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed, waiting;
	uint64_t bad_blk; /* 0: none */
	bool bad_backup;  /* the next one of several blocks */
};

struct fixture {
	struct gate gate;
	struct bowimg_disk *dev;
	bowimg_disk *img;
	struct bowimg_counters start;
	uint8_t buf[16 * BOWIMG_BLOCK_SIZE];
};

static struct gate *gate; /* the current test's */

static int gated_flush(struct bowimg_disk *dev)
{
	pthread_mutex_lock(&gate->lock);
	gate->waiting = gate->closed;
	pthread_cond_broadcast(&gate->changed);
	while (gate->closed)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
	return gate->below->flush(dev);
}

static int64_t gated_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	if (gate->bad_blk && gate->bad_blk * BLOCK - off < bytes)
		return -EIO;
	return gate->below->read(dev, buf, bytes, off);
}

static int64_t gated_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	if (gate->bad_backup && off >= USED_BLK * BLOCK && bytes > BLOCK) {
		gate->bad_backup = false;
		return -EIO;
	}
	return gate->below->write(dev, buf, bytes, off);
}

static void set_gate(bool closed)
{
	pthread_mutex_lock(&gate->lock);
	gate->closed = closed;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

static void put_gate(struct fixture *f)
{
	gate = &f->gate;
	gate->below = f->dev->ops;
	gate->ops = *f->dev->ops;
	gate->ops.flush = gated_flush;
	gate->ops.read = gated_read;
	gate->ops.write = gated_write;
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->changed, NULL);
	f->dev->ops = &gate->ops;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bow_bitmap *free_map = bow_bitmap_new(IMAGE_BLK);
	struct bow_prepare_plan plan = {.free = free_map,
					.free_source = "map",
					.store = BOWIMG_STORE_FREE,
					.on_full = BOWIMG_ON_FULL_STOP};
	struct bowimg_prepare_report report;

	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, IMAGE_BLK * BLOCK);
	put_gate(f);
	assert_int_equal(bow_bitmap_set(free_map, USED_BLK, IMAGE_BLK - USED_BLK), 0);
	assert_int_equal(bow_prepare_dev(f->dev, &plan, &report, NULL), 0);
	assert_int_equal(bow_serve_dev(f->dev, NULL, &f->img, NULL), 0);
	bow_bitmap_free(free_map);
	bowimg_disk_get_counters(f->img, &f->start);
	memset(f->buf, 0x5a, sizeof(f->buf));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	set_gate(false);
	assert_int_equal(bowimg_disk_close(f->img, NULL), 0);
	free(f);
	return 0;
}

static struct bowimg_counters since(const struct fixture *f)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(f->img, &c);
	c.barriers -= f->start.barriers;
	/* What was taken ahead counts as left, since it can be given back. */
	c.free_left_bytes =
		f->start.free_left_bytes - bow_engine_of(f->img)->alloc.free_blk * BLOCK;
	return c;
}

static void write_at(struct fixture *f, uint64_t blk, uint64_t count)
{
	assert_int_equal(bowimg_disk_write(f->img, f->buf, count * BLOCK, blk * BLOCK, 0, NULL), 0);
}

static void a_stream_into_free_blocks_takes_growing_runs(void **state)
{
	struct fixture *f = *state;

	for (uint64_t blk = 1000; blk < 1000 + 4096; blk += 16)
		write_at(f, blk, 16);
	assert_in_range(since(f).barriers, 1, 12); /* for 256 requests */
}

static void scattered_overwrites_share_barriers(void **state)
{
	struct fixture *f = *state;
	struct rng r = {4};

	for (unsigned i = 0; i < 2000; i++)
		write_at(f, rng_between(&r, 1, USED_BLK - 1), 1);
	assert_in_range(since(f).barriers, 1, 20); /* for 255 blocks */
}

static void scattered_writes_into_free_blocks_share_barriers(void **state)
{
	struct fixture *f = *state;
	struct rng r = {1};

	for (unsigned i = 0; i < 4000; i++)
		write_at(f, 4096 + rng_below(&r, 1024), 1);
	assert_in_range(since(f).barriers, 1, 40); /* in four regions */
	assert_in_range(since(f).free_left_bytes / BLOCK, 900, 1024 + 64);
}

/* The guest that writes one block here and one there must not eat what backups need. */
static void what_is_taken_around_scattered_writes_is_rationed(void **state)
{
	struct fixture *f = *state;
	struct rng r = {2};
	uint64_t written = 0;

	for (; written < 1000; written++)
		write_at(f, rng_between(&r, 1024, IMAGE_BLK - 1024), 1);
	/* Some that chance brings together look like streams; and there is the log. */
	assert_in_range(since(f).free_left_bytes / BLOCK, 1,
			written + IMAGE_BLK / 8 + IMAGE_BLK / 32);
}

/* Whatever the guest did in free space before: backups ahead have a share of their own. */
static void scattered_writes_to_free_blocks_leave_overwrites_their_share(void **state)
{
	struct fixture *f = *state;
	struct rng r = {5};
	uint64_t before;

	for (unsigned i = 0; i < 1000; i++)
		write_at(f, rng_between(&r, 1024, IMAGE_BLK - 1024), 1);
	before = since(f).barriers;
	for (uint64_t blk = 16; blk < USED_BLK; blk += 8)
		write_at(f, blk, 8);
	assert_in_range(since(f).barriers - before, 1, 8); /* for 30 requests */
}

/* What was taken and is written is no waste: it counts no longer. */
static void a_guest_that_fills_what_it_began_is_given_more(void **state)
{
	struct fixture *f = *state;
	struct rng r = {3};
	uint32_t order[1024] = {0}, j;

	for (uint64_t from = 1024; from < 1024 + 8 * 1024; from += 1024) {
		for (uint32_t i = 0; i < 1024; i++) {
			j = (uint32_t)rng_below(&r, i + 1);
			order[i] = order[j];
			order[j] = i;
		}
		for (uint32_t i = 0; i < 1024; i++)
			write_at(f, from + order[i], 1);
	}
	assert_in_range(since(f).barriers, 1, 8 * 40); /* half of what is free was written */
	assert_in_range(since(f).free_left_bytes / BLOCK, 8 * 1024, 8 * 1024 + 1024);
}

static void a_single_write_takes_its_own_blocks_alone(void **state)
{
	struct fixture *f = *state;

	write_at(f, 5000, 2);
	write_at(f, 9000, 1);
	assert_int_equal(since(f).free_left_bytes / BLOCK, 3);
}

struct writer {
	pthread_t thread;
	struct fixture *f;
	uint64_t blk;
};

static void *write_one(void *arg)
{
	struct writer *w = arg;

	return (void *)(intptr_t)bowimg_disk_write(w->f->img, w->f->buf, BLOCK, w->blk * BLOCK, 0,
						   NULL);
}

static void start_writer(struct writer *w, struct fixture *f, uint64_t blk)
{
	w->f = f;
	w->blk = blk;
	assert_int_equal(pthread_create(&w->thread, NULL, write_one, w), 0);
}

static void wait_for_barrier(void)
{
	pthread_mutex_lock(&gate->lock);
	while (!gate->waiting)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

/* Rule 2. Otherwise a power cut could leave data in a block that is free. */
static void nobody_writes_where_a_take_is_on_its_way(void **state)
{
	const struct timespec moment = {.tv_nsec = 50000000};
	struct fixture *f = *state;
	struct writer takes, follows;
	const uint8_t *there = mem_dev_bytes(f->dev) + 4300 * BLOCK;
	void *result;

	for (uint64_t blk = 4100; blk < 4180; blk += 20)
		write_at(f, blk, 1);
	set_gate(true);
	start_writer(&takes, f, 4180); /* and with it what is free around */
	wait_for_barrier();
	assert_in_range(since(f).free_left_bytes / BLOCK, 200, 300);
	start_writer(&follows, f, 4300);
	nanosleep(&moment, NULL);
	assert_int_equal(there[0], 0);
	set_gate(false);
	pthread_join(takes.thread, &result);
	assert_null(result);
	pthread_join(follows.thread, &result);
	assert_null(result);
	assert_int_equal(there[0], f->buf[0]);
	/* Both are written: neither counts as prepared for later. */
	assert_false(bow_bitmap_test(bow_engine_of(f->img)->ahead, 4180));
	assert_false(bow_bitmap_test(bow_engine_of(f->img)->ahead, 4300));
	assert_true(bow_bitmap_test(bow_engine_of(f->img)->ahead, 4301));
}

/* The same blocks in falling order: no stream, and one place that grows. */
static void a_writer_that_goes_backwards_shares_barriers(void **state)
{
	struct fixture *f = *state;

	for (uint64_t blk = USED_BLK + 4096; blk-- > USED_BLK + 1024;)
		assert_int_equal(bowimg_disk_write(f->img, f->buf, BLOCK, blk * BLOCK, 0, NULL), 0);
	assert_in_range(since(f).barriers, 1, 3072 / 8);
}

/* As if they had been so at prepare. */
static void fill_used_blocks(struct fixture *f)
{
	memset(mem_dev_bytes(f->dev) + BLOCK, 0x11, (USED_BLK - 1) * BLOCK);
}

/* Each backup is checked against its hash when it is read. */
static void assert_as_before(struct fixture *f, uint64_t blk)
{
	uint8_t got[BOWIMG_BLOCK_SIZE], want[BOWIMG_BLOCK_SIZE];

	memset(want, 0x11, sizeof(want));
	assert_int_equal(disk_read_before(f->img, got, BLOCK, blk * BLOCK, NULL), 0);
	assert_memory_equal(got, want, BLOCK);
}

static void a_block_that_cannot_be_read_fails_no_write_beside_it(void **state)
{
	struct fixture *f = *state;

	fill_used_blocks(f);
	gate->bad_blk = 100;
	for (uint64_t blk = 1; blk < USED_BLK; blk++)
		if (blk == gate->bad_blk)
			assert_int_equal(bowimg_disk_write(f->img, f->buf, BLOCK, blk * BLOCK, 0,
							   NULL),
					 -EIO);
		else
			write_at(f, blk, 1);
	for (uint64_t blk = 1; blk < USED_BLK; blk++)
		if (blk != gate->bad_blk)
			assert_as_before(f, blk);
	gate->bad_blk = 0;
	assert_as_before(f, 100);
}

static void a_backup_ahead_that_cannot_be_written_is_not_named(void **state)
{
	struct fixture *f = *state;

	fill_used_blocks(f);
	gate->bad_backup = true;
	for (uint64_t blk = 1; blk < USED_BLK; blk++)
		write_at(f, blk, 1);
	assert_false(gate->bad_backup);
	for (uint64_t blk = 1; blk < USED_BLK; blk++)
		assert_as_before(f, blk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_stream_into_free_blocks_takes_growing_runs),
		TEST(scattered_overwrites_share_barriers),
		TEST(scattered_writes_into_free_blocks_share_barriers),
		TEST(what_is_taken_around_scattered_writes_is_rationed),
		TEST(scattered_writes_to_free_blocks_leave_overwrites_their_share),
		TEST(a_guest_that_fills_what_it_began_is_given_more),
		TEST(a_writer_that_goes_backwards_shares_barriers),
		TEST(a_single_write_takes_its_own_blocks_alone),
		TEST(nobody_writes_where_a_take_is_on_its_way),
		TEST(a_block_that_cannot_be_read_fails_no_write_beside_it),
		TEST(a_backup_ahead_that_cannot_be_written_is_not_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
