/* SPDX-License-Identifier: MIT */
/* The write-back cache during a round that is written together: what readers and writers see. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/disk/scatter.h"
#include "lib/disk/writeback/writeback.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define SIZE (1024u * BLOCK)
#define RUNS 200u
#define OLD 0x11
#define NEW 0x22

struct below {
	struct bowimg_disk disk; /* must be first */
	pthread_mutex_t moves;
	uint8_t bytes[SIZE];
	bool pauses, leaves_odd;
	sem_t arrived, go;
};

static struct below *below;
static struct bowimg_disk *disk;

static int op_read(struct bowimg_disk *d, void *buf, size_t bytes, uint64_t off,
		   struct bowimg_error *err)
{
	(void)d, (void)err;
	pthread_mutex_lock(&below->moves);
	memcpy(buf, below->bytes + off, bytes);
	pthread_mutex_unlock(&below->moves);
	return 0;
}

static int op_write(struct bowimg_disk *d, const void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	(void)d, (void)err;
	pthread_mutex_lock(&below->moves);
	memcpy(below->bytes + off, buf, bytes);
	pthread_mutex_unlock(&below->moves);
	return 0;
}

/* Stops in the middle, when half of them are written. */
static void op_write_many(struct bowimg_disk *d, struct bow_write *writes, uint32_t n,
			  struct bowimg_error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		if (i == n / 2 && below->pauses) {
			below->pauses = false;
			sem_post(&below->arrived);
			sem_wait(&below->go);
		}
		if (below->leaves_odd && i % 2)
			continue;
		writes[i].begun = true;
		writes[i].result = op_write(d, writes[i].buf, writes[i].bytes, writes[i].off, err);
	}
}

static int op_nothing(struct bowimg_disk *d, struct bowimg_error *err)
{
	(void)d, (void)err;
	return 0;
}

static const struct bow_disk_ops ops = {.read = op_read,
					.write = op_write,
					.write_many = op_write_many,
					.flush = op_nothing,
					.close = op_nothing};

static int set_up(void **state)
{
	const struct bow_writeback_options cache = {.bytes = 512 * BLOCK};

	(void)state;
	below = calloc(1, sizeof(*below));
	assert_non_null(below);
	below->disk = (struct bowimg_disk){.built = &ops, .name = "below", .size = SIZE};
	pthread_mutex_init(&below->moves, NULL);
	sem_init(&below->arrived, 0, 0);
	sem_init(&below->go, 0, 0);
	assert_int_equal(bow_writeback_new(&below->disk, &cache, &disk, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bow_disk_close(disk, NULL);
	sem_destroy(&below->arrived);
	sem_destroy(&below->go);
	free(below);
	return 0;
}

static void write_block(uint64_t blk, int byte)
{
	uint8_t block[BOWIMG_BLOCK_SIZE];

	memset(block, byte, sizeof(block));
	assert_int_equal(bow_disk_write(disk, block, BLOCK, blk * BLOCK, NULL), 0);
}

static void write_runs(int byte)
{
	for (uint64_t i = 0; i < RUNS; i++)
		write_block(3 * i, byte);
}

static void assert_runs(int byte)
{
	static uint8_t got[3 * RUNS * BOWIMG_BLOCK_SIZE];

	assert_int_equal(bow_disk_read(disk, got, sizeof(got), 0, NULL), 0);
	for (uint64_t at = 0; at < sizeof(got); at++)
		assert_int_equal(got[at], at / BLOCK % 3 ? 0 : byte);
}

static void *flush(void *arg)
{
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	return arg;
}

static void *write_again(void *arg)
{
	write_runs(NEW);
	return arg;
}

/* A round is under way, and half of it is below. */
static void start_round(pthread_t *flusher)
{
	below->pauses = true;
	write_runs(OLD);
	assert_int_equal(pthread_create(flusher, NULL, flush, NULL), 0);
	sem_wait(&below->arrived);
}

static void test_readers_during_a_round_see_what_was_answered(void **state)
{
	pthread_t flusher;

	(void)state;
	start_round(&flusher);
	assert_runs(OLD);
	write_block(1000, NEW); /* of another block: nobody waits */
	sem_post(&below->go);
	pthread_join(flusher, NULL);
	assert_runs(OLD);
}

static void test_a_write_into_a_round_comes_after_it(void **state)
{
	pthread_t flusher, writer;

	(void)state;
	start_round(&flusher);
	assert_int_equal(pthread_create(&writer, NULL, write_again, NULL), 0);
	sem_post(&below->go);
	pthread_join(writer, NULL);
	pthread_join(flusher, NULL);
	assert_runs(NEW);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_int_equal(below->bytes[0], NEW);
	assert_int_equal(below->bytes[3 * (RUNS - 1) * BLOCK], NEW);
}

static void test_readers_see_those_that_were_not_begun(void **state)
{
	pthread_t flusher;

	(void)state;
	below->leaves_odd = true;
	start_round(&flusher);
	assert_runs(OLD);
	sem_post(&below->go);
	pthread_join(flusher, NULL);
	for (uint64_t i = 0; i < RUNS; i++)
		assert_int_equal(below->bytes[3 * i * BLOCK], OLD);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_readers_during_a_round_see_what_was_answered),
		TEST(test_a_write_into_a_round_comes_after_it),
		TEST(test_readers_see_those_that_were_not_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
