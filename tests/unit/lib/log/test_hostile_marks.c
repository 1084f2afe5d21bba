/* SPDX-License-Identifier: MIT */
/*
 * Logs with marks, and with blocks that were given back, as no bowimg would write them; every
 * checksum is right. Each is refused for what is wrong with it, or read as what it says.
 */
#include <errno.h>

#include "hand_hostile.h"

/* Used blocks, free ones, and the copies of block 0 that marks make. */
enum { A = 4, B = 8, X = 50, Y = 54, COPY0 = 60 };

static void take(struct hand_log *h, uint64_t blk, uint32_t n)
{
	hand_log_one(h, hand_mark(BOW_ENTRY_TAKE, blk, n));
}

static void give(struct hand_log *h, uint64_t blk, uint32_t n)
{
	hand_log_one(h, hand_mark(BOW_ENTRY_GIVE, blk, n));
}

static void unmark(struct hand_log *h, uint64_t seq)
{
	hand_log_one(h, hand_mark(BOW_ENTRY_UNMARK, seq, 0));
}

/* ---- GIVE ------------------------------------------------------------------------ */

static void give_saved(struct hand_log *h)
{
	hand_log_one(h, hand_copy(h, A, X, 1, 0));
	give(h, A, 1);
}

static void give_saved_later(struct hand_log *h)
{
	take(h, A, 1);
	give(h, A, 1);
	hand_log_one(h, hand_mark(BOW_ENTRY_ZERO, A, 1));
}

static void give_original(struct hand_log *h)
{
	give(h, B, 1);
}

static void give_free(struct hand_log *h)
{
	give(h, X, 1);
}

static void give_held(struct hand_log *h)
{
	hand_log_one(h, hand_copy(h, A, X, 1, 0));
	give(h, X, 1);
}

static void give_segment(struct hand_log *h)
{
	give(h, HAND_SEGMENT, 1);
}

static void give_live0(struct hand_log *h)
{
	give(h, HAND_LIVE0, 1);
}

static void give_beyond(struct hand_log *h)
{
	take(h, HAND_BLK - 1, 1);
	give(h, HAND_BLK - 1, 2);
}

static void give_wrapped(struct hand_log *h)
{
	give(h, UINT64_MAX, 2);
}

static void give_tail(struct hand_log *h)
{
	bow_disk_resize(h->dev, 80 * BOW_BLOCK, &h->err);
	give(h, 70, 1);
}

static void give_none(struct hand_log *h)
{
	take(h, X, 1);
	give(h, X, 0);
}

static void give_unannounced(struct hand_log *h)
{
	h->sb.incompat = BOW_INCOMPAT_MARKS;
	take(h, X, 1);
	give(h, X, 1);
}

static void give_of_a_mark(struct hand_log *h)
{
	take(h, X, 1);
	hostile_mark(h, "m", COPY0);
	give(h, X, 1);
}

static void give_partly_of_a_mark(struct hand_log *h)
{
	take(h, X, 1);
	hostile_mark(h, "m", COPY0);
	take(h, X + 1, 1);
	give(h, X, 2);
}

static void give_before_a_mark(struct hand_log *h)
{
	take(h, X, 2);
	give(h, X, 2);
	hostile_mark(h, "m", COPY0);
	hand_log_one(h, hand_copy(h, A, X, 2, 0));
}

static void take_of_a_backup(struct hand_log *h)
{
	hand_log_one(h, hand_copy(h, A, X, 2, 0));
	take(h, X, 2);
	give(h, X, 2);
	hand_log_one(h, hand_copy(h, B, X, 2, 0));
}

/* ---- MARK and UNMARK ------------------------------------------------------------- */

static void two_of_one_name(struct hand_log *h)
{
	hostile_mark(h, "m", COPY0);
	hostile_mark(h, "m", COPY0 + 1);
}

static void deleted_and_made_anew(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	unmark(h, seq);
	unmark(h, seq);
	hostile_mark(h, "m", COPY0 + 1);
}

static void deleted_too_late(struct hand_log *h)
{
	uint64_t seq = hostile_mark(h, "m", COPY0);

	hostile_mark(h, "m", COPY0 + 1);
	unmark(h, seq);
	unmark(h, seq + 1);
	hostile_mark(h, "n", COPY0 + 2);
	hostile_mark(h, "n", COPY0 + 3);
}

static void without_marks(struct hand_log *h)
{
	h->sb.incompat = BOW_INCOMPAT_GIVE;
	hostile_mark(h, "m", COPY0);
}

static void announced_only(struct hand_log *h)
{
	hand_log_one(h, hand_copy(h, A, X, 2, 0));
}

static void without_copy(struct hand_log *h)
{
	hand_log_one(h, bow_mark_entry("m", 1));
}

static void other_block(struct hand_log *h)
{
	struct bow_entry e[2] = {hand_copy(h, A, X, 1, 0), bow_mark_entry("m", 1)};

	hand_log_record(h, e, 2);
}

static void two_blocks(struct hand_log *h)
{
	struct bow_entry e[2] = {hand_copy(h, 0, X, 2, 0), bow_mark_entry("m", 1)};

	hand_log_record(h, e, 2);
}

static void moved_copy(struct hand_log *h)
{
	struct bow_entry e[2] = {hand_copy(h, 0, X, 1, BOW_ENTRY_MOVE), bow_mark_entry("m", 1)};

	hand_log_record(h, e, 2);
}

static void mark_first(struct hand_log *h)
{
	struct bow_entry e[2] = {bow_mark_entry("m", 1), hand_copy(h, 0, X, 1, 0)};

	hand_log_record(h, e, 2);
}

static void not_alone(struct hand_log *h)
{
	struct bow_entry e[3] = {hand_copy(h, 0, X, 1, 0), bow_mark_entry("m", 1),
				 hand_mark(BOW_ENTRY_TAKE, Y, 1)};

	hand_log_record(h, e, 3);
}

static void copy_without_mark(struct hand_log *h)
{
	hand_log_one(h, hand_copy(h, 0, X, 1, 0));
}

static void copy_on_a_used_block(struct hand_log *h)
{
	hostile_mark(h, "m", B);
}

static void copy_on_a_live_block(struct hand_log *h)
{
	take(h, X, 1);
	hostile_mark(h, "m", X);
}

static void backup_on_a_block_of_the_mark(struct hand_log *h)
{
	take(h, X, 1);
	hostile_mark(h, "m", COPY0);
	hand_log_one(h, hand_copy(h, A, X, 1, 0));
}

static void unmark_record_1(struct hand_log *h)
{
	hostile_mark(h, "m", COPY0);
	unmark(h, 1);
}

static void unmark_nothing(struct hand_log *h)
{
	unmark(h, 99);
}

static void unmark_zero(struct hand_log *h)
{
	unmark(h, 0);
}

static void unmark_itself(struct hand_log *h)
{
	unmark(h, h->log.next_seq);
}

static void unmark_later(struct hand_log *h)
{
	unmark(h, h->log.next_seq + 1);
	hostile_mark(h, "m", COPY0);
}

/* ---- all of them ----------------------------------------------------------------- */

#define USED "the log gives back a block that is used"
#define NOT_TAKEN "the log gives back a block that the file system does not have"
#define OUTSIDE "source outside the image"
#define NO_MARK "the log deletes a mark that is not there"
#define NOT_ALONE "a mark is not alone in its record"
#define NO_COPY "block 0 is saved where there is no mark"

static const struct hostile_case cases[] = {
	{"giving back a saved block is refused", give_saved, -EUCLEAN, NOT_TAKEN},
	{"giving back a block that is saved later is refused", give_saved_later, -EUCLEAN, USED},
	{"giving back a used block is refused", give_original, -EUCLEAN, NOT_TAKEN},
	{"giving back a free block is refused", give_free, -EUCLEAN, NOT_TAKEN},
	{"giving back a backup is refused", give_held, -EUCLEAN, "put at block 50, which the file"},
	{"giving back a part of the log is refused", give_segment, -EUCLEAN, NOT_TAKEN},
	{"giving back block 0's live copy is refused", give_live0, -EUCLEAN, NOT_TAKEN},
	{"giving back beyond the image is refused", give_beyond, -EUCLEAN, OUTSIDE},
	{"giving back beyond all numbers is refused", give_wrapped, -EUCLEAN, OUTSIDE},
	{"giving back in the tail is refused", give_tail, -EUCLEAN, OUTSIDE},
	{"giving back no block is refused", give_none, -EUCLEAN, OUTSIDE},
	{"giving back is announced", give_unannounced, -EUCLEAN, "does not announce"},
	{"giving back what a mark has is refused", give_of_a_mark, -EUCLEAN, "used at a mark"},
	{"giving back partly what a mark has is refused", give_partly_of_a_mark, -EUCLEAN,
	 "used at a mark"},
	{"what was given back before a mark is free", give_before_a_mark, 0, NULL},
	{"taking a backup is refused, though it is given back", take_of_a_backup, -EUCLEAN,
	 "two things are put at block 50"},
	{"two marks of one name are refused", two_of_one_name, -EUCLEAN,
	 "two marks have the name m"},
	{"a name can be used again", deleted_and_made_anew, 0, NULL},
	{"names are compared though others are deleted", deleted_too_late, -EUCLEAN,
	 "two marks have the name n"},
	{"marks are announced", without_marks, -EUCLEAN, "a mark in an image without marks"},
	{"announced marks may be missing", announced_only, 0, NULL},
	{"a mark without a copy of block 0 is refused", without_copy, -EUCLEAN, NOT_ALONE},
	{"a mark with another block's copy is refused", other_block, -EUCLEAN, NOT_ALONE},
	{"a mark with a copy of two blocks is refused", two_blocks, -EUCLEAN, NOT_ALONE},
	{"a mark that moves block 0 is refused", moved_copy, -EUCLEAN, NOT_ALONE},
	{"a mark before its copy is refused", mark_first, -EUCLEAN, NO_COPY},
	{"a mark with another entry is refused", not_alone, -EUCLEAN, "not alone"},
	{"a copy of block 0 without a mark is refused", copy_without_mark, -EUCLEAN, NO_COPY},
	{"a mark's copy on a used block is refused", copy_on_a_used_block, -EUCLEAN,
	 "the log uses a block that is not free"},
	{"a mark's copy on a block that was taken is refused", copy_on_a_live_block, -EUCLEAN,
	 "the log parks something on a block that is in use"},
	{"a backup on a block of a mark is refused", backup_on_a_block_of_the_mark, -EUCLEAN,
	 "the log parks something on a block that is in use"},
	{"deleting a record that is no mark is refused", unmark_record_1, -EUCLEAN, NO_MARK},
	{"deleting what is not there is refused", unmark_nothing, -EUCLEAN, NO_MARK},
	{"deleting record 0 is refused", unmark_zero, -EUCLEAN, "a mark that cannot be"},
	{"deleting the deletion is refused", unmark_itself, -EUCLEAN, NO_MARK},
	{"deleting a later mark is refused", unmark_later, -EUCLEAN, NO_MARK},
};

int main(void)
{
	return hostile_run(cases, sizeof(cases) / sizeof(cases[0]));
}
