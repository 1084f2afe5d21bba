/* SPDX-License-Identifier: MIT */
/* The write-back cache over a disk that takes many writes at a time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/disk/scatter.h"
#include "lib/disk/writeback/writeback.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define SIZE (4096u * BLOCK + 1536u) /* the last block is a part */
#define CACHE (8192u * BLOCK)	     /* half of it is more than a test writes */

struct below {
	struct bowimg_disk disk; /* must be first */
	uint8_t bytes[SIZE];
	atomic_uint calls, together, alone;
	unsigned longest;	/* of what was written together, in bytes */
	unsigned leaves_one_in; /* 0: it takes all of them */
	uint64_t bad;		/* writes that begin here fail; UINT64_MAX: none */
};

static struct below *below;
static struct bowimg_disk *disk;

static int op_read(struct bowimg_disk *d, void *buf, size_t bytes, uint64_t off,
		   struct bowimg_error *err)
{
	(void)err;
	memcpy(buf, ((struct below *)d)->bytes + off, bytes);
	return 0;
}

static int write_to(struct below *b, const void *buf, size_t bytes, uint64_t off)
{
	assert_true(bow_range_ok(off, bytes, SIZE));
	if (off == b->bad)
		return -EIO;
	memcpy(b->bytes + off, buf, bytes);
	return 0;
}

static int op_write(struct bowimg_disk *d, const void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	struct below *b = (struct below *)d;
	int rc = write_to(b, buf, bytes, off);

	b->alone++;
	return rc ? bow_err_errno(err, rc, "alone") : 0;
}

static void op_write_many(struct bowimg_disk *d, struct bow_write *writes, uint32_t n,
			  struct bowimg_error *err)
{
	struct below *b = (struct below *)d;

	b->calls++;
	for (uint32_t i = 0; i < n; i++) {
		struct bow_write *w = &writes[i];

		assert_true(i == 0 || w->off >= writes[i - 1].off + writes[i - 1].bytes);
		if (b->leaves_one_in && i % b->leaves_one_in == 0)
			continue;
		w->begun = true;
		w->result = write_to(b, w->buf, w->bytes, w->off);
		if (w->result)
			bow_err_errno(err, w->result, "together");
		b->together++;
		b->longest = bow_max(b->longest, (unsigned)w->bytes);
	}
}

static int op_flush(struct bowimg_disk *d, struct bowimg_error *err)
{
	(void)d, (void)err;
	return 0;
}

static int op_close(struct bowimg_disk *d, struct bowimg_error *err)
{
	(void)d, (void)err;
	return 0;
}

static struct bow_disk_ops ops = {.read = op_read,
				  .write = op_write,
				  .write_many = op_write_many,
				  .zero = NULL,
				  .flush = op_flush,
				  .close = op_close};

static int open_over(unsigned queue_depth)
{
	const struct bow_writeback_options cache = {.bytes = CACHE};

	below = calloc(1, sizeof(*below));
	assert_non_null(below);
	below->disk = (struct bowimg_disk){
		.built = &ops, .name = "below", .size = SIZE, .queue_depth = queue_depth};
	below->bad = UINT64_MAX;
	ops.write_many = op_write_many;
	assert_int_equal(bow_writeback_new(&below->disk, &cache, &disk, NULL), 0);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return open_over(0);
}

static int set_up_far(void **state)
{
	(void)state;
	return open_over(32);
}

static int tear_down(void **state)
{
	(void)state;
	if (disk)
		bow_disk_close(disk, NULL);
	free(below);
	return 0;
}

static int content_of(uint64_t blk)
{
	return 1 + (int)(blk % 251);
}

/* Write n blocks, `step` apart, the last ones first. */
static void write_blocks(uint64_t first, uint32_t n, uint32_t step)
{
	uint8_t block[BOWIMG_BLOCK_SIZE];

	while (n--) {
		uint64_t blk = first + (uint64_t)n * step;
		size_t bytes = (size_t)bow_min(BLOCK, SIZE - blk * BLOCK);

		memset(block, content_of(blk), bytes);
		assert_int_equal(bow_disk_write(disk, block, bytes, blk * BLOCK, NULL), 0);
	}
}

static void assert_below(uint64_t first, uint32_t n, uint32_t step)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t blk = first + (uint64_t)i * step, end = bow_min((blk + 1) * BLOCK, SIZE);

		for (uint64_t at = blk * BLOCK; at < end; at++)
			assert_int_equal(below->bytes[at], content_of(blk));
		assert_true(end == SIZE || step == 1 || below->bytes[end] == 0);
	}
}

static void test_many_runs_are_written_by_one_call(void **state)
{
	(void)state;
	write_blocks(0, 500, 2);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	/* A round that began before the flush, because it was due, is another one. */
	assert_in_range(below->calls, 1, 12);
	assert_int_equal(below->together + below->alone, 500);
	assert_in_range(below->together, 400, 500);
	assert_below(0, 500, 2);
}

static void test_what_is_not_begun_is_written_alone(void **state)
{
	(void)state;
	below->leaves_one_in = 3;
	write_blocks(0, 600, 2);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_int_equal(below->together + below->alone, 600);
	assert_in_range(below->alone, 200, 320);
	assert_below(0, 600, 2);
	below->leaves_one_in = 1;
	write_blocks(1, 600, 2);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_below(0, 1200, 1);
}

static void test_few_runs_are_written_one_by_one(void **state)
{
	(void)state;
	write_blocks(0, 12, 3);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_int_equal(below->calls, 0);
	assert_below(0, 12, 3);
}

static void test_neighbours_are_one_write_of_up_to_64_blocks(void **state)
{
	(void)state;
	write_blocks(0, 20, 130);
	for (uint32_t i = 0; i < 20; i++)
		write_blocks(i * 130, 100, 1);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	for (uint32_t i = 0; i < 20; i++)
		assert_below(i * 130, 100, 1);
	assert_in_range(below->longest, 2 * BLOCK, 64 * BLOCK);
}

static void test_a_stream_of_small_writes_is_written_by_one_call(void **state)
{
	(void)state;
	write_blocks(0, 2048, 1);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_in_range(below->together, 16, 2048);
	assert_below(0, 2048, 1);
}

static void write_a_mib(void)
{
	uint8_t *data = malloc(256 * BLOCK);

	assert_non_null(data);
	for (uint64_t blk = 0; blk < 256; blk++)
		memset(data + blk * BLOCK, content_of(300 + blk), BLOCK);
	assert_int_equal(bow_disk_write(disk, data, 256 * BLOCK, 300 * BLOCK, NULL), 0);
	free(data);
}

static void test_a_large_write_passes_where_the_disk_is_near(void **state)
{
	(void)state;
	write_a_mib();
	assert_int_equal(below->alone, 1);
	assert_below(300, 256, 1);
}

static void test_a_large_write_waits_for_others_where_the_disk_is_far(void **state)
{
	(void)state;
	write_a_mib();
	write_blocks(1000, 20, 2);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	/* Pieces of 64 blocks, alone or together. */
	assert_in_range(below->alone + below->together, 24, 40);
	assert_below(300, 256, 1);
	assert_below(1000, 20, 2);
}

static void test_last_block_of_the_disk_keeps_its_length(void **state)
{
	(void)state;
	write_blocks(4096 - 2 * 40, 41, 2);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_below(4096 - 2 * 40, 41, 2);
}

static void test_one_that_fails_fails_the_flush_and_what_follows(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	below->bad = 100 * BLOCK;
	write_blocks(0, 200, 2);
	assert_int_equal(bow_disk_flush(disk, &err), -EIO);
	assert_non_null(strstr(err.message, "together"));
	below->bad = UINT64_MAX;
	assert_int_equal(bow_disk_write(disk, "x", 1, 0, NULL), -EIO);
	assert_below(0, 50, 2);
	assert_below(102, 149, 2);
	assert_int_equal(below->bytes[100 * BLOCK], 0);
	assert_int_equal(bow_disk_close(disk, NULL), -EIO);
	disk = NULL;
}

static void test_disk_that_takes_no_many_gets_them_alone(void **state)
{
	(void)state;
	ops.write_many = NULL;
	write_blocks(0, 300, 2);
	assert_int_equal(bow_disk_flush(disk, NULL), 0);
	assert_int_equal(below->alone, 300);
	assert_below(0, 300, 2);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_stream_of_small_writes_is_written_by_one_call),
		TEST(test_a_large_write_passes_where_the_disk_is_near),
		cmocka_unit_test_setup_teardown(
			test_a_large_write_waits_for_others_where_the_disk_is_far, set_up_far,
			tear_down),
		TEST(test_many_runs_are_written_by_one_call),
		TEST(test_what_is_not_begun_is_written_alone),
		TEST(test_few_runs_are_written_one_by_one),
		TEST(test_neighbours_are_one_write_of_up_to_64_blocks),
		TEST(test_last_block_of_the_disk_keeps_its_length),
		TEST(test_one_that_fails_fails_the_flush_and_what_follows),
		TEST(test_disk_that_takes_no_many_gets_them_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
