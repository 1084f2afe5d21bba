/* SPDX-License-Identifier: MIT */
/* What a killed process leaves to the next: nothing that was acknowledged is lost. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "free_end.h"
#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/verbs/operations.h"
#include "lib/engine/open.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define MIB ((uint64_t)1 << 20)
#define IMAGE_BLK 8192u /* 32 MiB; the first half is in use */

/* A barrier that can be held up, or fails. */
struct fixture {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed, waiting, fails;
	int carry;
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint8_t buf[MIB];
};

static struct fixture *f; /* the current test's */

static int gated_flush(struct bowimg_disk *dev)
{
	pthread_mutex_lock(&f->lock);
	f->waiting = f->closed;
	pthread_cond_broadcast(&f->changed);
	while (f->closed)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	return f->fails ? -EIO : f->below->flush(dev);
}

static int stays_open(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static void set_gate(bool closed)
{
	pthread_mutex_lock(&f->lock);
	f->closed = closed;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static int attach(int carry)
{
	const struct bowimg_open_options opts = {.carry = carry};

	return bow_serve_dev(f->dev, &opts, &f->img, NULL);
}

static void prepare(void)
{
	assert_int_equal(prepare_free_end(f->dev, IMAGE_BLK / 2, BOWIMG_ON_FULL_STOP), 0);
}

static int set_up(void **state)
{
	(void)state;
	f = calloc(1, sizeof(*f));
	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, IMAGE_BLK * BLOCK);
	f->below = f->dev->ops;
	f->ops = *f->dev->ops;
	f->ops.flush = gated_flush;
	f->ops.close = stays_open;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	memset(mem_dev_bytes(f->dev), 0x11, IMAGE_BLK * BLOCK);
	prepare();
	f->dev->ops = &f->ops;
	f->carry = memfd_create("carry", MFD_CLOEXEC);
	assert_true(f->carry > 0);
	assert_int_equal(attach(f->carry), 0);
	assert_false(bow_engine_of(f->img)->carried);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bow_engine_free(f->img);
	f->dev->ops = f->below;
	bow_disk_close(f->dev, NULL);
	close(f->carry);
	free(f);
	return 0;
}

static void kill_process(void)
{
	bow_engine_free(f->img);
	f->img = NULL;
}

static void put(uint8_t byte, uint64_t off, uint64_t bytes)
{
	memset(f->buf, byte, bytes);
	assert_int_equal(bowimg_disk_write(f->img, f->buf, bytes, off, 0, NULL), 0);
}

static void zero(uint64_t off, uint64_t bytes)
{
	assert_int_equal(bowimg_disk_zero(f->img, off, bytes, 0, NULL), 0);
}

static void flush(void)
{
	assert_int_equal(bowimg_disk_flush(f->img, NULL), 0);
}

static bool reads(uint8_t byte, uint64_t off, uint64_t bytes)
{
	assert_int_equal(bowimg_disk_read(f->img, f->buf, bytes, off, NULL), 0);
	for (uint64_t i = 0; i < bytes; i++)
		if (f->buf[i] != byte)
			return false;
	return true;
}

/* Zeros over data, data over zeros that are durable, zeros over what was free: none is flushed. */
static void change(void)
{
	zero(2 * MIB, MIB);
	zero(20 * MIB, MIB);
	flush();
	put(0x22, 2 * MIB, MIB);
	put(0x33, 20 * MIB + 4096, 8192);
	put(0x44, 4 * MIB, MIB);
	zero(5 * MIB, MIB / 2);
	zero(22 * MIB, MIB);
	zero(24 * MIB + 100, 10000);
}

static void check_change(void)
{
	assert_true(reads(0x22, 2 * MIB, MIB));
	assert_true(reads(0, 20 * MIB, 4096));
	assert_true(reads(0x33, 20 * MIB + 4096, 8192));
	assert_true(reads(0, 20 * MIB + 12288, MIB - 12288));
	assert_true(reads(0x44, 4 * MIB, MIB));
	assert_true(reads(0, 5 * MIB, MIB / 2));
	assert_true(reads(0, 22 * MIB, MIB));
	assert_true(reads(0, 24 * MIB + 100, 10000));
}

static void test_all_is_there(void **state)
{
	(void)state;
	change();
	for (int i = 0; i < 3; i++) {
		kill_process();
		assert_int_equal(attach(f->carry), 0);
		assert_true(bow_engine_of(f->img)->carried);
		check_change();
	}
	/* It was made durable: it is there without the file, too. */
	kill_process();
	assert_int_equal(attach(0), 0);
	check_change();
}

static void test_without_it_something_is_lost(void **state)
{
	(void)state;
	change();
	kill_process();
	assert_int_equal(attach(0), 0);
	assert_false(bow_engine_of(f->img)->carried);
	assert_true(reads(0, 2 * MIB, MIB));
}

static void *flush_elsewhere(void *arg)
{
	flush();
	return arg;
}

/* While the leader logs pending zeros, others come. */
static void test_zero_pending_behind_the_leader(void **state)
{
	pthread_t thread;

	(void)state;
	zero(2 * MIB, MIB);
	set_gate(true);
	assert_int_equal(pthread_create(&thread, NULL, flush_elsewhere, NULL), 0);
	pthread_mutex_lock(&f->lock);
	while (!f->waiting)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	zero(4 * MIB, MIB);
	set_gate(false);
	assert_int_equal(pthread_join(thread, NULL), 0);
	zero(6 * MIB, MIB);
	kill_process();
	assert_int_equal(attach(f->carry), 0);
	assert_true(reads(0, 2 * MIB, MIB) && reads(0, 4 * MIB, MIB) && reads(0, 6 * MIB, MIB));
}

/* More pending zeros than are queued at a time, none of them beside another. */
static void test_many_zero_pending(void **state)
{
	(void)state;
	for (uint64_t blk = 256; blk < 256 + 2 * 1500; blk += 2)
		zero(blk * BLOCK, BLOCK);
	kill_process();
	assert_int_equal(attach(f->carry), 0);
	for (uint64_t blk = 256; blk < 256 + 2 * 1500; blk += 2)
		assert_true(reads(0, blk * BLOCK, BLOCK) && reads(0x11, (blk + 1) * BLOCK, BLOCK));
}

/* Dies again while it takes over. */
static void test_killed_while_taking_over(void **state)
{
	(void)state;
	change();
	kill_process();
	f->fails = true;
	assert_int_not_equal(attach(f->carry), 0);
	f->fails = false;
	assert_int_equal(attach(f->carry), 0);
	assert_true(bow_engine_of(f->img)->carried);
	check_change();
}

/* What another process did since then counts, whatever was carried. */
static void test_another_attach(void **state)
{
	(void)state;
	change();
	kill_process();
	assert_int_equal(attach(0), 0);
	zero(2 * MIB, MIB);
	put(0x55, 5 * MIB, MIB);
	flush();
	kill_process();
	assert_int_equal(attach(f->carry), 0);
	assert_false(bow_engine_of(f->img)->carried);
	assert_true(reads(0x55, 5 * MIB, MIB));
	/* It is used again from here on. */
	zero(5 * MIB, MIB / 2);
	kill_process();
	assert_int_equal(attach(f->carry), 0);
	assert_true(bow_engine_of(f->img)->carried && reads(0, 5 * MIB, MIB / 2));
}

static void test_another_checkpoint(void **state)
{
	struct bowimg_end_options opts = {0};
	struct bowimg_end_report report;

	(void)state;
	change();
	kill_process();
	assert_int_equal(bow_rollback_dev(f->dev, &opts, &report, NULL), 0);
	prepare();
	assert_int_equal(attach(f->carry), 0);
	assert_false(bow_engine_of(f->img)->carried);
	assert_true(reads(0x11, 4096, MIB));
}

static void test_clean_detach(void **state)
{
	(void)state;
	change();
	assert_int_equal(bowimg_disk_close(f->img, NULL), 0);
	assert_int_equal(attach(f->carry), 0);
	assert_false(bow_engine_of(f->img)->carried);
	check_change();
}

static void test_what_is_no_such_file(void **state)
{
	static uint8_t junk[32768];

	(void)state;
	memset(junk, 0xff, sizeof(junk));
	change();
	zero(6 * MIB, MIB);
	kill_process();
	/* Runs beyond the end, behind a header that is right. */
	assert_int_equal(pwrite(f->carry, junk, sizeof(junk), 64), sizeof(junk));
	assert_int_not_equal(attach(f->carry), 0);
	/* Not one of ours at all, or cut. */
	assert_int_equal(pwrite(f->carry, junk, sizeof(junk), 0), sizeof(junk));
	assert_int_equal(attach(f->carry), 0);
	assert_false(bow_engine_of(f->img)->carried);
	kill_process();
	assert_int_equal(ftruncate(f->carry, 100), 0);
	assert_int_equal(attach(f->carry), 0);
	assert_false(bow_engine_of(f->img)->carried);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_all_is_there),
		TEST(test_without_it_something_is_lost),
		TEST(test_zero_pending_behind_the_leader),
		TEST(test_many_zero_pending),
		TEST(test_killed_while_taking_over),
		TEST(test_another_attach),
		TEST(test_another_checkpoint),
		TEST(test_clean_detach),
		TEST(test_what_is_no_such_file),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
