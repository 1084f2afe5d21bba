/* SPDX-License-Identifier: MIT */
/* A log segment that is left before it has a record: the order of what is written then. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "free_end.h"
#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 1024u
#define FREE_BLK 512u /* from here on */

/* What the engine asked of the device, in order: Zero of the block that was left, Write, Flush. */
struct fixture {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint64_t left_off;
	char order[64];
	size_t n;
	bool dies; /* writes fail once the superblock has named the next segment */
};

static struct fixture *f; /* the current test's */

static void note(char what)
{
	if (f->n < sizeof(f->order) - 1)
		f->order[f->n++] = what;
}

static int64_t noted_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	if (f->dies && strcmp(f->order, "WFWF") == 0)
		return -EIO;
	note('W');
	return f->below->write(dev, buf, bytes, off);
}

static int noted_flush(struct bowimg_disk *dev)
{
	note('F');
	return f->below->flush(dev);
}

static int noted_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		      enum bow_zero_mode mode)
{
	if (off == f->left_off)
		note('Z');
	return f->below->zero(dev, off, bytes, mode);
}

static int stays_open(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static void prepare(void)
{
	assert_int_equal(prepare_free_end(f->dev, FREE_BLK, BOWIMG_ON_FULL_STOP), 0);
}

static void attach(void)
{
	const struct bowimg_open_options opts = {0};

	assert_int_equal(bow_serve_dev(f->dev, &opts, &f->img, NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->dev = mem_dev_new(IMAGE_BLK * BLOCK, IMAGE_BLK * BLOCK);
	assert_non_null(f->dev);
	memset(mem_dev_bytes(f->dev), 0x11, IMAGE_BLK * BLOCK);
	prepare();
	f->below = f->dev->ops;
	f->ops = *f->below;
	f->ops.write = noted_write;
	f->ops.flush = noted_flush;
	f->ops.zero = noted_zero;
	f->ops.close = stays_open;
	f->dev->ops = &f->ops;
	attach();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bow_engine_free(f->img);
	f->dev->ops = f->below;
	bow_disk_close(f->dev, NULL);
	free(f);
	return 0;
}

/* The guest writes where the newest segment is; what the engine does is noted. */
static int write_over_segment(void)
{
	uint8_t block[BOWIMG_BLOCK_SIZE];

	memset(block, 0x22, sizeof(block));
	f->left_off = bow_engine_of(f->img)->sb.seg_blk * BLOCK;
	f->n = 0;
	memset(f->order, 0, sizeof(f->order));
	return bowimg_disk_write(f->img, block, BLOCK, f->left_off, 0, NULL);
}

/* The process dies when it has begun a segment, and before that has a record. */
static void leave_an_empty_segment(void)
{
	f->dies = true;
	assert_int_not_equal(write_over_segment(), 0);
	f->dies = false;
	bow_engine_free(f->img);
	attach();
}

static void test_wiped_block_is_durable_before_it_is_moved(void **state)
{
	const char *wipe;

	(void)state;
	leave_an_empty_segment();
	assert_int_equal(write_over_segment(), 0);
	wipe = strchr(f->order, 'Z');
	assert_non_null(wipe);
	/* The superblock that names the next one is durable before the wipe, the wipe before more.
	 */
	assert_true(wipe > f->order && wipe[-1] == 'F' && wipe[1] == 'F');
	assert_non_null(strchr(wipe, 'W'));
}

static void test_segment_with_a_record_is_not_wiped(void **state)
{
	(void)state;
	assert_int_equal(write_over_segment(), 0);
	assert_null(strchr(f->order, 'Z'));
	assert_non_null(strchr(f->order, 'W'));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_wiped_block_is_durable_before_it_is_moved),
		TEST(test_segment_with_a_record_is_not_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
