/* SPDX-License-Identifier: MIT */
/* Blocks in many places: neighbours are one request, and the rest is asked for at the same time. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "lib/disk/scatter.h"

#define BLOCK BOWIMG_BLOCK_SIZE
#define BLOCKS 1024u
#define DEPTH 4u

/* Answers once as many requests wait as are worth it, or nobody comes for a second. */
struct meeting_disk {
	struct bowimg_disk dev;
	uint8_t bytes[BLOCKS * BLOCK];
	pthread_mutex_t lock;
	pthread_cond_t came;
	unsigned requests, waiting, most, meet;
	uint64_t bad_blk; /* fails; 0: none does */
};

static void await_others(struct meeting_disk *d)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_mutex_lock(&d->lock);
	d->requests++;
	if (++d->waiting > d->most)
		d->most = d->waiting;
	pthread_cond_broadcast(&d->came);
	while (d->most < d->meet && !pthread_cond_timedwait(&d->came, &d->lock, &until)) {
	}
	d->waiting--;
	pthread_mutex_unlock(&d->lock);
}

static bool fails(struct meeting_disk *d, size_t n, uint64_t off)
{
	uint64_t blk = off / BLOCK;

	await_others(d);
	return d->bad_blk && blk <= d->bad_blk && d->bad_blk < blk + n / BLOCK;
}

static int64_t meeting_read(struct bowimg_disk *dev, void *buf, size_t n, uint64_t off)
{
	struct meeting_disk *d = (struct meeting_disk *)dev;

	if (fails(d, n, off))
		return -EIO;
	memcpy(buf, d->bytes + off, n);
	return (int64_t)n;
}

static int64_t meeting_write(struct bowimg_disk *dev, const void *buf, size_t n, uint64_t off)
{
	struct meeting_disk *d = (struct meeting_disk *)dev;

	if (fails(d, n, off))
		return -EIO;
	memcpy(d->bytes + off, buf, n);
	return (int64_t)n;
}

static const struct bow_backend_ops ops = {.read = meeting_read, .write = meeting_write};

static int set_up(void **state)
{
	struct meeting_disk *d = calloc(1, sizeof(*d));

	if (!d)
		return -1;
	d->dev = (struct bowimg_disk){.ops = &ops,
				      .name = "meeting",
				      .size = sizeof(d->bytes),
				      .sector_size = 512,
				      .queue_depth = DEPTH};
	for (unsigned i = 0; i < BLOCKS; i++)
		memset(d->bytes + i * BLOCK, (int)(i % 251), BLOCK);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->came, NULL);
	*state = d;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void neighbours_are_one_request_and_blocks_keep_their_order(void **state)
{
	struct meeting_disk *d = *state;
	const uint64_t blk[] = {7, 8, 9, 3, 1023, 0, 1};
	uint8_t buf[7][BLOCK];

	assert_int_equal(bow_disk_read_scattered(&d->dev, blk, 7, buf, NULL), 0);
	assert_int_equal(d->requests, 4);
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(buf[i][0], blk[i] % 251);
		assert_int_equal(buf[i][BLOCK - 1], blk[i] % 251);
	}
}

static void as_many_are_in_flight_as_the_disk_is_worth(void **state)
{
	struct meeting_disk *d = *state;
	uint64_t blk[BOW_SCATTER_MAX];
	uint8_t *buf = malloc((size_t)BOW_SCATTER_MAX * BLOCK);

	assert_non_null(buf);
	for (unsigned i = 0; i < BOW_SCATTER_MAX; i++)
		blk[i] = 3 * i;
	d->meet = DEPTH;
	assert_int_equal(bow_disk_read_scattered(&d->dev, blk, BOW_SCATTER_MAX, buf, NULL), 0);
	assert_int_equal(d->most, DEPTH);
	assert_int_equal(d->requests, BOW_SCATTER_MAX);
	for (unsigned i = 0; i < BOW_SCATTER_MAX; i++)
		assert_int_equal(buf[i * BLOCK], blk[i] % 251);
	free(buf);
}

static void what_is_written_lies_where_it_belongs(void **state)
{
	struct meeting_disk *d = *state;
	const uint64_t blk[] = {100, 50, 51, 900};
	uint8_t buf[4][BLOCK];

	for (unsigned i = 0; i < 4; i++)
		memset(buf[i], (int)(i + 1), BLOCK);
	assert_int_equal(bow_disk_write_scattered(&d->dev, blk, 4, buf, NULL), 0);
	assert_int_equal(d->requests, 3);
	for (unsigned i = 0; i < 4; i++)
		assert_memory_equal(d->bytes + blk[i] * BLOCK, buf[i], BLOCK);
	assert_int_equal(d->bytes[52 * BLOCK], 52);
}

static void one_that_fails_fails_all(void **state)
{
	struct meeting_disk *d = *state;
	const uint64_t blk[] = {10, 20, 30, 40, 50};
	uint8_t buf[5][BLOCK];
	struct bowimg_error err = {0};

	d->bad_blk = 40;
	assert_int_equal(bow_disk_read_scattered(&d->dev, blk, 5, buf, &err), -EIO);
	assert_non_null(strstr(err.message, "meeting"));
}

static void no_block_is_no_request(void **state)
{
	struct meeting_disk *d = *state;

	assert_int_equal(bow_disk_read_scattered(&d->dev, NULL, 0, NULL, NULL), 0);
	assert_int_equal(bow_disk_write_scattered(&d->dev, NULL, 0, NULL, NULL), 0);
	assert_int_equal(d->requests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			neighbours_are_one_request_and_blocks_keep_their_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(as_many_are_in_flight_as_the_disk_is_worth, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_written_lies_where_it_belongs, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_fails_fails_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_block_is_no_request, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
