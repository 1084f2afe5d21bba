/* SPDX-License-Identifier: MIT */
/*
 * Logs with places that no bowimg would tell, and with names that no mark can have; every checksum
 * is right. Each is refused for what is wrong with it, or read as what it says.
 */
#include <errno.h>

#include "lib/base/bytes.h"
#include "hand_hostile.h"

/* Used blocks, free ones, where the log goes on, and the copy of block 0 that a mark makes. */
enum { B = 8, X = HOSTILE_BACKUP, Y = HOSTILE_TAKEN, NEXT = HOSTILE_NEXT, COPY0 = HOSTILE_COPY0 };

static void take(struct hand_log *h, uint64_t blk)
{
	hand_log_one(h, hand_mark(BOW_ENTRY_TAKE, blk, 1));
}

static void go_back_with(struct hand_log *h, struct bow_entry e)
{
	hostile_go_back(h, &e, 1);
}

/* ---- PLACE ----------------------------------------------------------------------- */

static void circle(struct hand_log *h)
{
	const struct bow_entry e[] = {hostile_place(X, X + 1, 1), hostile_place(X + 1, X, 1)};

	hostile_go_back(h, e, 2);
}

static void to_one_place(struct hand_log *h)
{
	const struct bow_entry e[] = {hostile_place(X, Y, 2), hostile_place(COPY0, Y + 1, 1)};

	hostile_go_back(h, e, 2);
}

static void from_one_place(struct hand_log *h)
{
	const struct bow_entry e[] = {hostile_place(X + 1, Y, 1), hostile_place(X, Y + 2, 2)};

	hostile_go_back(h, e, 2);
}

static void of_itself(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, X, 2));
}

static void shifted_by_one(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, X + 1, 2));
}

static void of_nothing(struct hand_log *h)
{
	go_back_with(h, hostile_place(Y, Y + 2, 2));
}

static void on_a_used_block(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, B, 1));
}

static void on_its_own_segment(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, NEXT, 1));
}

static void on_what_was_taken_later(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, Y, 1));
	take(h, Y);
}

static void on_live0(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, HAND_LIVE0, 1));
}

static void beyond_the_tail(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, HAND_BLK, 1));
}

static void of_what_lies_beyond(struct hand_log *h)
{
	go_back_with(h, hostile_place(UINT64_MAX, Y, 2));
}

static void over_the_end(struct hand_log *h)
{
	bow_disk_resize(h->dev, 80 * BOW_BLOCK, &h->err);
	go_back_with(h, hostile_place(HAND_BLK - 1, Y, 2));
}

static void of_block_0(struct hand_log *h)
{
	go_back_with(h, hostile_place(0, Y, 1));
}

static void of_no_block(struct hand_log *h)
{
	go_back_with(h, hostile_place(X, Y, 0));
}

static void without_a_return(struct hand_log *h)
{
	hand_log_one(h, hostile_place(X, Y, 1));
}

static void behind_the_prologue(struct hand_log *h)
{
	hostile_go_back(h, NULL, 0);
	hand_log_one(h, hostile_place(X, Y, 1));
}

/* ---- names ----------------------------------------------------------------------- */

/* A mark whose 24 bytes of name are these. */
static void named(struct hand_log *h, const char *bytes)
{
	struct bow_entry e[2] = {hand_copy(h, 0, COPY0, 1, 0), bow_mark_entry("m", 1)};

	e[1].source_blk = bow_get64((const uint8_t *)bytes);
	e[1].dest_blk = bow_get64((const uint8_t *)bytes + 8);
	e[1].hash = bow_get64((const uint8_t *)bytes + 16);
	hand_log_record(h, e, 2);
}

static void no_name(struct hand_log *h)
{
	named(h, (const char[24]){0});
}

static void only_zero_at_first(struct hand_log *h)
{
	named(h, (const char[24]){0, 'm'});
}

static void full_name(struct hand_log *h)
{
	named(h, "abcdefghijklmnopqrstuvwx");
}

static void bytes_behind(struct hand_log *h)
{
	named(h, (const char[24]){'m', 0, 0, 'x'});
}

static void last_byte_behind(struct hand_log *h)
{
	named(h, (const char[24]){'m', [23] = 1});
}

static void control_character(struct hand_log *h)
{
	named(h, (const char[24]){'m', '\n', 'm'});
}

static void escape(struct hand_log *h)
{
	named(h, (const char[24]){'m', 27, '[', '2', 'J'});
}

static void slash(struct hand_log *h)
{
	named(h, (const char[24]){'m', '/', 'm'});
}

static void dots(struct hand_log *h)
{
	named(h, (const char[24]){'.', '.'});
}

static void high_byte(struct hand_log *h)
{
	named(h, (const char[24]){'m', (char)0xc3, (char)0xa9});
}

static void prepare(struct hand_log *h)
{
	named(h, (const char[24]){"prepare"});
}

/* ---- all of them ----------------------------------------------------------------- */

#define OTHERS "a return to a mark has other entries in it"
#define NO_PLACE "a place outside the image"
#define NO_NAME "a mark with a wrong name"

static const struct hostile_case cases[] = {
	{"places in a circle hold at once", circle, 0, NULL},
	{"two places in one are refused", to_one_place, -EUCLEAN, "two things are put at block 55"},
	{"two places of one are refused", from_one_place, -EUCLEAN,
	 "two places are told for block 51"},
	{"a block may be in its own place", of_itself, 0, NULL},
	{"places may overlap what they are of", shifted_by_one, 0, NULL},
	{"a place of nothing says nothing", of_nothing, 0, NULL},
	{"a place on a used block is refused", on_a_used_block, -EUCLEAN,
	 "a block that is not free"},
	{"a place on the return is refused", on_its_own_segment, -EUCLEAN, "put at block 40"},
	{"a place that is taken later is refused", on_what_was_taken_later, -EUCLEAN,
	 "two things are put at block 54"},
	{"a place on block 0's live copy is refused", on_live0, -EUCLEAN, "lies on other data"},
	{"a place beyond the tail is refused", beyond_the_tail, -EUCLEAN, NO_PLACE},
	{"a place of what lies beyond is refused", of_what_lies_beyond, -EUCLEAN, NO_PLACE},
	{"a place over the image's end is refused", over_the_end, -EUCLEAN, NO_PLACE},
	{"a place of block 0 is refused", of_block_0, -EUCLEAN, NO_PLACE},
	{"a place of no block is refused", of_no_block, -EUCLEAN, NO_PLACE},
	{"a place without a return is refused", without_a_return, -EUCLEAN, "without a return"},
	{"a place behind the return is refused", behind_the_prologue, -EUCLEAN, OTHERS},
	{"no name is refused", no_name, -EUCLEAN, NO_NAME},
	{"a name that begins with a zero is refused", only_zero_at_first, -EUCLEAN, NO_NAME},
	{"a name may fill its field", full_name, 0, NULL},
	{"bytes behind a name are refused", bytes_behind, -EUCLEAN, NO_NAME},
	{"the last byte behind a name counts", last_byte_behind, -EUCLEAN, NO_NAME},
	{"a newline in a name is refused", control_character, -EUCLEAN, NO_NAME},
	{"an escape in a name is refused", escape, -EUCLEAN, NO_NAME},
	{"a slash in a name is refused", slash, -EUCLEAN, NO_NAME},
	{"two dots are no name", dots, -EUCLEAN, NO_NAME},
	{"a letter of another language is refused", high_byte, -EUCLEAN, NO_NAME},
	{"'prepare' names no mark", prepare, -EUCLEAN, NO_NAME},
};

int main(void)
{
	return hostile_run(cases, sizeof(cases) / sizeof(cases[0]));
}
