/* SPDX-License-Identifier: MIT */
/* Warnings while a disk is served whose host has less space than the image has holes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/engine/open.h"
#include "lib/verbs/operations.h"
#include "mem_dev.h"

#define BLOCKS 4096u
#define FIRST_FREE 1024u
#define MIB_BLK 256u

struct fixture {
	struct bowimg_disk *dev;
	struct bow_backend_ops ops;
	bowimg_disk *img;
	uint64_t next_blk; /* the guest goes on here */
	unsigned notices;
	char notice[512];
};

static struct bow_room room; /* a device's operations carry no context of a test */
static int room_rc;

static int tell_room(struct bowimg_disk *dev, struct bow_room *out)
{
	(void)dev;
	*out = room;
	return room_rc;
}

static void note(void *ctx, const char *text)
{
	struct fixture *f = ctx;

	f->notices++;
	snprintf(f->notice, sizeof(f->notice), "%s", text);
}

static void attach(struct fixture *f)
{
	const struct bowimg_open_options opts = {.force = BOWIMG_FORCE_CHANGED,
						 .events = {.notice = note, .ctx = f}};
	struct bowimg_error err;

	if (bow_serve_dev(f->dev, &opts, &f->img, &err))
		fail_msg("attach: %s", err.message);
}

static void prepare(struct fixture *f, enum bowimg_on_full on_full)
{
	struct bow_prepare_plan plan = {.free_source = "test", .on_full = on_full};
	struct bowimg_prepare_report report;

	*f = (struct fixture){.next_blk = FIRST_FREE};
	room = (struct bow_room){.left = 4 << 20};
	room_rc = 0;
	f->dev = mem_dev_new(BLOCKS * BOW_BLOCK, 2 * BLOCKS * BOW_BLOCK);
	f->ops = *f->dev->ops;
	f->ops.room = tell_room;
	f->dev->ops = &f->ops;
	plan.free = bow_bitmap_new(BLOCKS);
	assert_int_equal(
		bow_bitmap_set((struct bow_bitmap *)plan.free, FIRST_FREE, BLOCKS - FIRST_FREE), 0);
	assert_int_equal(bow_prepare_dev(f->dev, &plan, &report, NULL), 0);
	bow_bitmap_free((struct bow_bitmap *)plan.free);
	attach(f);
}

static void finish(struct fixture *f)
{
	bow_engine_free(f->img);
	bow_disk_close(f->dev, NULL);
}

/* The guest writes to a MiB of holes, which the host has no more afterwards. */
static void take_mib(struct fixture *f)
{
	static uint8_t mib[MIB_BLK * BOW_BLOCK] = {1};
	struct bowimg_error err;

	room.left -= room.left ? sizeof(mib) : 0;
	room.allocated += sizeof(mib);
	if (bowimg_disk_write(f->img, mib, sizeof(mib), f->next_blk * BOW_BLOCK, 0, &err))
		fail_msg("write: %s", err.message);
	f->next_blk += MIB_BLK;
}

static void the_host_is_named_at_75_and_90_percent(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, BOWIMG_ON_FULL_STOP);
	take_mib(&f);
	take_mib(&f);
	assert_int_equal(f.notices, 0);
	take_mib(&f);
	assert_int_equal(f.notices, 1);
	assert_string_equal(f.notice,
			    "the host has 1 MiB left: 75% of the space for backups and new data is "
			    "used; when it ends, writes fail with 'no space'");
	take_mib(&f);
	assert_int_equal(f.notices, 2);
	assert_non_null(strstr(f.notice, "the host has 0 MiB left: 90%"));
	take_mib(&f);
	assert_int_equal(f.notices, 2);
	/* Space came back. */
	room.left = 64 << 20;
	take_mib(&f);
	room.left = 0;
	take_mib(&f);
	assert_int_equal(f.notices, 3);
	finish(&f);
}

/* Blocks that were prepared ahead are written without another request for space. */
static void a_flush_tells_what_became_of_the_host_meanwhile(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, BOWIMG_ON_FULL_STOP);
	take_mib(&f);
	assert_int_equal(bowimg_disk_flush(f.img, NULL), 0);
	assert_int_equal(f.notices, 0);
	room.left = 1 << 18;
	assert_int_equal(bowimg_disk_flush(f.img, NULL), 0);
	assert_int_equal(f.notices, 1);
	assert_int_equal(bowimg_disk_flush(f.img, NULL), 0);
	assert_int_equal(f.notices, 1);
	finish(&f);
}

static void a_disk_that_is_served_again_warns_again(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, BOWIMG_ON_FULL_TAIL);
	take_mib(&f);
	assert_int_equal(bowimg_disk_flush(f.img, NULL), 0);
	bow_engine_free(f.img);
	room.left = 0;
	assert_int_equal(f.notices, 0);
	attach(&f);
	assert_int_equal(f.notices, 1);
	finish(&f);
}

static void a_host_with_room_or_without_an_answer_is_not_named(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, BOWIMG_ON_FULL_STOP);
	room_rc = -EOPNOTSUPP;
	for (int i = 0; i < 4; i++)
		take_mib(&f);
	room_rc = 0;
	room.left = (uint64_t)BLOCKS * BOW_BLOCK;
	for (int i = 0; i < 4; i++)
		take_mib(&f);
	assert_int_equal(f.notices, 0);
	finish(&f);
}

static void the_counters_have_the_smaller_limit(void **state)
{
	struct bowimg_counters c;
	struct fixture f;

	(void)state;
	prepare(&f, BOWIMG_ON_FULL_STOP);
	take_mib(&f);
	bowimg_disk_get_counters(f.img, &c);
	assert_true(c.budget.known && c.budget.by_host && c.budget.host_known);
	assert_int_equal(c.budget.host_left_bytes, 3 << 20);
	assert_int_equal(c.budget.left_bytes, 3 << 20);
	room.left = (uint64_t)BLOCKS * BOW_BLOCK;
	bowimg_disk_get_counters(f.img, &c);
	assert_false(c.budget.by_host);
	assert_int_equal(c.budget.left_bytes, c.free_left_bytes);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_host_is_named_at_75_and_90_percent),
		cmocka_unit_test(a_flush_tells_what_became_of_the_host_meanwhile),
		cmocka_unit_test(a_disk_that_is_served_again_warns_again),
		cmocka_unit_test(a_host_with_room_or_without_an_answer_is_not_named),
		cmocka_unit_test(the_counters_have_the_smaller_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
