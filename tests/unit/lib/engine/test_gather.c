/* SPDX-License-Identifier: MIT */
/* A leader waits for those that were seen together before; who is alone is not kept waiting. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "free_end.h"
#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/verbs/operations.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 8192u
#define FREE_BLK 4096u /* from here on */
#define WRITERS 8u
#define WRITES 12u	 /* of each of them */
#define APART_BLK 37u	 /* too far apart to be backed up ahead */
#define BARRIER_US 60000 /* long, so that threads get their turns meanwhile */

static struct {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	atomic_uint barriers;
	bowimg_disk *img;
} f;

static int slow_flush(struct bowimg_disk *dev)
{
	usleep(BARRIER_US);
	atomic_fetch_add(&f.barriers, 1);
	return f.below->flush(dev);
}

static void *write_here_and_there(void *arg)
{
	uint64_t blk = 1 + *(unsigned *)arg * (uint64_t)APART_BLK;
	uint8_t block[BOWIMG_BLOCK_SIZE];

	memset(block, 0x22, sizeof(block));
	for (unsigned i = 0; i < WRITES; i++, blk += WRITERS * (uint64_t)APART_BLK)
		assert_int_equal(bowimg_disk_write(f.img, block, BLOCK, blk * BLOCK, 0, NULL), 0);
	return NULL;
}

static void test_requests_in_flight_share_their_barriers(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(IMAGE_BLK * BLOCK, IMAGE_BLK * BLOCK);
	pthread_t threads[WRITERS];
	unsigned numbers[WRITERS];

	(void)state;
	assert_non_null(dev);
	memset(mem_dev_bytes(dev), 0x11, IMAGE_BLK * BLOCK);
	assert_int_equal(prepare_free_end(dev, FREE_BLK, BOWIMG_ON_FULL_STOP), 0);
	assert_int_equal(bow_serve_dev(dev, NULL, &f.img, NULL), 0);
	f.below = dev->ops;
	f.ops = *f.below;
	f.ops.flush = slow_flush;
	dev->ops = &f.ops;
	for (unsigned i = 0; i < WRITERS; i++) {
		numbers[i] = i;
		assert_int_equal(
			pthread_create(&threads[i], NULL, write_here_and_there, &numbers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	/* In two halves it would be 24; a few more are for the beginning and the end. */
	print_message("%u barriers\n", f.barriers);
	assert_true(f.barriers >= WRITES);
	assert_true(f.barriers <= WRITES + WRITES / 2);
	dev->ops = f.below;
	assert_int_equal(bowimg_disk_close(f.img, NULL), 0);
}

/* Serve one round of so many, with more that queue behind it. */
static void serve(struct bow_gather *g, unsigned n, unsigned behind)
{
	while (g->queued < n)
		bow_gather_join(g);
	bow_gather_begin(g);
	for (unsigned i = 0; i < behind; i++)
		bow_gather_join(g);
	bow_gather_end(g);
}

static void test_as_many_are_expected_as_were_seen_together(void **state)
{
	struct bow_gather g = {0};

	(void)state;
	assert_int_equal(bow_gather_init(&g), 0);
	serve(&g, 1, 0);
	assert_int_equal(g.expected, 1);
	serve(&g, 3, 5);
	assert_int_equal(g.expected, 8);
	serve(&g, 8, 0);
	assert_int_equal(g.expected, 8);
	serve(&g, 1, 0);
	assert_int_equal(g.expected, 1);
	bow_gather_release(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_in_flight_share_their_barriers),
		cmocka_unit_test(test_as_many_are_expected_as_were_seen_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
