/* SPDX-License-Identifier: MIT */
/* Disks that dm-bow left: what is brought back, what is refused, and with which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "hand_dmbow.h"
#include "lib/verbs/open.h"
#include "lib/api/api.h"
#include "lib/verbs/operations.h"
#include "lib/verbs/rescue/rescue.h"

enum { A = 4, B = 8, C = 12, X = 50, Y = 54, Z = 58 };

/* ---- calls ----------------------------------------------------------------------- */

static struct bowimg_end_report last;

static int rollback(struct hand_dmbow *h, unsigned force)
{
	struct bowimg_end_options opts = {.force = force};

	memset(&h->err, 0, sizeof(h->err));
	return bow_rollback_dev(h->dev, &opts, &last, &h->err);
}

static int commit(struct hand_dmbow *h, unsigned force)
{
	struct bowimg_end_options opts = {.force = force};

	memset(&h->err, 0, sizeof(h->err));
	return bow_commit_dev(h->dev, &opts, &last, &h->err);
}

static uint8_t *copy_of(struct hand_dmbow *h)
{
	uint8_t *copy = malloc(h->dev->size);

	assert_non_null(copy);
	memcpy(copy, mem_dev_bytes(h->dev), h->dev->size);
	return copy;
}

/* Nothing is written, and the error says this; h goes with it. */
static void assert_refused(struct hand_dmbow *h, int code, const char *words)
{
	uint8_t *before = copy_of(h);
	int rc = rollback(h, 0);

	if (rc != code || !strstr(h->err.message, words))
		fail_msg("%d '%s', not %d '%s'", rc, h->err.message, code, words);
	assert_true(h->err.hint[0]);
	assert_memory_equal(before, mem_dev_bytes(h->dev), h->dev->size);
	free(before);
	hand_dmbow_release(h);
}

static void assert_back(struct hand_dmbow *h, uint64_t blk, uint64_t n)
{
	for (; n--; blk++)
		if (!hand_dmbow_is_original(h, blk))
			fail_msg("block %d did not come back", (int)blk);
}

/* Three blocks saved, a backup and block 0's live content moved, two log blocks. */
static void make(struct hand_dmbow *h, uint32_t block_size)
{
	hand_dmbow_begin(h, block_size, 64);
	hand_dmbow_save(h, A, X, 2);
	hand_dmbow_scribble(h, A, 2);
	hand_dmbow_save(h, X + 1, Y, 1);
	hand_dmbow_scribble(h, X + 1, 1);
	hand_dmbow_move_live(h, Z);
	hand_dmbow_scribble(h, HAND_LIVE, 1);
	hand_dmbow_next(h, 60);
	hand_dmbow_save(h, B, 61, 1);
	hand_dmbow_scribble(h, B, 1);
	hand_dmbow_scribble(h, Z, 1); /* block 0 as the file system has it */
}

/* ---- what works ------------------------------------------------------------------ */

static void everything_is_brought_back_in_every_block_size(void **state)
{
	static const uint32_t sizes[] = {512, 1024, 2048, 4096};
	struct hand_dmbow h;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		make(&h, sizes[i]);
		assert_int_equal(rollback(&h, 0), 0);
		assert_back(&h, 0, 1);
		assert_back(&h, A, 2);
		assert_back(&h, B, 1);
		assert_int_equal(last.restored_bytes, 4 * sizes[i]);
		assert_int_equal(last.entries, 6);
		assert_true(last.dm_bow);
		assert_int_equal(rollback(&h, 0), -ENODATA);
		hand_dmbow_release(&h);
	}
}

static void status_says_how_much_there_is(void **state)
{
	struct bowimg_status st;
	struct hand_dmbow h;

	(void)state;
	make(&h, 1024);
	assert_int_equal(bow_status_dev(h.dev, 0, &st, &h.err), 0);
	assert_string_equal(st.format, "dm-bow");
	assert_int_equal(st.state, BOWIMG_STATE_CHECKPOINT);
	assert_int_equal(st.block_size, 1024);
	assert_int_equal(st.virtual_size, 65536);
	assert_int_equal(st.entries, 6);
	assert_int_equal(st.log_bytes, 2048);
	assert_int_equal(st.changed_bytes, 3 * 1024);
	assert_int_equal(st.backup_bytes, 4 * 1024);
	assert_int_equal(st.tail_bytes, 0);
	hand_dmbow_release(&h);
}

static void a_commit_puts_the_live_block_0_back_and_nothing_else(void **state)
{
	struct hand_dmbow h;
	uint8_t *before;

	(void)state;
	make(&h, 2048);
	before = copy_of(&h);
	memcpy(before, hand_dmbow_block(&h, Z), 2048);
	assert_int_equal(commit(&h, 0), 0);
	assert_memory_equal(before, mem_dev_bytes(h.dev), h.dev->size);
	free(before);
	hand_dmbow_release(&h);
}

static void block_0_is_one_move_further_than_the_header_says(void **state)
{
	struct hand_dmbow h;

	(void)state;
	hand_dmbow_begin(&h, 512, 64);
	hand_dmbow_move_live(&h, Z);
	assert_int_equal(bow_get64(hand_dmbow_block(&h, 0) + 20), HAND_LIVE);
	hand_dmbow_scribble(&h, HAND_LIVE, 1);
	assert_int_equal(commit(&h, 0), 0);
	assert_back(&h, 0, 1);
	hand_dmbow_release(&h);
}

/* Larger than what is read at once; its backup was moved in the middle, so it lies in three parts.
 */
static void an_entry_of_many_blocks_comes_back_from_where_its_parts_are(void **state)
{
	const uint64_t n = 4000, source = 100, dest = 6000;
	struct hand_dmbow h;

	(void)state;
	hand_dmbow_begin(&h, 1024, 16384);
	hand_dmbow_save(&h, source, dest, n);
	hand_dmbow_scribble(&h, source, n);
	hand_dmbow_save(&h, dest + 1000, 12000, 1500);
	hand_dmbow_scribble(&h, dest + 1000, 1500);
	assert_int_equal(rollback(&h, 0), 0);
	assert_back(&h, source, n);
	assert_back(&h, 0, 1);
	hand_dmbow_release(&h);
}

static void a_disk_smaller_than_bowimgs_own_limit_is_restored(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 512);
	assert_true(h.dev->size < BOWIMG_MIN_SIZE);
	assert_int_equal(rollback(&h, 0), 0);
	assert_back(&h, A, 2);
	hand_dmbow_release(&h);
}

/* ---- a torn newest end ----------------------------------------------------------- */

/* 4096-byte blocks, entries beyond the first sector; the last saves block C, which stays. */
static void make_long(struct hand_dmbow *h, uint32_t sequence, uint32_t entries)
{
	hand_dmbow_begin(h, 4096, 1024);
	for (uint64_t b = 100; b < 100 + 168 && sequence; b++) {
		hand_dmbow_save(h, b, b + 200, 1);
		hand_dmbow_scribble(h, b, 1);
	}
	if (sequence)
		hand_dmbow_next(h, 60);
	for (uint64_t b = 500; b < 500 + entries - 2; b++) {
		hand_dmbow_save(h, b, b + 200, 1);
		hand_dmbow_scribble(h, b, 1);
	}
	hand_dmbow_save(h, C, 900, 1);
}

static void assert_torn(struct hand_dmbow *h, uint32_t entries)
{
	assert_int_equal(rollback(h, 0), 0);
	assert_back(h, 500, entries - 2);
	assert_back(h, C, 1);
	assert_back(h, 0, 1);
	hand_dmbow_release(h);
}

static void an_entry_that_did_not_reach_the_disk_is_left_out(void **state)
{
	/* Entry 22 is whole in the second sector; 62 ends, and 20 begins, in another sector. */
	static const uint32_t counts[] = {23, 63, 21};
	uint8_t old[24], *slot;
	struct hand_dmbow h;

	(void)state;
	for (uint32_t i = 0; i < 18; i++) {
		uint32_t n = counts[i % 3], sequence = i / 3 % 2, part = i / 6;
		size_t off = bow_dmbow_entry_off(n - 1), split = 512 - off % 512;

		make_long(&h, sequence, n);
		slot = hand_dmbow_block(&h, 0) + off;
		memset(old, 0, sizeof(old));
		if (sequence)
			memcpy(old, hand_dmbow_block(&h, 60) + off, 24);
		split = split < 24 ? split : 24;
		if (part != 1)
			memcpy(slot, old, split);
		if (part != 2)
			memcpy(slot + split, old + split, 24 - split);
		/* Its backup may be missing as well. */
		hand_dmbow_scribble(&h, 900, i % 2);
		assert_torn(&h, n);
	}
}

static void a_backup_that_did_not_reach_the_disk_is_left_out(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make_long(&h, 1, 30);
	hand_dmbow_scribble(&h, 900, 1);
	assert_torn(&h, 30);
}

static void a_header_that_did_not_reach_the_disk_counts_one_less(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make_long(&h, 1, 30);
	bow_put32(hand_dmbow_block(&h, 0) + 12, 29);
	assert_torn(&h, 30);
}

static void a_newest_backup_that_is_damaged_is_not_taken_for_torn(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make_long(&h, 1, 30);
	hand_dmbow_scribble(&h, C, 1);
	hand_dmbow_scribble(&h, 900, 1);
	assert_refused(&h, -EBADMSG, "log block 1: entry 29: the backup of 1 block(s) from 12");
	make_long(&h, 0, 63);
	hand_dmbow_scribble(&h, C, 1);
	hand_dmbow_block(&h, 0)[bow_dmbow_entry_off(62) + 2] ^= 1;
	assert_refused(&h, -EUCLEAN, "log block 0: entry 62");
}

static void a_count_that_is_too_small_is_found_out(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make_long(&h, 1, 30);
	hand_dmbow_scribble(&h, C, 1);
	bow_put32(hand_dmbow_block(&h, 0) + 12, 29);
	assert_refused(&h, -EUCLEAN, "entries beyond");
	make_long(&h, 1, 30);
	bow_put32(hand_dmbow_block(&h, 0) + 12, 28);
	assert_refused(&h, -EUCLEAN, "entries beyond");
	make(&h, 512);
	bow_put32(hand_dmbow_block(&h, 0) + 12, 1);
	assert_refused(&h, -EUCLEAN, "entries beyond");
}

/* ---- damage ---------------------------------------------------------------------- */

static void a_damaged_backup_is_named_and_nothing_is_written(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 512);
	hand_dmbow_block(&h, X)[100] ^= 4;
	assert_refused(&h, -EBADMSG,
		       "log block 0: entry 1: the backup of 2 block(s) from 4 is damaged");
	make(&h, 512);
	hand_dmbow_block(&h, HAND_BACKUP0)[0] ^= 4;
	assert_refused(&h, -EBADMSG, "log block 0: entry 0");
}

static void a_damaged_log_block_is_named_and_nothing_is_written(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 512);
	hand_dmbow_block(&h, 60)[300] ^= 4;
	assert_refused(&h, -EBADMSG, "log block 0 (at block 60): its checksum is wrong");
}

/* A log block that says what it likes, with the right checksum in the newer one. */
static void replace_older(struct hand_dmbow *h, uint32_t sequence, uint32_t size)
{
	struct bow_dmbow_header older;

	bow_dmbow_decode(hand_dmbow_block(h, 60), &older);
	older.sequence = sequence;
	older.block_size = size;
	bow_dmbow_encode(&older, hand_dmbow_block(h, 60));
	bow_put32(hand_dmbow_block(h, 0) + bow_dmbow_entry_off(0) + 20,
		  hand_dmbow_sum(h, 0, 60, 1));
}

static void a_chain_that_loops_or_is_of_another_kind_is_refused(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 512);
	replace_older(&h, 1, 512);
	assert_refused(&h, -EUCLEAN, "log block 0 (at block 60): it has the sequence number 1");
	make(&h, 512);
	replace_older(&h, 0, 1024);
	assert_refused(&h, -EUCLEAN, "it is not a log block");
	make(&h, 512);
	bow_put32(hand_dmbow_block(&h, 0) + 16, 0);
	assert_refused(&h, -EUCLEAN, "where block 0's content should be");
	make(&h, 512);
	bow_put32(hand_dmbow_block(&h, 0) + 16, 64);
	assert_refused(&h, -EUCLEAN, "64 older log blocks");
	/* It says that it is where it itself is. */
	make(&h, 512);
	bow_put64(hand_dmbow_block(&h, 0) + bow_dmbow_entry_off(0) + 8, 0);
	assert_refused(&h, -EUCLEAN, "destination is block 0");
}

static void entries_that_contradict_each_other_are_refused(void **state)
{
	struct hand_dmbow h;

	(void)state;
	hand_dmbow_begin(&h, 512, 64);
	hand_dmbow_save(&h, A, X, 2);
	hand_dmbow_save(&h, A + 1, Y, 2);
	assert_refused(&h, -EUCLEAN, "entry 1: a newer entry saves its source");
	hand_dmbow_begin(&h, 512, 64);
	hand_dmbow_save(&h, A, X, 2);
	hand_dmbow_save(&h, B, X + 1, 1);
	assert_refused(&h, -EUCLEAN, "a newer entry uses its destination");
	hand_dmbow_begin(&h, 512, 64);
	hand_dmbow_save(&h, X, Y, 1);
	hand_dmbow_save(&h, A, X, 1);
	assert_refused(&h, -EUCLEAN, "its source is a newer entry's destination");
	hand_dmbow_begin(&h, 512, 64);
	hand_dmbow_save(&h, A, X, 1);
	hand_dmbow_entry(&h, B, Y, 1, 0);
	hand_dmbow_save(&h, C, Z, 1);
	assert_refused(&h, -EBADMSG, "entry 2: it is a backup without a checksum");
}

static void a_disk_that_was_cut_short_is_refused(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 512);
	h.dev->size = 61 * 512;
	assert_refused(&h, -EUCLEAN, "destination is outside the disk");
}

static void another_version_is_refused_and_its_disk_left_alone(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 512);
	hand_dmbow_block(&h, 0)[5] = 2;
	assert_refused(&h, -EOPNOTSUPP, "unknown version");
	make(&h, 512);
	hand_dmbow_block(&h, 0)[6] = 2;
	assert_refused(&h, -EUCLEAN, "header of dm-bow's log");
}

/* ---- what the user may ask for then ---------------------------------------------- */

static void partial_brings_back_what_is_whole(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 1024);
	hand_dmbow_block(&h, X)[1] ^= 1;
	assert_int_equal(rollback(&h, BOWIMG_FORCE_PARTIAL), 0);
	assert_int_equal(last.lost_entries, 1);
	assert_back(&h, 0, 1);
	assert_back(&h, B, 1);
	assert_false(hand_dmbow_is_original(&h, A));
	hand_dmbow_release(&h);
	/* Without the older log block, block 0 is what it was last. */
	make(&h, 1024);
	hand_dmbow_block(&h, 60)[1] ^= 1;
	assert_int_equal(rollback(&h, BOWIMG_FORCE_PARTIAL), 0);
	assert_true(last.lost_entries > 0);
	assert_back(&h, B, 1);
	assert_memory_equal(hand_dmbow_block(&h, 0), hand_dmbow_block(&h, Z), 1024);
	hand_dmbow_release(&h);
}

static void forward_commits_only_what_is_damaged(void **state)
{
	struct hand_dmbow h;

	(void)state;
	make(&h, 1024);
	assert_int_equal(rollback(&h, BOWIMG_FORCE_FORWARD), 0);
	assert_false(last.committed);
	assert_back(&h, A, 2);
	hand_dmbow_release(&h);
	make(&h, 1024);
	hand_dmbow_block(&h, X)[1] ^= 1;
	assert_int_equal(rollback(&h, BOWIMG_FORCE_FORWARD), 0);
	assert_true(last.committed);
	assert_memory_equal(hand_dmbow_block(&h, 0), hand_dmbow_block(&h, Z), 1024);
	assert_false(hand_dmbow_is_original(&h, B));
	hand_dmbow_release(&h);
}

static void a_commit_does_not_believe_a_header_that_the_log_contradicts(void **state)
{
	/* A backup's place, a saved block, no live content, nowhere. */
	static const uint64_t places[] = {61, B, 30, 0, 64, UINT64_MAX};
	struct hand_dmbow h;
	int rc;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		make(&h, 512);
		bow_put64(hand_dmbow_block(&h, 0) + 20, places[i]);
		rc = commit(&h, 0);
		assert_true(rc == -EUCLEAN || rc == -EBADMSG);
		hand_dmbow_release(&h);
	}
	make(&h, 512);
	hand_dmbow_block(&h, 60)[1] ^= 1;
	assert_int_equal(commit(&h, 0), -EBADMSG);
	assert_non_null(strstr(h.err.hint, "--force=forward"));
	assert_int_equal(commit(&h, BOWIMG_FORCE_FORWARD), 0);
	assert_memory_equal(hand_dmbow_block(&h, 0), hand_dmbow_block(&h, Z), 512);
	hand_dmbow_release(&h);
}

static int no_partition(void *ctx, const struct bowimg_partition *p)
{
	(void)ctx;
	(void)p;
	fail();
	return 0;
}

static void assert_only_ended(struct hand_dmbow *h, int rc, const char *verb)
{
	char text[128];

	assert_int_equal(rc, -EOPNOTSUPP);
	snprintf(text, sizeof(text), "cannot %s it: it holds a checkpoint of the kernel's dm-bow",
		 verb);
	assert_non_null(strstr(h->err.message, text));
	assert_non_null(strstr(h->err.hint, "'bowimg rollback'"));
}

static void what_dm_bow_lacks_is_refused_in_the_same_words(void **state)
{
	struct bowimg_rescue_options look = {.write = false};
	struct bowimg_rescue_report report;
	struct hand_dmbow h;
	bowimg_disk *out;

	(void)state;
	make(&h, 4096);
	assert_only_ended(&h, bow_serve_dev(h.dev, NULL, &out, &h.err), "serve");
	assert_only_ended(&h, bow_view_open(h.dev, 0, &out, &h.err), "view");
	assert_only_ended(&h, bow_partitions_dev(h.dev, no_partition, NULL, &h.err),
			  "show the partitions of");
	assert_only_ended(&h, bow_prepare_check(h.dev, &h.err), "prepare");
	assert_only_ended(&h, bow_rescue_dev(h.dev, &look, &report, &h.err), "rescue");
	assert_int_equal(rollback(&h, 0), 0);
	assert_back(&h, A, 2);
	hand_dmbow_release(&h);
}

static void what_needs_a_free_map_is_not_possible(void **state)
{
	struct bowimg_end_options again = {.again = true}, wipe = {.wipe = true};
	struct hand_dmbow h;
	bowimg_disk *img;

	(void)state;
	make(&h, 4096);
	assert_int_equal(bow_rollback_dev(h.dev, &again, &last, &h.err), -EOPNOTSUPP);
	assert_int_equal(bow_commit_dev(h.dev, &wipe, &last, &h.err), -EOPNOTSUPP);
	assert_int_equal(bow_prepare_check(h.dev, &h.err), -EOPNOTSUPP);
	assert_int_equal(bow_serve_dev(h.dev, NULL, &img, &h.err), -EOPNOTSUPP);
	assert_non_null(strstr(h.err.message, "dm-bow"));
	assert_int_equal(rollback(&h, 0), 0);
	assert_back(&h, A, 2);
	hand_dmbow_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_brought_back_in_every_block_size),
		cmocka_unit_test(status_says_how_much_there_is),
		cmocka_unit_test(a_commit_puts_the_live_block_0_back_and_nothing_else),
		cmocka_unit_test(block_0_is_one_move_further_than_the_header_says),
		cmocka_unit_test(an_entry_of_many_blocks_comes_back_from_where_its_parts_are),
		cmocka_unit_test(a_disk_smaller_than_bowimgs_own_limit_is_restored),
		cmocka_unit_test(an_entry_that_did_not_reach_the_disk_is_left_out),
		cmocka_unit_test(a_backup_that_did_not_reach_the_disk_is_left_out),
		cmocka_unit_test(a_header_that_did_not_reach_the_disk_counts_one_less),
		cmocka_unit_test(a_newest_backup_that_is_damaged_is_not_taken_for_torn),
		cmocka_unit_test(a_count_that_is_too_small_is_found_out),
		cmocka_unit_test(a_damaged_backup_is_named_and_nothing_is_written),
		cmocka_unit_test(a_damaged_log_block_is_named_and_nothing_is_written),
		cmocka_unit_test(a_chain_that_loops_or_is_of_another_kind_is_refused),
		cmocka_unit_test(entries_that_contradict_each_other_are_refused),
		cmocka_unit_test(a_disk_that_was_cut_short_is_refused),
		cmocka_unit_test(another_version_is_refused_and_its_disk_left_alone),
		cmocka_unit_test(partial_brings_back_what_is_whole),
		cmocka_unit_test(forward_commits_only_what_is_damaged),
		cmocka_unit_test(a_commit_does_not_believe_a_header_that_the_log_contradicts),
		cmocka_unit_test(what_needs_a_free_map_is_not_possible),
		cmocka_unit_test(what_dm_bow_lacks_is_refused_in_the_same_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
