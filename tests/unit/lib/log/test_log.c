/* SPDX-License-Identifier: MIT */
/* Segments and records: where the log ends, what is a torn tail and what is damage. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "hand_log.h"

struct seen {
	uint64_t sequence[64], source[64];
	uint32_t n, pieces, stop_after;
};

static int see_piece(void *ctx, struct bow_walk *w, uint64_t start_blk, uint64_t n,
		     struct bowimg_error *err)
{
	struct seen *s = ctx;

	(void)w, (void)start_blk, (void)n, (void)err;
	s->pieces++;
	return 0;
}

static int see_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err)
{
	struct seen *s = ctx;

	(void)err;
	assert_true(s->n < 64);
	s->sequence[s->n] = w->sequence;
	s->source[s->n++] = e->source_blk;
	return s->n == s->stop_after ? 77 : 0;
}

/* Walk the log; `w` is released, what it found stays in it. */
static int walk(struct hand_log *h, struct seen *s, struct bow_walk *found)
{
	struct bow_visitor v = {.segment_piece = see_piece, .entry = see_entry, .ctx = s};
	struct bow_walk w;
	int rc;

	memset(s->sequence, 0, sizeof(s->sequence));
	s->n = s->pieces = 0;
	memset(&h->err, 0, sizeof(h->err));
	assert_int_equal(bow_walk_init(&w, h->dev, &h->sb, &h->err), 0);
	rc = bow_walk_run(&w, &v, &h->err);
	if (found)
		*found = w;
	bow_walk_release(&w);
	return rc;
}

static void assert_refused(struct hand_log *h, int code, const char *words)
{
	struct seen s = {0};
	int rc = walk(h, &s, NULL);

	if (rc != code || !strstr(h->err.message, words))
		fail_msg("%d '%s', not %d '%s'", rc, h->err.message, code, words);
}

/* Three records, the last of which has 40 entries, and so three sectors. */
static void begin_three(struct hand_log *h)
{
	struct bow_entry e[40];

	hand_log_begin(h, 512, 1);
	hand_log_one(h, hand_mark(BOW_ENTRY_TAKE, 50, 1));
	for (uint32_t i = 0; i < 40; i++)
		e[i] = hand_mark(BOW_ENTRY_ZERO_PENDING, i + 1, 1);
	hand_log_record(h, e, 40);
}

static uint8_t *sector(struct hand_log *h, uint32_t i)
{
	return hand_block(h, h->sb.seg_blk) + (size_t)i * 512;
}

static void entries_come_from_the_newest_to_the_oldest(void **state)
{
	struct bow_entry e[3] = {hand_mark(BOW_ENTRY_TAKE, 40, 1), hand_mark(BOW_ENTRY_TAKE, 41, 1),
				 hand_mark(BOW_ENTRY_TAKE, 42, 1)};
	static const uint64_t sources[] = {43, 42, 41, 40, 32, 0}, numbers[] = {3, 2, 2, 2, 1, 1};
	struct hand_log h;
	struct bow_walk w;
	struct seen s = {0};

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, 36, 2);
	hand_log_record(&h, e, 3);
	hand_log_switch(&h, 38, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 43, 1));
	assert_int_equal(walk(&h, &s, &w), 0);
	assert_int_equal(s.n, 6);
	assert_int_equal(w.entries, 6);
	assert_int_equal(s.pieces, 3);
	assert_memory_equal(s.source, sources, sizeof(sources));
	assert_memory_equal(s.sequence, numbers, sizeof(numbers));
	assert_int_equal(w.next_seq, 4);
	assert_int_equal(w.next_pos, 2);
	hand_log_release(&h);
}

static void what_a_visitor_returns_ends_the_walk(void **state)
{
	struct hand_log h;
	struct seen s = {.stop_after = 1};

	(void)state;
	hand_log_begin(&h, 512, 1);
	assert_int_equal(walk(&h, &s, NULL), 77);
	assert_int_equal(s.n, 1);
	hand_log_release(&h);
}

static void a_segment_can_be_filled_to_its_last_sector(void **state)
{
	struct bow_entry e[BOW_RECORD_MAX_ENTRIES];
	struct hand_log h;
	struct seen s = {0};
	struct bow_walk w;
	uint32_t room;

	(void)state;
	hand_log_begin(&h, 512, 1); /* uses sectors 0 and 1 of 8 */
	room = bow_log_room(&h.log);
	assert_int_equal(room, bow_record_fit(6 * 512));
	for (uint32_t i = 0; i < room; i++)
		e[i] = hand_mark(BOW_ENTRY_ZERO_PENDING, 5, 1);
	hand_log_record(&h, e, room - 16); /* one sector short of full */
	assert_int_equal(bow_log_room(&h.log), 15);
	hand_log_record(&h, e, 15);
	assert_int_equal(bow_log_room(&h.log), 0);
	s.stop_after = 60;
	assert_int_equal(walk(&h, &s, &w), 77);
	assert_int_equal(w.next_pos, 8);
	hand_log_release(&h);
}

/* So that writing a record never rewrites one that is durable. Only the header shares a sector. */
static void records_on_large_sectors_begin_on_fresh_ones(void **state)
{
	static const uint32_t next[] = {8, 16, 24};
	struct hand_log h;
	struct seen s = {0};
	struct bow_walk w;

	(void)state;
	hand_log_begin(&h, 4096, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(walk(&h, &s, &w), 0);
		assert_int_equal(w.next_pos, next[i]);
		assert_int_equal(h.log.pos, next[i]);
		if (i < 2)
			hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 50 + (uint64_t)i, 1));
	}
	assert_int_equal(bow_log_room(&h.log), 0);
	assert_int_equal(s.n, 4);
	assert_int_equal(w.newest.sector_size, 4096);
	hand_log_release(&h);
}

static void the_first_record_of_a_segment_begins_behind_its_header(void **state)
{
	struct hand_log h;

	(void)state;
	for (uint32_t size = 512; size <= 4096; size *= 8) {
		hand_log_init(&h, size, 1);
		assert_int_equal(h.log.pos, 1);
		assert_int_equal(bow_log_room(&h.log), bow_record_fit(BOW_BLOCK - 512));
		hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 50, 1));
		assert_memory_equal(sector(&h, 1), "BORC", 4);
		assert_int_equal(h.log.pos, bow_record_end(512, 1, size) / 512);
		hand_log_release(&h);
	}
}

static void a_segment_without_records_is_left_out_of_the_chain(void **state)
{
	struct hand_log h;
	struct seen s = {0};

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, 40, 1);
	hand_log_switch(&h, 42, 1);
	hand_scribble(&h, 40, 1); /* so it may be anything */
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 50, 1));
	assert_int_equal(walk(&h, &s, NULL), 0);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.pieces, 2);
	hand_log_release(&h);
}

static void a_newest_segment_may_be_empty(void **state)
{
	struct hand_log h;
	struct seen s = {0};
	struct bow_walk w;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, 40, 1);
	assert_int_equal(walk(&h, &s, &w), 0);
	assert_int_equal(s.n, 2);
	assert_int_equal(w.next_seq, 2);
	assert_int_equal(w.next_pos, 1);
	hand_log_release(&h);
}

static void a_torn_last_record_ends_the_log_before_it(void **state)
{
	(void)state;
	for (uint32_t lost = 0; lost < 3; lost++) {
		struct hand_log h;
		struct seen s = {0};
		struct bow_walk w;

		begin_three(&h);
		memset(sector(&h, 3 + lost), 0, 512);
		assert_int_equal(walk(&h, &s, &w), 0);
		assert_int_equal(s.n, 3);
		assert_int_equal(w.next_seq, 3);
		assert_int_equal(w.next_pos, 3);
		hand_log_release(&h);
	}
}

static void the_next_record_takes_a_torn_ones_place_and_number(void **state)
{
	struct hand_log h;
	struct seen s = {0};
	struct bow_walk w;

	(void)state;
	begin_three(&h);
	memset(sector(&h, 3), 0, 512); /* two of its three sectors stay */
	h.log.next_seq = 3;
	h.log.pos = 3;
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 51, 1));
	assert_int_equal(walk(&h, &s, &w), 0);
	assert_int_equal(s.n, 4);
	assert_int_equal(s.source[0], 51);
	assert_int_equal(w.next_seq, 4);
	hand_log_release(&h);
}

static void a_later_record_behind_a_gap_is_damage(void **state)
{
	struct hand_log h;

	(void)state;
	begin_three(&h);
	sector(&h, 2)[40] ^= 1;
	assert_refused(&h, -EBADMSG, "record 2 is damaged, and later ones follow it");
	hand_log_release(&h);
}

static void records_of_another_checkpoint_are_no_records(void **state)
{
	uint8_t bytes[64];
	struct bow_entry e = hand_mark(BOW_ENTRY_TAKE, 51, 1);
	struct hand_log h;
	struct seen s = {0};

	(void)state;
	hand_log_begin(&h, 512, 1);
	bow_record_encode(bytes, 2, &e, 1, h.sb.seed + 1);
	memcpy(sector(&h, 2), bytes, 64);
	bow_record_encode(bytes, 3, &e, 1, h.sb.seed + 1);
	memcpy(sector(&h, 3), bytes, 64);
	assert_int_equal(walk(&h, &s, NULL), 0);
	assert_int_equal(s.n, 2);
	hand_log_release(&h);
}

static void fewer_records_than_at_the_last_detach_are_damage(void **state)
{
	struct hand_log h;
	struct seen s = {0};

	(void)state;
	begin_three(&h);
	h.sb.clean_seq = 3;
	assert_int_equal(walk(&h, &s, NULL), 0);
	sector(&h, 3)[0] ^= 1;
	assert_refused(&h, -EBADMSG, "it ends at record 2, but 3 were there");
	hand_log_release(&h);
}

static void an_older_segment_that_ends_early_is_damage(void **state)
{
	struct hand_log h;

	(void)state;
	begin_three(&h);
	hand_log_switch(&h, 40, 1);
	memset(hand_block(&h, HAND_SEGMENT) + 3 * 512, 0, 3 * 512);
	assert_refused(&h, -EBADMSG, "record 3 is damaged");
	hand_log_release(&h);
}

static void a_header_that_rotted_is_damage(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	sector(&h, 0)[200] ^= 0x10;
	assert_refused(&h, -EBADMSG, "there is no valid header of this checkpoint");
	hand_log_release(&h);
}

static void a_header_of_another_place_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	memcpy(hand_block(&h, 45), hand_block(&h, HAND_SEGMENT), BOW_BLOCK);
	h.sb.seg_blk = 45;
	assert_refused(&h, -EUCLEAN, "its header belongs to another place in the log");
	h.sb.seg_blk = HAND_SEGMENT;
	h.sb.seg_first_seq = 2;
	assert_refused(&h, -EUCLEAN, "its header belongs to another place in the log");
	hand_log_release(&h);
}

/* Put a header over the newest segment's own, with a right checksum. */
static void forge_header(struct hand_log *h, uint64_t prev_blk, uint32_t prev_len,
			 uint64_t prev_first)
{
	struct bow_segment_header header = h->log.newest;

	header.prev_blk = prev_blk;
	header.prev_len_blk = prev_len;
	header.prev_first_seq = prev_first;
	bow_segment_encode(&header, &h->sb, sector(h, 0));
}

static void a_chain_that_loops_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, 40, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 50, 1));
	forge_header(&h, 40, 1, 2); /* itself, as its own number says */
	assert_refused(&h, -EUCLEAN, "its pointer to the segment before is wrong");
	forge_header(&h, 40, 1, 3);
	assert_refused(&h, -EUCLEAN, "its pointer to the segment before is wrong");
	forge_header(&h, 40, 1, 1); /* itself under an older number */
	assert_refused(&h, -EUCLEAN, "its header belongs to another place in the log");
	hand_log_release(&h);
}

static void a_pointer_to_an_impossible_segment_is_refused(void **state)
{
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_switch(&h, 40, 1);
	forge_header(&h, HAND_SEGMENT, 0, 1);
	assert_refused(&h, -EUCLEAN, "its pointer to the segment before is wrong");
	forge_header(&h, HAND_SEGMENT, BOW_SEGMENT_MAX_BLK + 1, 1);
	assert_refused(&h, -EUCLEAN, "its pointer to the segment before is wrong");
	forge_header(&h, HAND_SEGMENT, 1, 0);
	assert_refused(&h, -EUCLEAN, "its pointer to the segment before is wrong");
	forge_header(&h, HAND_BLK, 1, 1);
	assert_refused(&h, -EUCLEAN, "it lies outside the image");
	forge_header(&h, UINT64_MAX - 1, 2, 1);
	assert_refused(&h, -EUCLEAN, "it lies outside the image");
	forge_header(&h, 0, 1, 1);
	assert_refused(&h, -EUCLEAN, "it lies outside the image");
	hand_log_release(&h);
}

static void a_malformed_entry_is_refused_before_it_is_visited(void **state)
{
	struct hand_log h;
	struct seen s = {0};

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, HAND_BLK, 1));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 50, 1));
	assert_int_equal(walk(&h, &s, NULL), -EUCLEAN);
	assert_int_equal(s.n, 1);
	assert_non_null(strstr(h.err.message, "entry for block 64: source outside the image"));
	hand_log_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_from_the_newest_to_the_oldest),
		cmocka_unit_test(what_a_visitor_returns_ends_the_walk),
		cmocka_unit_test(a_segment_can_be_filled_to_its_last_sector),
		cmocka_unit_test(records_on_large_sectors_begin_on_fresh_ones),
		cmocka_unit_test(the_first_record_of_a_segment_begins_behind_its_header),
		cmocka_unit_test(a_segment_without_records_is_left_out_of_the_chain),
		cmocka_unit_test(a_newest_segment_may_be_empty),
		cmocka_unit_test(a_torn_last_record_ends_the_log_before_it),
		cmocka_unit_test(the_next_record_takes_a_torn_ones_place_and_number),
		cmocka_unit_test(a_later_record_behind_a_gap_is_damage),
		cmocka_unit_test(records_of_another_checkpoint_are_no_records),
		cmocka_unit_test(fewer_records_than_at_the_last_detach_are_damage),
		cmocka_unit_test(an_older_segment_that_ends_early_is_damage),
		cmocka_unit_test(a_header_that_rotted_is_damage),
		cmocka_unit_test(a_header_of_another_place_is_refused),
		cmocka_unit_test(a_chain_that_loops_is_refused),
		cmocka_unit_test(a_pointer_to_an_impossible_segment_is_refused),
		cmocka_unit_test(a_malformed_entry_is_refused_before_it_is_visited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
