/* SPDX-License-Identifier: MIT */
/* The discard tracker: what counts as free, and what takes it back. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/err.h"

#define SIZE (1u << 20)
#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)

struct fixture {
	char path[64];
	bowimg_disk *tracker;
	uint8_t buf[2 * BOWIMG_BLOCK_SIZE];
	bool is_free[SIZE / BOWIMG_BLOCK_SIZE];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/bowimg-tracker.XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0);
	memset(f->buf, 0x5a, sizeof(f->buf));
	for (unsigned i = 0; i < SIZE / sizeof(f->buf); i++)
		assert_int_equal(write(fd, f->buf, sizeof(f->buf)), sizeof(f->buf));
	close(fd);
	assert_int_equal(bowimg_open_tracker(f->path, NULL, &f->tracker, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	bowimg_disk_close(f->tracker, NULL);
	unlink(f->path);
	free(f);
	return 0;
}

static int keep_run(void *ctx, uint64_t off, uint64_t bytes, bool is_free)
{
	struct fixture *f = ctx;

	for (uint64_t blk = off / BLOCK; is_free && blk < (off + bytes) / BLOCK; blk++)
		f->is_free[blk] = true;
	return 0;
}

static void close_and_prepare(struct fixture *f)
{
	const struct bowimg_prepare_options opts = {.exact = BOWIMG_NO};
	struct bowimg_prepare_report report = {0};
	struct bowimg_error err = {0};

	int ret = bowimg_disk_prepare(f->tracker, &opts, &report, &err);
	f->tracker = NULL;
	if (ret)
		fail_msg("%s", err.message);
	assert_string_equal(report.free_source, "trim");
	assert_int_equal(bowimg_map(f->path, NULL, keep_run, f, &err), 0);
}

static void trim(struct fixture *f, uint64_t off, uint64_t bytes)
{
	assert_int_equal(bowimg_disk_discard(f->tracker, off, bytes, NULL), 0);
}

/* The free blocks are [first, end) without `except`. */
static void expect_free(const struct fixture *f, uint64_t first, uint64_t end, uint64_t except)
{
	for (uint64_t blk = 0; blk < SIZE / BLOCK; blk++)
		if (f->is_free[blk] != (blk >= first && blk < end && blk != except))
			fail_msg("block %u is %s", (unsigned)blk,
				 f->is_free[blk] ? "free" : "used");
}

static void trims_smaller_than_a_block_join(void **state)
{
	struct fixture *f = *state;

	for (uint64_t off = 20 * BLOCK; off < 40 * BLOCK; off += 1024)
		trim(f, off, 1024);
	close_and_prepare(f);
	expect_free(f, 20, 40, 0);
}

static void a_trim_shrinks_inward(void **state)
{
	struct fixture *f = *state;

	trim(f, 20 * BLOCK + 1, 20 * BLOCK - 2);
	trim(f, 100 * BLOCK - 100, 300);
	close_and_prepare(f);
	expect_free(f, 21, 39, 0);
}

static void block_0_is_never_free(void **state)
{
	struct fixture *f = *state;

	trim(f, 0, 30 * BLOCK);
	close_and_prepare(f);
	expect_free(f, 1, 30, 0);
}

static void one_byte_written_takes_a_block_back(void **state)
{
	struct fixture *f = *state;

	trim(f, 20 * BLOCK, 20 * BLOCK);
	assert_int_equal(bowimg_disk_write(f->tracker, "x", 1, 31 * BLOCK - 1, 0, NULL), 0);
	close_and_prepare(f);
	expect_free(f, 20, 40, 30);
}

static void zeroes_are_content_and_take_a_block_back(void **state)
{
	struct fixture *f = *state;

	trim(f, 20 * BLOCK, 20 * BLOCK);
	assert_int_equal(bowimg_disk_zero(f->tracker, 25 * BLOCK, BLOCK, BOWIMG_FUA, NULL), 0);
	assert_int_equal(bowimg_disk_read(f->tracker, f->buf, BLOCK, 25 * BLOCK, NULL), 0);
	for (unsigned i = 0; i < BLOCK; i++)
		assert_int_equal(f->buf[i], 0);
	close_and_prepare(f);
	expect_free(f, 20, 40, 25);
}

static void a_block_may_be_trimmed_again(void **state)
{
	struct fixture *f = *state;

	trim(f, 20 * BLOCK, 20 * BLOCK);
	assert_int_equal(bowimg_disk_write(f->tracker, f->buf, BLOCK, 30 * BLOCK, 0, NULL), 0);
	trim(f, 30 * BLOCK, BLOCK);
	close_and_prepare(f);
	expect_free(f, 20, 40, 0);
}

static void a_trim_changes_nothing_on_the_image(void **state)
{
	struct fixture *f = *state;

	trim(f, 0, SIZE);
	memset(f->buf, 0, sizeof(f->buf));
	assert_int_equal(bowimg_disk_read(f->tracker, f->buf, BLOCK, 30 * BLOCK, NULL), 0);
	for (unsigned i = 0; i < BLOCK; i++)
		assert_int_equal(f->buf[i], 0x5a);
}

static void without_a_trim_there_is_no_checkpoint(void **state)
{
	struct fixture *f = *state;
	const struct bowimg_prepare_options opts = {0};
	struct bowimg_status now = {0};
	struct bowimg_error err = {0};

	trim(f, 100, 3000);
	int ret = bowimg_disk_prepare(f->tracker, &opts, NULL, &err);
	f->tracker = NULL;
	assert_int_equal(ret, -ENOSPC);
	assert_non_null(strstr(err.message, "nothing was trimmed"));
	assert_non_null(strstr(err.hint, "fstrim"));
	assert_int_equal(bowimg_status(f->path, NULL, &now, NULL), 0);
	assert_int_equal(now.state, BOWIMG_STATE_NONE);
}

static void requests_beyond_the_end_are_refused(void **state)
{
	struct fixture *f = *state;
	bowimg_disk *l = f->tracker;

	assert_int_equal(bowimg_disk_read(l, f->buf, 2, SIZE - 1, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_write(l, f->buf, 2, SIZE - 1, 0, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_zero(l, SIZE, 1, 0, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_discard(l, UINT64_MAX - 511, 1024, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_discard(l, 0, UINT64_MAX, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_read(l, f->buf, 0, SIZE, NULL), 0);
}

static void an_image_with_a_checkpoint_is_refused(void **state)
{
	struct fixture *f = *state;
	bowimg_disk *again;

	assert_int_equal(bowimg_open_tracker(f->path, NULL, &again, NULL), -EBUSY);
	trim(f, 20 * BLOCK, 20 * BLOCK);
	close_and_prepare(f);
	assert_int_equal(bowimg_open_tracker(f->path, NULL, &again, NULL), -EALREADY);
}

#define TRACKER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRACKER_TEST(trims_smaller_than_a_block_join),
		TRACKER_TEST(a_trim_shrinks_inward),
		TRACKER_TEST(block_0_is_never_free),
		TRACKER_TEST(one_byte_written_takes_a_block_back),
		TRACKER_TEST(zeroes_are_content_and_take_a_block_back),
		TRACKER_TEST(a_block_may_be_trimmed_again),
		TRACKER_TEST(a_trim_changes_nothing_on_the_image),
		TRACKER_TEST(without_a_trim_there_is_no_checkpoint),
		TRACKER_TEST(requests_beyond_the_end_are_refused),
		TRACKER_TEST(an_image_with_a_checkpoint_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
