/* SPDX-License-Identifier: MIT */
/* Marks on an image whose free space is all in use, while the host gives the file no more room. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "free_end.h"
#include "mem_dev.h"
#include "lib/engine/open.h"
#include "lib/format/format.h"
#include "lib/verbs/operations.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 512u
#define FREE_BLK 448u /* from here on */
#define HOST_BLK 4096u

/* The file can grow until `full`, except into what was reserved past its end before. */
struct fixture {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	struct bowimg_disk *dev;
	bool full;
	uint64_t reserved_end;
	uint8_t original[IMAGE_BLK * BOWIMG_BLOCK_SIZE];
};

static struct fixture *f; /* the current test's */

static int host_reserve(struct bowimg_disk *dev, uint64_t past_end)
{
	uint64_t end = bow_disk_size(dev) + past_end;

	if (end > HOST_BLK * BLOCK || (f->full && end > f->reserved_end))
		return -ENOSPC;
	f->reserved_end = end > f->reserved_end ? end : f->reserved_end;
	return 0;
}

static int host_resize(struct bowimg_disk *dev, uint64_t size)
{
	if (size > bow_disk_size(dev) && f->full && size > f->reserved_end)
		return -ENOSPC;
	if (size < bow_disk_size(dev))
		f->reserved_end = size;
	return f->below->resize(dev, size);
}

static int stays_open(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static void prepare(void)
{
	assert_int_equal(prepare_free_end(f->dev, FREE_BLK, BOWIMG_ON_FULL_TAIL), 0);
}

static int set_up(void **state)
{
	(void)state;
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, HOST_BLK * BLOCK);
	assert_non_null(f->dev);
	f->below = f->dev->ops;
	f->ops = *f->below;
	f->ops.reserve = host_reserve;
	f->ops.resize = host_resize;
	f->ops.close = stays_open;
	f->dev->ops = &f->ops;
	memset(mem_dev_bytes(f->dev), 0x11, FREE_BLK * BLOCK);
	memcpy(f->original, mem_dev_bytes(f->dev), sizeof(f->original));
	prepare();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	f->dev->ops = f->below;
	bow_disk_close(f->dev, NULL);
	free(f);
	return 0;
}

/* One guest: writes n blocks from blk on, and flushes. */
static int serve_and_write(uint64_t blk, uint64_t n, uint8_t byte)
{
	const struct bowimg_open_options opts = {0};
	uint8_t *buf = malloc(n * BLOCK);
	bowimg_disk *img;
	int rc;

	assert_non_null(buf);
	memset(buf, byte, n * BLOCK);
	assert_int_equal(bow_serve_dev(f->dev, &opts, &img, NULL), 0);
	rc = bowimg_disk_write(img, buf, n * BLOCK, blk * BLOCK, 0, NULL);
	assert_int_equal(bowimg_disk_close(img, NULL), 0);
	free(buf);
	return rc;
}

static void mark(const char *name)
{
	struct bowimg_mark made;

	assert_int_equal(bow_mark_make_dev(f->dev, name, 0, &made, NULL), 0);
}

static int end(const char *to)
{
	const struct bowimg_end_options opts = {.to = to};
	struct bowimg_end_report report;

	return bow_rollback_dev(f->dev, &opts, &report, NULL);
}

static bool is_original(void)
{
	return bow_disk_size(f->dev) == sizeof(f->original) &&
	       memcmp(mem_dev_bytes(f->dev), f->original, FREE_BLK * BLOCK) == 0;
}

static void fill_and_mark(void)
{
	assert_int_equal(serve_and_write(FREE_BLK, IMAGE_BLK - FREE_BLK, 0x22), 0);
	assert_int_equal(serve_and_write(8, 64, 0x33), 0);
	mark("a");
}

static void test_mark_has_the_room_for_its_returns(void **state)
{
	(void)state;
	fill_and_mark();
	f->full = true;
	for (int i = 0; i < 8; i++) {
		/* Refused or not: going back works. */
		serve_and_write(16, 100, (uint8_t)i);
		assert_int_equal(end("a"), 0);
	}
	assert_int_equal(end(NULL), 0);
	assert_true(is_original());
}

static void test_mark_without_that_room_is_refused(void **state)
{
	struct bowimg_mark made;

	(void)state;
	fill_and_mark();
	assert_int_equal(end("a"), 0);
	f->full = true;
	for (int rc = 0, i = 0; !rc; i++) {
		char name[16];

		assert_true(i < 64);
		snprintf(name, sizeof(name), "b%d", i);
		rc = bow_mark_make_dev(f->dev, name, 0, &made, NULL);
		assert_true(!rc || rc == -ENOSPC);
	}
	assert_int_equal(end("a"), 0);
	assert_int_equal(end(NULL), 0);
	assert_true(is_original());
}

/* Back to these bytes, but with less of the tail; nothing is reserved past the end. */
static void put_back(const uint8_t *bytes, uint64_t size, const struct timespec *t)
{
	f->full = false;
	assert_int_equal(bow_disk_resize(f->dev, size, NULL), 0);
	memcpy(mem_dev_bytes(f->dev), bytes, size);
	assert_int_equal(f->below->set_mtime(f->dev, t), 0);
	f->full = true;
	f->reserved_end = size;
}

/* The tail is cut behind our back, as far as nothing of it is needed. */
static void test_return_without_room_does_not_begin(void **state)
{
	struct bow_super sb;
	struct timespec t;
	uint8_t *bytes;
	uint64_t size;
	int rc;

	(void)state;
	fill_and_mark();
	size = bow_disk_size(f->dev);
	bytes = malloc(size);
	assert_non_null(bytes);
	memcpy(bytes, mem_dev_bytes(f->dev), size);
	assert_int_equal(f->below->get_mtime(f->dev, &t), 0);
	do {
		size -= BLOCK;
		assert_true(size > IMAGE_BLK * BLOCK);
		put_back(bytes, size, &t);
		rc = end("a");
		assert_true(!rc || rc == -ENOSPC);
	} while (!rc);
	free(bytes);
	assert_int_equal(bow_super_decode(mem_dev_bytes(f->dev), &sb), BOW_DECODE_OK);
	assert_int_equal(sb.state, BOW_SUPER_CHECKPOINT);
	f->full = false;
	assert_int_equal(end("a"), 0);
	assert_int_equal(end(NULL), 0);
	assert_true(is_original());
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_mark_has_the_room_for_its_returns),
		TEST(test_mark_without_that_room_is_refused),
		TEST(test_return_without_room_does_not_begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
