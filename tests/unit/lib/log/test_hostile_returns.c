/* SPDX-License-Identifier: MIT */
/*
 * Logs with returns to marks as no bowimg would write them; every checksum is right. Each is
 * refused for what is wrong with it, or read as what it says.
 */
#include <errno.h>

#include "hand_hostile.h"

/* A used block, free ones, where segments go on, and the copies of block 0 that marks make. */
enum {
	A = 4,
	X = HOSTILE_BACKUP,
	Y = HOSTILE_TAKEN,
	NEXT = HOSTILE_NEXT,
	LAST = 44,
	COPY0 = HOSTILE_COPY0
};

static void take(struct hand_log *h, uint64_t blk)
{
	hand_log_one(h, hand_mark(BOW_ENTRY_TAKE, blk, 1));
}

/* Write the newest segment's header anew, with another segment before it. */
static void chain_to(struct hand_log *h, uint64_t prev_blk, uint32_t prev_len, uint64_t prev_first,
		     uint64_t prev_end)
{
	struct bow_segment_header head = h->log.newest;

	head.prev_blk = prev_blk;
	head.prev_len_blk = prev_len;
	head.prev_first_seq = prev_first;
	head.prev_end = prev_end;
	bow_segment_encode(&head, &h->sb, hand_block(h, head.start_blk));
}

/* ---- REVERT ---------------------------------------------------------------------- */

static void whole(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	take(h, Y);
}

static void to_no_mark(struct hand_log *h)
{
	take(h, X);
	hostile_return(h, 2, NEXT, NULL, 0);
}

static void to_record_1(struct hand_log *h)
{
	hostile_mark(h, "m", COPY0);
	hostile_return(h, 1, NEXT, NULL, 0);
}

/* The cut and the REVERT each name a mark, but not the same. */
static void to_another_mark(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_mark(h, "n", COPY0 + 1);
	hostile_cut(h, seq + 1, NEXT);
	hand_log_one(h, hostile_revert(seq + 1, h->log.next_seq));
}

static void to_itself(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_cut(h, seq + 1, NEXT);
	hand_log_one(h, hostile_revert(h->log.next_seq, h->log.next_seq));
}

static void to_the_future(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_cut(h, seq + 1, NEXT);
	hand_log_one(h, hostile_revert(99, h->log.next_seq));
}

static void beyond_the_log(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_cut(h, seq + 1, NEXT);
	hand_log_one(h, hostile_revert(seq, h->log.next_seq + 1));
}

static void ends_before_it_begins(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_cut(h, seq + 1, NEXT);
	hand_log_one(h, hostile_revert(seq, seq));
}

static void without_a_cut(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hand_log_switch(h, NEXT, 1);
	hand_log_one(h, hostile_revert(seq, h->log.next_seq));
}

static void in_the_middle(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_return(h, seq, NEXT, NULL, 0);
	hand_log_one(h, hostile_revert(seq, h->log.next_seq));
}

static void twice(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);
	struct bow_entry again = hostile_revert(seq, h->log.next_seq);

	hostile_return(h, seq, NEXT, &again, 1);
}

static void cut_without_reason(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_cut(h, seq + 1, NEXT);
	take(h, Y);
}

static void with_other_entries(struct hand_log *h)
{
	const struct bow_entry e = hand_mark(BOW_ENTRY_TAKE, Y, 1);

	hostile_go_back(h, &e, 1);
}

static void with_a_mark(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_cut(h, seq + 1, NEXT);
	hand_log_one(h, hostile_revert(seq, h->log.next_seq + 1));
	hostile_mark(h, "n", COPY0 + 1);
}

/* What was logged since the mark does not count any more. */
static void on_the_log_since(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);
	struct bow_segment_header of_mark = h->log.newest;

	hand_log_switch(h, LAST, 1);
	take(h, Y);
	h->log.newest = of_mark;
	hostile_return(h, seq, LAST, NULL, 0);
}

static void on_a_backup(struct hand_log *h)
{
	uint64_t seq;

	hand_log_one(h, hand_copy(h, A, X, 1, 0));
	seq = hostile_mark(h, "m", COPY0);
	hostile_return(h, seq, X, NULL, 0);
}

static void on_the_marks_copy(struct hand_log *h)
{
	hostile_return(h, hostile_mark(h, "m", COPY0), COPY0, NULL, 0);
}

/* ---- previous end ---------------------------------------------------------------- */

static void end_at_the_first(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	chain_to(h, HAND_SEGMENT, 2, 1, 1);
}

static void end_in_the_future(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	chain_to(h, HAND_SEGMENT, 2, 1, h->log.newest.first_seq + 1);
}

static void end_without_a_segment(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	chain_to(h, BOW_NO_BLK, 0, 0, 2);
}

/* Its records end earlier. */
static void end_behind_the_last(struct hand_log *h)
{
	hostile_mark(h, "m", COPY0);
	hand_log_switch(h, LAST, 1);
	take(h, Y);
	take(h, Y + 1);
	hand_log_switch(h, NEXT, 1);
	hand_log_one(h, hostile_revert(4, h->log.next_seq));
	chain_to(h, HAND_SEGMENT, 2, 1, 5);
}

static void before_itself(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	chain_to(h, NEXT, 1, 1, 4);
}

static void into_a_middle(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	chain_to(h, HAND_SEGMENT + 1, 1, 1, 4);
}

static void end_without_marks(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	h->sb.incompat = BOW_INCOMPAT_GIVE;
}

/* ---- all of them ----------------------------------------------------------------- */

#define NO_MARK "which is no mark"
#define WRONG_PLACE "a return to a mark is in the wrong place"
#define NOT_WHOLE "a return to a mark is not complete"
#define OTHERS "a return to a mark has other entries in it"
#define WRONG_END "it ends the segment before in the wrong place"

static const struct hostile_case cases[] = {
	{"a whole return is followed", whole, 0, NULL},
	{"a return to no mark is refused", to_no_mark, -EUCLEAN, NO_MARK},
	{"a return to prepare is refused", to_record_1, -EUCLEAN, NO_MARK},
	{"a return to another mark is refused", to_another_mark, -EUCLEAN, WRONG_PLACE},
	{"a return to itself is refused", to_itself, -EUCLEAN, WRONG_PLACE},
	{"a return to the future is refused", to_the_future, -EUCLEAN, WRONG_PLACE},
	{"a return that ends behind the log is refused", beyond_the_log, -EBADMSG, NOT_WHOLE},
	{"a return that ends too early is refused", ends_before_it_begins, -EBADMSG, NOT_WHOLE},
	{"a return without a cut is refused", without_a_cut, -EUCLEAN, WRONG_PLACE},
	{"a return in the middle is refused", in_the_middle, -EUCLEAN, WRONG_PLACE},
	{"a second return in a record is refused", twice, -EUCLEAN, WRONG_PLACE},
	{"a cut without a return is refused", cut_without_reason, -EUCLEAN, "cuts the log, but"},
	{"a return that takes blocks is refused", with_other_entries, -EUCLEAN, OTHERS},
	{"a return with a mark in it is refused", with_a_mark, -EUCLEAN, OTHERS},
	{"the log since the mark may be written over", on_the_log_since, 0, NULL},
	{"a return on a backup is refused", on_a_backup, -EUCLEAN,
	 "two things are put at block 50"},
	{"a return on a mark's copy is refused", on_the_marks_copy, -EUCLEAN, "two things are put"},
	{"a previous end at the first record is refused", end_at_the_first, -EUCLEAN, WRONG_END},
	{"a previous end in the future is refused", end_in_the_future, -EUCLEAN, WRONG_END},
	{"a previous end of nothing is refused", end_without_a_segment, -EUCLEAN, WRONG_END},
	{"a previous end behind the last record is refused", end_behind_the_last, -EBADMSG,
	 "record 3 is damaged"},
	{"a segment before itself is refused", before_itself, -EUCLEAN,
	 "to another place in the log"},
	{"the middle of a segment is none", into_a_middle, -EBADMSG, "there is no valid header"},
	{"a previous end is announced", end_without_marks, -EUCLEAN, WRONG_END},
};

int main(void)
{
	return hostile_run(cases, sizeof(cases) / sizeof(cases[0]));
}
