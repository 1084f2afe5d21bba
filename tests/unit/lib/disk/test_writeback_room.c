/* SPDX-License-Identifier: MIT */
/*
 * The write-back cache over a disk whose space ends: a write that finds none is refused at once, as
 * without a cache. None fails late, which would fail all that follow.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rng.h"
#include "lib/base/bytes.h"
#include "lib/disk/writeback/writeback.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define BLOCKS 2048u
#define SIZE (BLOCKS * BLOCK)
#define MOST (200u << 10) /* more than what counts as small */
#define EACH (2 * BLOCK)  /* that the first write of a block takes */
#define THREADS 4u

static struct {
	struct bowimg_disk below, *disk;
	pthread_mutex_t lock;
	bool known;
	uint64_t left; /* bytes */
	bool taken[BLOCKS];
	uint8_t bytes[SIZE];
	unsigned small_refused, refused, small_below;
} f;

static int below_write(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint64_t first = off / BLOCK, end = bow_div_up(off + bytes, BLOCK), need = 0;
	int rc = 0;

	(void)disk;
	pthread_mutex_lock(&f.lock);
	f.small_below += bytes <= BLOCK;
	for (uint64_t i = first; i < end; i++)
		need += f.taken[i] ? 0 : EACH;
	if (need > f.left) {
		rc = bow_err(err, -ENOSPC, "no space");
	} else {
		f.left -= need;
		memset(f.taken + first, true, end - first);
		memcpy(f.bytes + off, buf, bytes);
	}
	pthread_mutex_unlock(&f.lock);
	return rc;
}

static int below_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		      struct bowimg_error *err)
{
	(void)disk;
	(void)err;
	pthread_mutex_lock(&f.lock);
	memcpy(buf, f.bytes + off, bytes);
	pthread_mutex_unlock(&f.lock);
	return 0;
}

static int below_zero(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		      struct bowimg_error *err)
{
	(void)disk;
	(void)err;
	pthread_mutex_lock(&f.lock);
	memset(f.bytes + off, 0, bytes);
	pthread_mutex_unlock(&f.lock);
	return 0;
}

static int below_flush(struct bowimg_disk *disk, struct bowimg_error *err)
{
	(void)disk;
	(void)err;
	return 0;
}

static int below_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	(void)disk;
	(void)err;
	return 0;
}

static void below_counters(const struct bowimg_disk *disk, struct bowimg_counters *out)
{
	(void)disk;
	pthread_mutex_lock(&f.lock);
	out->budget.known = f.known;
	out->budget.left_bytes = f.known ? f.left : 0;
	pthread_mutex_unlock(&f.lock);
}

static const struct bow_disk_ops below_ops = {
	.read = below_read,
	.write = below_write,
	.zero = below_zero,
	.flush = below_flush,
	.close = below_close,
	.counters = below_counters,
};

static int open_with(uint64_t left, bool known)
{
	const struct bow_writeback_options opts = {.bytes = 4u << 20};

	memset(&f, 0, sizeof(f));
	pthread_mutex_init(&f.lock, NULL);
	f.below = (struct bowimg_disk){
		.built = &below_ops, .name = "below", .size = SIZE, .sector_size = 512};
	f.left = left;
	f.known = known;
	return bow_writeback_new(&f.below, &opts, &f.disk, NULL);
}

/* Many small writes for each large one, each in its thread's own blocks. */
static void *write_until_full(void *arg)
{
	uint32_t number = *(uint32_t *)arg, mine = BLOCKS / THREADS;
	uint8_t data[MOST], *kept = malloc(mine * BLOCK), *seen = malloc(mine * BLOCK);
	struct rng r = {number};

	assert_true(kept && seen);
	memset(kept, 0, mine * BLOCK);
	for (unsigned i = 0; i < 3000; i++) {
		size_t bytes = rng_below(&r, 30) ? BLOCK : MOST;
		uint64_t off = rng_below(&r, mine) * BLOCK;
		int rc;

		bytes = (size_t)bow_min(bytes, mine * BLOCK - off);
		memset(data, (int)rng_between(&r, 1, 255), bytes);
		rc = bow_disk_write(f.disk, data, bytes, number * mine * BLOCK + off, NULL);
		assert_true(!rc || rc == -ENOSPC);
		if (!rc)
			memcpy(kept + off, data, bytes);
		pthread_mutex_lock(&f.lock);
		f.refused += rc != 0;
		f.small_refused += rc && bytes == BLOCK;
		pthread_mutex_unlock(&f.lock);
		if (!rng_below(&r, 200))
			assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	}
	assert_int_equal(bow_disk_read(f.disk, seen, mine * BLOCK, number * mine * BLOCK, NULL), 0);
	assert_memory_equal(seen, kept, mine * BLOCK);
	free(kept);
	free(seen);
	return NULL;
}

static void test_no_write_fails_late_when_space_ends(void **state)
{
	uint32_t numbers[THREADS] = {0, 1, 2, 3};
	pthread_t threads[THREADS];

	(void)state;
	for (uint64_t left = 0; left <= 1200 * EACH; left += 100 * EACH) {
		assert_int_equal(open_with(left, true), 0);
		for (uint32_t i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, write_until_full, &numbers[i]);
		for (uint32_t i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
		assert_true(f.refused > 0 && f.small_refused > 0);
		assert_true(f.left < EACH); /* all of it could be used */
		assert_int_equal(bow_disk_close(f.disk, NULL), 0);
	}
}

static void test_with_room_small_writes_are_answered_early(void **state)
{
	uint8_t block[BOWIMG_BLOCK_SIZE] = {1};

	(void)state;
	assert_int_equal(open_with(UINT64_MAX, false), 0); /* no limit is known */
	assert_int_equal(bow_disk_write(f.disk, block, BLOCK, 3 * BLOCK, NULL), 0);
	assert_int_equal(f.small_below, 0);
	assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	assert_int_equal(bow_disk_close(f.disk, NULL), 0);
}

/* Space that comes back is found. */
static void test_what_was_refused_can_be_written_when_there_is_room(void **state)
{
	uint8_t block[BOWIMG_BLOCK_SIZE] = {1};

	(void)state;
	assert_int_equal(open_with(EACH, true), 0);
	assert_int_equal(bow_disk_write(f.disk, block, BLOCK, 0, NULL), 0);
	assert_int_equal(f.small_below, 1); /* it was not answered before it was there */
	assert_int_equal(bow_disk_write(f.disk, block, BLOCK, 9 * BLOCK, NULL), -ENOSPC);
	f.left = 100 * EACH;
	assert_int_equal(bow_disk_write(f.disk, block, BLOCK, 9 * BLOCK, NULL), 0);
	assert_int_equal(bow_disk_flush(f.disk, NULL), 0);
	assert_int_equal(bow_disk_close(f.disk, NULL), 0);
	assert_true(f.taken[9]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_write_fails_late_when_space_ends),
		cmocka_unit_test(test_with_room_small_writes_are_answered_early),
		cmocka_unit_test(test_what_was_refused_can_be_written_when_there_is_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
