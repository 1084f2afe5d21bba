/* SPDX-License-Identifier: MIT */
/* The write-back cache: what is read, what a flush has made durable, and what fails late. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem_dev.h"
#include "rng.h"
#include "lib/base/bytes.h"
#include "lib/disk/writeback/writeback.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define SIZE (512u * BLOCK + 1536u) /* the last block is a part */
#define CACHE (64u * BLOCK)	    /* smaller than the disk: it fills up */
#define MOST (200u << 10)	    /* more than what counts as small */

static struct {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	struct bowimg_disk *dev, *disk;
	uint8_t *answered; /* the disk as the answers promise it */
	atomic_uint writes, failing;
	atomic_uint small_done; /* a large write has no effect before that, but for 0.2 s */
	bool compares;		/* at each flush below */
	bool overtaken; /* all is written when the next read below has read, but not returned */
	pthread_mutex_t moves; /* bytes in memory are no disk: one request at a time moves some */
} f;

static int64_t watched_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	atomic_fetch_add(&f.writes, 1);
	for (int i = 0; bytes > MOST / 2 && i < 200 && !atomic_load(&f.small_done); i++)
		usleep(1000);
	if (atomic_load(&f.failing))
		return -EIO;
	pthread_mutex_lock(&f.moves);
	int64_t done = f.below->write(dev, buf, bytes, off);
	pthread_mutex_unlock(&f.moves);
	return done;
}

static int64_t watched_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	pthread_mutex_lock(&f.moves);
	int64_t done = f.below->read(dev, buf, bytes, off);
	pthread_mutex_unlock(&f.moves);
	if (f.overtaken) {
		f.overtaken = false;
		assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	}
	return done;
}

static int watched_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
			enum bow_zero_mode mode)
{
	pthread_mutex_lock(&f.moves);
	int rc = f.below->zero(dev, off, bytes, mode);
	pthread_mutex_unlock(&f.moves);
	return rc;
}

static int watched_flush(struct bowimg_disk *dev)
{
	if (f.compares)
		assert_memory_equal(mem_dev_bytes(dev), f.answered, SIZE);
	return f.below->flush(dev);
}

static int set_up(void **state)
{
	const struct bow_writeback_options cache = {.bytes = CACHE};

	(void)state;
	memset(&f, 0, sizeof(f));
	f.dev = mem_dev_new(SIZE, SIZE);
	f.answered = calloc(1, SIZE);
	assert_true(f.dev && f.answered);
	f.below = f.dev->ops;
	f.ops = *f.below;
	pthread_mutex_init(&f.moves, NULL);
	f.ops.read = watched_read;
	f.ops.zero = watched_zero;
	f.ops.write = watched_write;
	f.ops.flush = watched_flush;
	f.dev->ops = &f.ops;
	atomic_store(&f.small_done, 1);
	assert_int_equal(bow_writeback_new(f.dev, &cache, &f.disk, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (f.disk)
		bow_disk_close(f.disk, NULL);
	free(f.answered);
	return 0;
}

static void write_some(struct rng *r)
{
	static uint8_t data[MOST];
	uint64_t off = rng_below(r, SIZE);
	size_t bytes = 1 + rng_below(r, rng_below(r, 8) ? 3 * BLOCK : MOST - 1);

	bytes = (size_t)bow_min(bytes, SIZE - off);
	memset(data, 1 + (int)rng_below(r, 255), bytes);
	assert_int_equal(bow_disk_write(f.disk, data, bytes, off, NULL), 0);
	memcpy(f.answered + off, data, bytes);
}

static void zero_some(struct rng *r)
{
	uint64_t off = rng_below(r, SIZE), bytes = bow_min(1 + rng_below(r, MOST), SIZE - off);

	assert_int_equal(bow_disk_zero(f.disk, off, bytes, BOW_ZERO_PUNCH, NULL), 0);
	memset(f.answered + off, 0, bytes);
}

static void read_some(struct rng *r)
{
	static uint8_t data[MOST];
	uint64_t off = rng_below(r, SIZE);
	size_t bytes = (size_t)bow_min(1 + rng_below(r, MOST - 1), SIZE - off);

	assert_int_equal(bow_disk_read(f.disk, data, bytes, off, NULL), 0);
	assert_memory_equal(data, f.answered + off, bytes);
}

static void test_it_reads_what_was_written_and_a_flush_has_it_below(void **state)
{
	struct rng r = {7};

	(void)state;
	f.compares = true;
	for (int i = 0; i < 8000; i++) {
		switch (rng_below(&r, 16)) {
		case 0:
			assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
			break;
		case 1:
			zero_some(&r);
			break;
		case 2:
		case 3:
		case 4:
		case 5:
			read_some(&r);
			break;
		default:
			write_some(&r);
		}
	}
	assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
}

static void test_closing_it_writes_everything(void **state)
{
	struct rng r = {8};
	bool hole;
	uint64_t bytes;

	(void)state;
	for (int i = 0; i < 50; i++)
		write_some(&r);
	/* Looking for holes has everything written, too. */
	assert_int_equal(bow_disk_extent(f.disk, 0, &hole, &bytes, NULL), 0);
	assert_memory_equal(mem_dev_bytes(f.dev), f.answered, SIZE);
	assert_int_equal(bow_disk_write(f.disk, "x", 1, 5, NULL), 0);
	f.answered[5] = 'x';
	f.compares = true;
	assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
}

static void test_what_nobody_flushes_is_written_soon(void **state)
{
	(void)state;
	assert_int_equal(bow_disk_write(f.disk, "late", 4, 3 * BLOCK + 9, NULL), 0);
	assert_int_equal(f.writes, 0);
	for (int i = 0; i < 1000 && !f.writes; i++)
		usleep(10000);
	assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	assert_int_equal(f.writes, 1);
	assert_memory_equal(mem_dev_bytes(f.dev) + 3 * BLOCK + 9, "late", 4);
}

#define SIDE_BY_SIDE 31u /* fewer than half of the cache */

static void shuffle(struct rng *r, uint64_t *list, uint32_t n)
{
	for (uint32_t i = 0, j; i < n; i++) {
		j = rng_below(r, i + 1);
		list[i] = list[j];
		list[j] = i;
	}
}

static void test_blocks_side_by_side_become_one_write(void **state)
{
	uint8_t block[BOWIMG_BLOCK_SIZE] = {1};
	uint64_t blk[SIDE_BY_SIDE];
	struct rng r = {9};

	(void)state;
	for (unsigned round = 1; round <= 50; round++) {
		unsigned n = 1 + round % SIDE_BY_SIDE;

		shuffle(&r, blk, n);
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(bow_disk_write(f.disk, block, BLOCK, blk[i] * BLOCK, NULL),
					 0);
		assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	}
	assert_true(f.writes <= 100); /* 50, if 50 ms were always enough; else of 830 */
}

static void test_what_is_written_during_a_read_is_read(void **state)
{
	uint8_t seen[4];

	(void)state;
	assert_int_equal(bow_disk_write(f.disk, "new!", 4, 9 * BLOCK + 5, NULL), 0);
	f.overtaken = true;
	assert_int_equal(bow_disk_read(f.disk, seen, 4, 9 * BLOCK + 5, NULL), 0);
	assert_memory_equal(seen, "new!", 4);
}

static void test_what_fails_late_fails_the_flush_and_all_that_follows(void **state)
{
	struct bowimg_error err;
	uint8_t block[BOWIMG_BLOCK_SIZE] = {1};
	int rc;

	(void)state;
	atomic_store(&f.failing, 1);
	assert_int_equal(bow_disk_write(f.disk, block, BLOCK, 0, NULL), 0);
	bow_err_clear(&err);
	assert_int_equal(bow_disk_flush(f.disk, &err), -EIO);
	assert_non_null(strstr(err.message, "an earlier write"));
	atomic_store(&f.failing, 0);
	assert_int_equal(bow_disk_write(f.disk, block, BLOCK, 8 * BLOCK, NULL), -EIO);
	assert_int_equal(bow_disk_zero(f.disk, 0, BLOCK, BOW_ZERO_PUNCH, NULL), -EIO);
	assert_int_equal(bow_disk_flush(f.disk, NULL), -EIO);
	rc = bow_disk_close(f.disk, NULL);
	f.disk = NULL;
	assert_int_equal(rc, -EIO);
}

/* ---- several threads ------------------------------------------------------------------- */

#define THREADS 6u
#define STRIPE \
	(70u * 1000u) /* more than small, and no multiple of a block: neighbours share some */
#define ROUNDS 400

/* Each has every sixth stripe: it alone knows what is there. */
static void *live_in_stripes(void *arg)
{
	uint32_t number = *(uint32_t *)arg;
	uint8_t *mine = calloc(1, SIZE), *seen = malloc(STRIPE);
	struct rng r = {100 + number};

	assert_true(mine && seen);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t stripe = number + THREADS * rng_below(&r, SIZE / STRIPE / THREADS);
		uint64_t from = rng_below(&r, 4) ? rng_below(&r, STRIPE) : 0;
		uint64_t off = stripe * STRIPE + from, bytes = STRIPE - from;

		if (rng_below(&r, 2))
			bytes = 1 + rng_below(&r, (uint32_t)bytes);
		memset(mine + off, rng_below(&r, 4) ? (int)rng_below(&r, 256) : 0, bytes);
		if (!mine[off] && rng_below(&r, 2))
			assert_int_equal(bow_disk_zero(f.disk, off, bytes, BOW_ZERO_PUNCH, NULL),
					 0);
		else
			assert_int_equal(bow_disk_write(f.disk, mine + off, bytes, off, NULL), 0);
		if (!rng_below(&r, 50))
			assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
		off = stripe * STRIPE;
		assert_int_equal(bow_disk_read(f.disk, seen, STRIPE, off, NULL), 0);
		assert_memory_equal(seen, mine + off, STRIPE);
	}
	free(mine);
	free(seen);
	return NULL;
}

static void test_threads_find_what_they_wrote_beside_each_other(void **state)
{
	pthread_t threads[THREADS];
	uint32_t numbers[THREADS];

	(void)state;
	for (uint32_t i = 0; i < THREADS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, live_in_stripes, &numbers[i]),
				 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

#define LARGE (30u * 4096u + 1000u) /* ends within a block */

static void *write_large(void *arg)
{
	uint8_t *data = malloc(LARGE);

	(void)arg;
	assert_non_null(data);
	memset(data, 'L', LARGE);
	assert_int_equal(bow_disk_write(f.disk, data, LARGE, 0, NULL), 0);
	free(data);
	return NULL;
}

static void test_a_small_write_beside_a_large_one_keeps_both(void **state)
{
	pthread_t large;
	uint8_t seen[8];

	(void)state;
	atomic_store(&f.small_done, 0);
	assert_int_equal(pthread_create(&large, NULL, write_large, NULL), 0);
	usleep(50000); /* the large one is under way by now */
	assert_int_equal(bow_disk_write(f.disk, "SSSS", 4, LARGE, NULL), 0);
	atomic_store(&f.small_done, 1);
	pthread_join(large, NULL);
	assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	assert_int_equal(bow_disk_read(f.disk, seen, 8, LARGE - 4, NULL), 0);
	assert_memory_equal(seen, "LLLLSSSS", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_it_reads_what_was_written_and_a_flush_has_it_below, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closing_it_writes_everything, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_what_nobody_flushes_is_written_soon, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_blocks_side_by_side_become_one_write, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_fails_late_fails_the_flush_and_all_that_follows, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_threads_find_what_they_wrote_beside_each_other,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_small_write_beside_a_large_one_keeps_both,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_written_during_a_read_is_read, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
