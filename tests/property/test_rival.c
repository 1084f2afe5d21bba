/* SPDX-License-Identifier: MIT */
/*
 * Two writers on one image (rule 16). Whatever bowimg is doing, another program writes a sector of
 * block 0: before the first operation of the device, before the second, and so on to the last. That
 * sector must stay, bowimg must say what happened, and once it has seen it must change nothing any
 * more. Left out is the one moment that no comparison can cover: between it and the write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dmbow_gen.h"
#include "lab.h"
#include "lib/verbs/rescue/rescue.h"
#include "rival_dev.h"
#include "lib/engine/open.h"

enum { BLOCKS = 160, FIRST_FREE = 60, CAPACITY = 4 << 20 };
#define SIZE ((uint64_t)BLOCKS * BOW_BLOCK)

struct kind {
	bool file, exact, tail;
};

static const struct kind kinds[] = {
	{0}, {.exact = true}, {.file = true}, {.file = true, .exact = true, .tail = true}};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
/* From one to the next of those that differ for a server. */
#define KINDS_SERVED (KINDS - 1)

/* An image and what is done to it. `start` is how it is before. */
struct scene {
	struct kind kind;
	bool dm_bow;
	int (*act)(struct scene *s, struct bowimg_error *err);
	struct rival_dev r;
	uint8_t *start;
	uint64_t size;
};

/* ---- what may be done to an image ------------------------------------------------ */

static int prepare(struct scene *s, struct bowimg_error *err)
{
	struct bow_prepare_plan plan = {
		.free_source = "map",
		.exact = s->kind.exact,
		.store = s->kind.tail ? BOWIMG_STORE_TAIL : BOWIMG_STORE_FREE,
		.on_full = s->kind.file ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP,
		.uuid = {1, 2, 3},
	};
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS);
	struct bowimg_prepare_report report;
	int rc;

	assert_non_null(map);
	assert_int_equal(bow_bitmap_set(map, FIRST_FREE, BLOCKS - FIRST_FREE), 0);
	plan.free = map;
	rc = bow_prepare_dev(&s->r.dev, &plan, &report, err);
	bow_bitmap_free(map);
	return rc;
}

/* Every block but a few is written, so that the log and block 0's copy must move. */
static void write_much(bowimg_disk *img)
{
	uint8_t block[BOW_BLOCK];

	memset(block, 0xa5, sizeof(block));
	for (uint64_t b = 0; b < BLOCKS; b += b % 4 == 0 ? 2 : 1) {
		bowimg_disk_write(img, block, sizeof(block), b * BOW_BLOCK, 0, NULL);
		if (b % 16 == 0)
			bowimg_disk_flush(img, NULL);
	}
}

static int serve(struct scene *s, struct bowimg_error *err)
{
	static const struct bowimg_open_options opts;
	bowimg_disk *img;
	int rc = bow_serve_dev(&s->r.dev, &opts, &img, err);

	if (rc)
		return rc;
	write_much(img);
	return bowimg_disk_close(img, err);
}

/* Killed: nothing is said at the end. */
static int serve_and_die(struct scene *s, struct bowimg_error *err)
{
	static const struct bowimg_open_options opts;
	bowimg_disk *img;
	int rc = bow_serve_dev(&s->r.dev, &opts, &img, err);

	if (rc)
		return rc;
	write_much(img);
	bow_engine_free(img);
	return 0;
}

static int roll_back(struct scene *s, struct bowimg_error *err)
{
	static const struct bowimg_end_options opts;
	struct bowimg_end_report report;

	return bow_rollback_dev(&s->r.dev, &opts, &report, err);
}

static int roll_back_again(struct scene *s, struct bowimg_error *err)
{
	static const struct bowimg_end_options opts = {.again = true};
	struct bowimg_end_report report;

	return bow_rollback_dev(&s->r.dev, &opts, &report, err);
}

static int commit(struct scene *s, struct bowimg_error *err)
{
	const struct bowimg_end_options opts = {.wipe = !s->dm_bow};
	struct bowimg_end_report report;

	return bow_commit_dev(&s->r.dev, &opts, &report, err);
}

static int rescue(struct scene *s, struct bowimg_error *err)
{
	static const struct bowimg_rescue_options opts = {.write = true};
	struct bowimg_rescue_report report;

	return bow_rescue_dev(&s->r.dev, &opts, &report, err);
}

/* ---- the images that it is done to ----------------------------------------------- */

static void begin(struct scene *s, const struct kind *kind)
{
	memset(s, 0, sizeof(*s));
	s->kind = *kind;
	s->size = SIZE;
	s->start = calloc(1, CAPACITY);
	assert_true(rival_init(&s->r, CAPACITY) && s->start);
	for (uint64_t i = 0; i < FIRST_FREE * (uint64_t)BOW_BLOCK; i++)
		s->start[i] = (uint8_t)(i / BOW_BLOCK * 7 + i % 251);
}

static void end(struct scene *s)
{
	rival_release(&s->r);
	free(s->start);
}

/* Bring the image where `act` leaves it. */
static void then(struct scene *s, int (*act)(struct scene *s, struct bowimg_error *err),
		 uint64_t die_at)
{
	struct bowimg_error err = {0};
	int rc;

	memcpy(s->r.bytes, s->start, CAPACITY);
	rival_open(&s->r, s->size, s->kind.file);
	s->r.die_at = die_at;
	rc = act(s, &err);
	if ((rc != 0) != (die_at != RIVAL_NEVER))
		fail_msg("%d %s", rc, err.message);
	memcpy(s->start, s->r.bytes, CAPACITY);
	s->size = s->r.dev.size;
}

/* ---- the rival ------------------------------------------------------------------- */

/* The act as it goes with a rival before operation `at`; its exit code. */
static int play(struct scene *s, uint64_t at, uint64_t off, struct bowimg_error *err)
{
	memset(err, 0, sizeof(*err));
	memcpy(s->r.bytes, s->start, CAPACITY);
	rival_open(&s->r, s->size, s->kind.file);
	s->r.at = at;
	s->r.off = off;
	return s->act(s, err);
}

/* Where it is noticed before anything more is changed, the words may be those for a puzzle. */
static void assert_left_alone(struct scene *s, uint64_t at, uint64_t off, bool noticed)
{
	struct bowimg_error err;
	int rc = play(s, at, off, &err);

	if (!rival_is_intact(&s->r))
		fail_msg("the rival came before operation %llu, and its sector at %llu is lost",
			 (unsigned long long)at, (unsigned long long)off);
	if (s->r.after)
		fail_msg("the rival came before operation %llu: %llu changes after it was seen",
			 (unsigned long long)at, (unsigned long long)s->r.after);
	if (rc == -ESTALE ? !err.message[0] : noticed ? !rc || s->r.since : rc)
		fail_msg("the rival came before operation %llu: %d %s", (unsigned long long)at, rc,
			 err.message);
}

/* In sector 0 or, where block 0 is longer, in the note. Returns how many cases were tried. */
static uint64_t try_all(struct scene *s, int (*act)(struct scene *s, struct bowimg_error *err),
			uint64_t off)
{
	uint64_t risks[RIVAL_RISKS], ops, cases = 0, first;
	uint32_t n, next = 0;
	struct bowimg_error err;

	s->act = act;
	if (play(s, RIVAL_NEVER, off, &err))
		fail_msg("without a rival: %s", err.message);
	ops = s->r.ops;
	n = s->r.n_risks;
	first = s->r.first_read;
	memcpy(risks, s->r.risks, sizeof(risks));
	assert_true(n > 0 && n < RIVAL_RISKS && first < risks[0]);
	for (uint64_t at = first + 1; at < ops; at++) {
		while (next < n && risks[next] < at)
			next++;
		if (next < n && risks[next] == at)
			continue;
		assert_left_alone(s, at, off, next < n);
		cases++;
	}
	return cases;
}

static void try_both(struct scene *s, const char *what,
		     int (*act)(struct scene *s, struct bowimg_error *err))
{
	uint64_t cases = try_all(s, act, 0) + try_all(s, act, 3 * (uint64_t)RIVAL_SECTOR);

	printf("# %s%s%s%s: %llu cases\n", what, s->kind.file ? ", file" : ", device",
	       s->kind.exact ? ", exact" : "", s->kind.tail ? ", tail" : "",
	       (unsigned long long)cases);
}

static void a_rival_is_left_alone_by_prepare(void **state)
{
	struct scene s;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		begin(&s, &kinds[i]);
		try_both(&s, "prepare", prepare);
		end(&s);
	}
}

static void a_rival_is_left_alone_while_serving_and_by_detach(void **state)
{
	struct scene s;

	(void)state;
	for (size_t i = 0; i < KINDS; i += KINDS_SERVED) {
		begin(&s, &kinds[i]);
		then(&s, prepare, RIVAL_NEVER);
		try_both(&s, "serve", serve);
		end(&s);
	}
}

static void a_rival_is_left_alone_after_a_crash(void **state)
{
	struct scene s;

	(void)state;
	for (size_t i = 0; i < KINDS; i += KINDS_SERVED) {
		begin(&s, &kinds[i]);
		then(&s, prepare, RIVAL_NEVER);
		then(&s, serve_and_die, RIVAL_NEVER);
		try_both(&s, "serve after a crash", serve);
		try_both(&s, "roll back after a crash", roll_back);
		end(&s);
	}
}

static void a_rival_is_left_alone_by_rollback_and_commit(void **state)
{
	struct scene s;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		begin(&s, &kinds[i]);
		then(&s, prepare, RIVAL_NEVER);
		then(&s, serve, RIVAL_NEVER);
		try_both(&s, "roll back", roll_back);
		try_both(&s, "roll back --again", roll_back_again);
		try_both(&s, "commit --wipe", commit);
		end(&s);
	}
}

/* Cut before sectors 1 to 7 of block 0 are put back: the plan is what is gone on with. */
static void a_rival_is_left_alone_by_a_finish_that_is_resumed(void **state)
{
	struct bowimg_error err;
	struct scene s;

	(void)state;
	begin(&s, &kinds[KINDS - 1]);
	then(&s, prepare, RIVAL_NEVER);
	then(&s, serve, RIVAL_NEVER);
	s.act = roll_back;
	assert_int_equal(play(&s, RIVAL_NEVER, 0, &err), 0);
	/* ROLLING_BACK, FINISHING, sectors 1-7, sector 0, cut. */
	assert_int_equal(s.r.n_risks, 5);
	then(&s, roll_back, s.r.risks[2]);
	try_both(&s, "finish", roll_back);
	end(&s);
}

static void a_rival_is_left_alone_by_rescue(void **state)
{
	struct scene s;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		begin(&s, &kinds[i]);
		then(&s, prepare, RIVAL_NEVER);
		then(&s, serve_and_die, RIVAL_NEVER);
		memset(s.start, 0, BOW_BLOCK);
		try_both(&s, "rescue", rescue);
		end(&s);
	}
}

static void a_rival_is_left_alone_on_a_disk_of_dm_bow(void **state)
{
	uint64_t cases = 0;
	struct dmbow gen;
	struct scene s;

	(void)state;
	dmbow_init(&gen);
	for (uint64_t seed = 0; seed < 6; seed++) {
		dmbow_make(&gen, seed);
		begin(&s, &kinds[0]);
		s.dm_bow = true;
		s.size = (uint64_t)gen.blocks * gen.block_size;
		memset(s.start, 0, CAPACITY);
		memcpy(s.start, gen.disk, s.size);
		cases += try_all(&s, roll_back, 0);
		cases += try_all(&s, commit, gen.block_size - RIVAL_SECTOR);
		end(&s);
	}
	dmbow_release(&gen);
	printf("# dm-bow: %llu cases\n", (unsigned long long)cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rival_is_left_alone_by_prepare),
		cmocka_unit_test(a_rival_is_left_alone_while_serving_and_by_detach),
		cmocka_unit_test(a_rival_is_left_alone_after_a_crash),
		cmocka_unit_test(a_rival_is_left_alone_by_rollback_and_commit),
		cmocka_unit_test(a_rival_is_left_alone_by_a_finish_that_is_resumed),
		cmocka_unit_test(a_rival_is_left_alone_by_rescue),
		cmocka_unit_test(a_rival_is_left_alone_on_a_disk_of_dm_bow),
	};

	lab_keep_memory();
	return cmocka_run_group_tests_name("rival", tests, NULL, NULL);
}
