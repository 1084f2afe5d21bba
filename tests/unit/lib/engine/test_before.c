/* SPDX-License-Identifier: MIT */
/*
 * The disk as it was, read while somebody writes at the worst moment: the device stops the reader
 * before it reads a certain place, or the writer after he has written to one.
 */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"
#include "disk_before.h"

#define BLOCKS 256u
#define FIRST_FREE 128u
#define NOWHERE UINT64_MAX

enum { A = 5, B = 40 };

struct stage {
	struct bowimg_disk *dev;
	const struct bow_backend_ops *inner;
	struct bow_backend_ops ops;
	bowimg_disk *img;
	uint8_t original[BLOCKS * BOW_BLOCK];
	struct bowimg_error err;

	pthread_t reader;
	uint64_t read_off; /* when the reader comes here, `act` is called first; once */
	void (*act)(struct stage *s);
	_Atomic uint64_t write_off; /* when this was written to, wait until let go; once */
	sem_t written, go;
	pthread_t writer, releaser;
	uint64_t target_blk;
};

static struct stage stage; /* a device's operations carry no context of a test */

static int64_t staged_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct stage *s = &stage;

	if (pthread_equal(pthread_self(), s->reader) && off == s->read_off) {
		s->read_off = NOWHERE;
		s->act(s);
	}
	return s->inner->read(dev, buf, bytes, off);
}

static int64_t staged_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct stage *s = &stage;
	int64_t n = s->inner->write(dev, buf, bytes, off);

	if (off == s->write_off) {
		s->write_off = NOWHERE;
		sem_post(&s->written);
		sem_wait(&s->go);
	}
	return n;
}

/* ---- what happens meanwhile ------------------------------------------------------ */

static void fill(uint64_t blk, unsigned salt, uint8_t block[BOW_BLOCK])
{
	memset(block, (int)(blk * 7 + salt), BOW_BLOCK);
	memcpy(block, &blk, sizeof(blk));
}

static int write_block(struct stage *s, uint64_t blk, unsigned salt)
{
	uint8_t block[BOW_BLOCK];

	fill(blk, salt, block);
	return bowimg_disk_write(s->img, block, sizeof(block), blk * BOW_BLOCK, 0, NULL);
}

static void *write_target(void *arg)
{
	struct stage *s = arg;

	assert_int_equal(write_block(s, s->target_blk, 100), 0);
	return NULL;
}

/* Long enough for a reader who does not wait to be caught; one who does loses nothing. */
static void *release_soon(void *arg)
{
	struct stage *s = arg;

	usleep(20000);
	sem_post(&s->go);
	return NULL;
}

/* The data is there, the states have not changed yet. */
static void overwrite_halfway(struct stage *s)
{
	s->write_off = s->target_blk * BOW_BLOCK;
	assert_int_equal(pthread_create(&s->writer, NULL, write_target, s), 0);
	sem_wait(&s->written);
	assert_int_equal(pthread_create(&s->releaser, NULL, release_soon, s), 0);
}

static void overwrite(struct stage *s)
{
	assert_int_equal(pthread_create(&s->writer, NULL, write_target, s), 0);
	pthread_join(s->writer, NULL);
}

/* ---- the stage ------------------------------------------------------------------- */

static int set_up(void **state)
{
	struct stage *s = &stage;
	struct bow_prepare_plan plan = {.free_source = "test", .on_full = BOWIMG_ON_FULL_STOP};
	struct bow_bitmap *free_map = bow_bitmap_new(BLOCKS);
	struct bowimg_prepare_report report;

	memset(s, 0, sizeof(*s));
	s->read_off = NOWHERE;
	s->write_off = NOWHERE;
	s->dev = mem_dev_new(sizeof(s->original), sizeof(s->original));
	assert_non_null(s->dev);
	for (uint64_t blk = 0; blk < BLOCKS; blk++)
		fill(blk, 1, mem_dev_bytes(s->dev) + blk * BOW_BLOCK);
	memcpy(s->original, mem_dev_bytes(s->dev), sizeof(s->original));
	assert_int_equal(bow_bitmap_set(free_map, FIRST_FREE, BLOCKS - FIRST_FREE), 0);
	plan.free = free_map;
	assert_int_equal(bow_prepare_dev(s->dev, &plan, &report, &s->err), 0);
	bow_bitmap_free(free_map);
	s->inner = s->dev->ops;
	s->ops = *s->inner;
	s->ops.read = staged_read;
	s->ops.write = staged_write;
	s->dev->ops = &s->ops;
	s->reader = pthread_self();
	sem_init(&s->written, 0, 0);
	sem_init(&s->go, 0, 0);
	assert_int_equal(bow_serve_dev(s->dev, NULL, &s->img, &s->err), 0);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;

	assert_int_equal(bowimg_disk_close(s->img, &s->err), 0);
	sem_destroy(&s->written);
	sem_destroy(&s->go);
	return 0;
}

static void assert_before(struct stage *s, uint64_t blk, uint64_t n)
{
	uint8_t got[FIRST_FREE * BOW_BLOCK];
	int rc = disk_read_before(s->img, got, n * BOW_BLOCK, blk * BOW_BLOCK, &s->err);

	if (rc)
		fail_msg("%d %s", rc, s->err.message);
	assert_memory_equal(got, s->original + blk * BOW_BLOCK, n * BOW_BLOCK);
}

/* Where the original of a saved block is, once another one was asked for. */
static uint64_t known_place_of(struct stage *s, uint64_t blk)
{
	enum bow_backup_kind kind;
	uint64_t at = 0;

	bow_backup_index_get(&bow_engine_of(s->img)->backup_index[0], blk, 1, &kind, &at);
	assert_int_equal(kind, BOW_BACKUP_AT);
	return at;
}

static uint64_t place_of(struct stage *s, uint64_t blk)
{
	assert_before(s, blk, 1);
	return known_place_of(s, blk);
}

/* ---- tests ----------------------------------------------------------------------- */

static void nothing_is_read_or_kept_for_those_who_never_ask(void **state)
{
	struct stage *s = *state;

	assert_int_equal(write_block(s, A, 2), 0);
	assert_before(s, B, 1);
	assert_int_equal(bow_engine_of(s->img)->backup_index[0].levels, 0);
	assert_before(s, A, 1);
	assert_int_equal(bow_engine_of(s->img)->backup_index[0].levels, 1);
}

static void an_original_that_is_just_being_overwritten_is_not_believed(void **state)
{
	struct stage *s = *state;

	s->target_blk = A;
	s->read_off = (uint64_t)A * BOW_BLOCK;
	s->act = overwrite_halfway;
	assert_before(s, A, 1);
	pthread_join(s->writer, NULL);
	pthread_join(s->releaser, NULL);
}

static void an_original_that_was_overwritten_meanwhile_is_found_in_its_backup(void **state)
{
	struct stage *s = *state;

	s->target_blk = A + 2;
	s->read_off = (uint64_t)A * BOW_BLOCK;
	s->act = overwrite;
	assert_before(s, A, 6);
}

static void a_backup_whose_block_is_just_being_overwritten_is_not_believed(void **state)
{
	struct stage *s = *state;

	assert_int_equal(write_block(s, A, 2), 0);
	s->target_blk = place_of(s, A);
	s->read_off = s->target_blk * BOW_BLOCK;
	s->act = overwrite_halfway;
	assert_before(s, A, 1);
	pthread_join(s->writer, NULL);
	pthread_join(s->releaser, NULL);
	assert_int_not_equal(place_of(s, A), s->target_blk);
}

static void a_backup_that_moved_meanwhile_is_followed(void **state)
{
	struct stage *s = *state;

	assert_int_equal(write_block(s, A, 2), 0);
	for (int i = 0; i < 5; i++) {
		s->target_blk = place_of(s, A);
		s->read_off = s->target_blk * BOW_BLOCK;
		s->act = overwrite;
		assert_before(s, A, 1);
		assert_int_not_equal(place_of(s, A), s->target_blk);
	}
}

/* Nothing of A's backup was read yet. */
static void a_backup_that_moves_while_it_is_checked_is_followed(void **state)
{
	struct stage *s = *state;

	assert_int_equal(write_block(s, A, 2), 0);
	assert_int_equal(write_block(s, B, 2), 0);
	assert_before(s, B, 1);
	s->target_blk = known_place_of(s, A);
	s->read_off = s->target_blk * BOW_BLOCK;
	s->act = overwrite;
	assert_before(s, A, 1);
	assert_int_equal(s->read_off, NOWHERE);
	assert_int_not_equal(place_of(s, A), s->target_blk);
}

static void a_rotten_backup_is_told_and_the_rest_can_be_read(void **state)
{
	struct stage *s = *state;
	uint8_t block[BOW_BLOCK], *rotten;

	assert_int_equal(write_block(s, A, 2), 0);
	assert_int_equal(write_block(s, B, 2), 0);
	assert_before(s, B, 1);
	rotten = mem_dev_bytes(s->dev) + known_place_of(s, A) * BOW_BLOCK + 9;
	*rotten ^= 1;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(disk_read_before(s->img, block, 100, A * BOW_BLOCK + 50, &s->err),
				 -EBADMSG);
		assert_non_null(strstr(s->err.message, "is damaged"));
	}
	assert_before(s, B, 1);
	*rotten ^= 1;
	assert_before(s, A, 1);
}

static void a_part_of_the_log_that_moves_while_it_is_read_is_read_again(void **state)
{
	struct stage *s = *state;
	uint64_t first = bow_engine_of(s->img)->sb.seg_blk, blk = 2;

	/* Every other block, so that nothing is backed up ahead: a record each. */
	for (; bow_engine_of(s->img)->sb.seg_blk == first && blk < FIRST_FREE; blk += 2)
		assert_int_equal(write_block(s, blk, 2), 0);
	assert_int_not_equal(bow_engine_of(s->img)->sb.seg_blk, first);
	s->target_blk = first;
	s->read_off = first * BOW_BLOCK;
	s->act = overwrite;
	assert_before(s, 0, FIRST_FREE);
	assert_int_equal(s->read_off, NOWHERE);
}

static void what_lies_beyond_the_end_is_refused(void **state)
{
	struct stage *s = *state;
	uint8_t byte;

	assert_int_equal(disk_read_before(s->img, &byte, 1, sizeof(s->original), NULL), -EINVAL);
	assert_int_equal(disk_read_before(s->img, &byte, 0, sizeof(s->original), NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_read_or_kept_for_those_who_never_ask),
		TEST(an_original_that_is_just_being_overwritten_is_not_believed),
		TEST(an_original_that_was_overwritten_meanwhile_is_found_in_its_backup),
		TEST(a_backup_whose_block_is_just_being_overwritten_is_not_believed),
		TEST(a_backup_that_moved_meanwhile_is_followed),
		TEST(a_backup_that_moves_while_it_is_checked_is_followed),
		TEST(a_rotten_backup_is_told_and_the_rest_can_be_read),
		TEST(a_part_of_the_log_that_moves_while_it_is_read_is_read_again),
		TEST(what_lies_beyond_the_end_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
