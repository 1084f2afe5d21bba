/* SPDX-License-Identifier: MIT */
/* Where originals are: one read of the log, reads of what came later, and a plain array beside. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hand_log.h"
#include "rng.h"

enum { A = 4, B = 8, C = 12, X = 50, Y = 54, Z = 58 }; /* used blocks, and free ones */

static int add_records(struct hand_log *h, struct bow_backup_index *o, uint64_t end_seq)
{
	struct bow_walk w;
	int rc;

	memset(&h->err, 0, sizeof(h->err));
	assert_int_equal(bow_walk_init(&w, h->dev, &h->sb, &h->err), 0);
	w.end_seq = end_seq;
	rc = bow_backup_index_read(o, 1, &w, &h->err);
	bow_walk_release(&w);
	return rc;
}

static void assert_backup(const struct bow_backup_index *o, uint64_t blk, uint64_t n,
			  enum bow_backup_kind kind, uint64_t at)
{
	enum bow_backup_kind got_kind;
	uint64_t got_at = at, run = bow_backup_index_get(o, blk, n, &got_kind, &got_at);

	if (run != n || got_kind != kind || (kind == BOW_BACKUP_AT && got_at != at))
		fail_msg("block %d: %d blocks of kind %d at %d, not %d of %d at %d", (int)blk,
			 (int)run, (int)got_kind, (int)got_at, (int)n, (int)kind, (int)at);
}

static void each_kind_of_original_is_found(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 2, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, B, 3));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, Z, 1));
	assert_int_equal(add_records(&h, &o, 0), 0);
	assert_backup(&o, 0, 1, BOW_BACKUP_AT, HAND_ORIGINAL0);
	assert_backup(&o, 1, A - 1, BOW_BACKUP_NONE, 0);
	assert_backup(&o, A, 2, BOW_BACKUP_AT, X);
	assert_backup(&o, A + 1, 1, BOW_BACKUP_AT, X + 1);
	assert_backup(&o, A + 2, B - A - 2, BOW_BACKUP_NONE, 0);
	assert_backup(&o, B, 3, BOW_BACKUP_ZEROS, 0);
	assert_backup(&o, B + 3, HAND_BLK, BOW_BACKUP_NONE, 0);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

/* Zeros are joined; each backup has a hash of its own. */
static void neighbouring_zeros_are_one_run(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A + 2, X + 2, 1, 0));
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_log_one(&h, hand_copy(&h, A + 1, X + 1, 1, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, B + 1, 1));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, B, 1));
	assert_int_equal(add_records(&h, &o, 0), 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_backup(&o, A + i, 1, BOW_BACKUP_AT, X + i);
	assert_backup(&o, B, 2, BOW_BACKUP_ZEROS, 0);
	assert_int_equal(o.levels, 1);
	assert_int_equal(o.level[0].n, 5);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

static void a_backup_that_moved_in_pieces_is_found_in_pieces(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 4, 0));
	hand_log_one(&h, hand_copy(&h, X + 1, Y, 2, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_copy(&h, Y + 1, Z, 1, BOW_ENTRY_MOVE));
	assert_int_equal(add_records(&h, &o, 0), 0);
	assert_backup(&o, A, 1, BOW_BACKUP_AT, X);
	assert_backup(&o, A + 1, 1, BOW_BACKUP_AT, Y);
	assert_backup(&o, A + 2, 1, BOW_BACKUP_AT, Z);
	assert_backup(&o, A + 3, 1, BOW_BACKUP_AT, X + 3);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

static void a_backup_is_checked_as_a_whole_and_once(void **state)
{
	struct bow_backup b;
	struct bow_backup_index o = {0};
	struct bow_entry e;
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	e = hand_copy(&h, A, X, 4, 0);
	hand_log_one(&h, e);
	hand_log_one(&h, hand_copy(&h, A + 4, X + 4, 1, 0));
	hand_log_one(&h, hand_copy(&h, X + 1, Z, 2, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_mark(BOW_ENTRY_ZERO, C, 1));
	assert_int_equal(add_records(&h, &o, 0), 0);
	assert_false(bow_backup_index_unchecked(&o, 1, &b));
	assert_false(bow_backup_index_unchecked(&o, C, &b));
	for (uint64_t blk = A; blk < A + 4; blk++) {
		assert_true(bow_backup_index_unchecked(&o, blk, &b));
		assert_int_equal(b.source_blk, A);
		assert_int_equal(b.count_blk, 4);
		assert_int_equal(b.hash, e.hash);
	}
	bow_backup_index_checked(&o, &b);
	for (uint64_t blk = A; blk < A + 4; blk++)
		assert_false(bow_backup_index_unchecked(&o, blk, &b));
	assert_true(bow_backup_index_unchecked(&o, A + 4, &b));
	assert_int_equal(b.source_blk, A + 4);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

static void a_copy_that_a_power_cut_took_is_no_place(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_log_one(&h, hand_entry(&h, B, Y, 2, 0));
	assert_int_equal(add_records(&h, &o, 0), 0);
	assert_backup(&o, A, 1, BOW_BACKUP_AT, X);
	assert_backup(&o, B, 2, BOW_BACKUP_NONE, 0);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

/* What the engine does: read up to here, later from here on, and add the one to the other. */
static void catch_up(struct hand_log *h, struct bow_backup_index *o)
{
	struct bow_backup_index more = {.end_seq = o->end_seq};

	assert_int_equal(add_records(h, &more, h->log.next_seq), 0);
	assert_int_equal(bow_backup_index_absorb(o, 1, &more, HAND_BLK), 0);
	assert_int_equal(more.levels, 0);
	assert_int_equal(o->end_seq, h->log.next_seq);
}

static void what_is_logged_later_is_added(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 1);
	catch_up(&h, &o);
	hand_log_one(&h, hand_copy(&h, A, X, 2, 0));
	catch_up(&h, &o);
	hand_log_switch(&h, 40, 1);
	hand_log_one(&h, hand_copy(&h, X, Y, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, X, 1);
	hand_log_one(&h, hand_copy(&h, B, Y + 1, 1, 0));
	catch_up(&h, &o);
	assert_backup(&o, A, 1, BOW_BACKUP_AT, Y);
	assert_backup(&o, A + 1, 1, BOW_BACKUP_AT, X + 1);
	assert_backup(&o, B, 1, BOW_BACKUP_AT, Y + 1);
	hand_log_one(&h, hand_copy(&h, Y, Z, 2, BOW_ENTRY_MOVE));
	hand_scribble(&h, Y, 2);
	catch_up(&h, &o);
	assert_backup(&o, A, 1, BOW_BACKUP_AT, Z);
	assert_backup(&o, B, 1, BOW_BACKUP_AT, Z + 1);
	catch_up(&h, &o); /* nothing new */
	assert_backup(&o, A, 1, BOW_BACKUP_AT, Z);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

/* A backup moved away, the place was given back, and another backup is there now. */
static void a_place_that_was_given_back_may_have_another_backup(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 2);
	hand_log_one(&h, hand_copy(&h, A, X, 4, 0));
	catch_up(&h, &o);
	hand_log_one(&h, hand_copy(&h, X, Y, 4, BOW_ENTRY_MOVE));
	catch_up(&h, &o);
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X, 4));
	hand_log_one(&h, hand_copy(&h, B, X, 2, 0));
	hand_log_one(&h, hand_copy(&h, C, X + 2, 1, 0));
	hand_log_one(&h, hand_copy(&h, X + 1, Z, 1, BOW_ENTRY_MOVE));
	catch_up(&h, &o);
	assert_backup(&o, A, 4, BOW_BACKUP_AT, Y);
	assert_backup(&o, B, 1, BOW_BACKUP_AT, X);
	assert_backup(&o, B + 1, 1, BOW_BACKUP_AT, Z);
	assert_backup(&o, C, 1, BOW_BACKUP_AT, X + 2);
	/* Moved, given back and used again, all between two looks. */
	hand_log_one(&h, hand_copy(&h, X + 2, Z + 1, 1, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, X + 2, 1));
	hand_log_one(&h, hand_copy(&h, Y, X + 2, 1, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_mark(BOW_ENTRY_GIVE, Y, 1));
	hand_log_one(&h, hand_copy(&h, C + 1, Y, 1, 0));
	catch_up(&h, &o);
	assert_backup(&o, A, 1, BOW_BACKUP_AT, X + 2);
	assert_backup(&o, A + 1, 3, BOW_BACKUP_AT, Y + 1);
	assert_backup(&o, C, 1, BOW_BACKUP_AT, Z + 1);
	assert_backup(&o, C + 1, 1, BOW_BACKUP_AT, Y);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

/* A reader of a growing log must see neither half a record nor one that is not settled. */
static void records_beyond_the_given_end_do_not_count(void **state)
{
	struct bow_backup_index o = {0};
	struct hand_log h;
	uint64_t end;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	end = h.log.next_seq;
	hand_log_one(&h, hand_copy(&h, B, Y, 1, 0));
	hand_log_one(&h, hand_copy(&h, C, Z, 1, 0));
	hand_block(&h, HAND_SEGMENT)[3 * 512 + 40] ^= 1; /* B's record is torn, and C's follows */
	assert_int_equal(add_records(&h, &o, end), 0);
	assert_int_equal(o.end_seq, end);
	assert_backup(&o, A, 1, BOW_BACKUP_AT, X);
	assert_backup(&o, B, 1, BOW_BACKUP_NONE, 0);
	bow_backup_index_release(&o);
	o = (struct bow_backup_index){0};
	assert_int_equal(add_records(&h, &o, end + 1), -EBADMSG);
	bow_backup_index_release(&o);
	hand_log_release(&h);
}

/* ---- many runs, in levels -------------------------------------------------------- */

#define SPAN 20000u

struct mirror {
	uint64_t at[SPAN + 4]; /* 0: in place; BOW_NO_BLK: zeros */
	uint64_t places;       /* handed out so far, from SPAN on */
	uint64_t left;	       /* a backup moved away from there last; 0: used again since */
	struct bow_backup_index o;
};

/* A level of runs in blocks that none has named yet, as reading the log makes one. */
static void add_level(struct mirror *m, struct rng *r, uint32_t runs)
{
	struct bow_backup_index more = {.end_seq = m->o.end_seq + 1};
	uint32_t n = 0;

	more.levels = 1;
	more.level[0].runs = calloc(runs, sizeof(struct bow_backup_place));
	assert_non_null(more.level[0].runs);
	for (uint32_t blk = rng_below(r, 40); blk < SPAN && n < runs;
	     blk += rng_between(r, 1, 60)) {
		uint64_t at = rng_chance(r, 30) ? BOW_NO_BLK : SPAN + m->places;
		uint32_t most = rng_between(r, 1, 5), k = 0;

		while (k < most && blk + k < SPAN && !m->at[blk + k]) {
			m->at[blk + k] = at == BOW_NO_BLK ? at : at + k;
			k++;
		}
		if (k)
			more.level[0].runs[n++] = (struct bow_backup_place){
				.source_blk = blk, .count_blk = k, .at_blk = at};
		blk += k;
		m->places += k + rng_below(r, 2);
	}
	more.level[0].n = n;
	if (!n) {
		bow_backup_index_release(&more);
		return;
	}
	assert_int_equal(bow_backup_index_absorb(&m->o, 1, &more, SPAN), 0);
}

/* A backup, or the beginning of one, moves on to a new place. */
static void move_one(struct mirror *m, struct rng *r)
{
	struct bow_backup_index more = {.end_seq = m->o.end_seq + 1, .moved = bow_rangemap_new()};
	uint32_t blk = rng_below(r, SPAN), most = rng_between(r, 1, 4), n = 0;
	uint64_t from = m->at[blk], to = SPAN + m->places;

	for (; n < most && from && from != BOW_NO_BLK && m->at[blk + n] == from + n; n++)
		m->at[blk + n] = to + n;
	m->places += n;
	m->left = n ? from : m->left;
	assert_int_equal(bow_rangemap_set(more.moved, from, n, to), 0);
	assert_int_equal(bow_backup_index_absorb(&m->o, 1, &more, 100 * SPAN), 0);
}

/* Another backup goes to a place that was left and given back. */
static void use_again(struct mirror *m, struct rng *r)
{
	struct bow_backup_index more = {.end_seq = m->o.end_seq + 1, .levels = 1, .gives = true};
	uint32_t blk = rng_below(r, SPAN);

	if (!m->left || m->at[blk])
		return;
	more.level[0].runs = calloc(1, sizeof(struct bow_backup_place));
	assert_non_null(more.level[0].runs);
	more.level[0].n = 1;
	more.level[0].runs[0] =
		(struct bow_backup_place){.source_blk = blk, .count_blk = 1, .at_blk = m->left};
	m->at[blk] = m->left;
	m->left = 0;
	assert_int_equal(bow_backup_index_absorb(&m->o, 1, &more, SPAN), 0);
}

static void check_all(const struct mirror *m)
{
	enum bow_backup_kind kind;
	uint64_t run, at = 0;

	for (uint64_t blk = 0; blk < SPAN; blk += run) {
		run = bow_backup_index_get(&m->o, blk, SPAN - blk, &kind, &at);
		assert_true(run >= 1 && run <= SPAN - blk);
		for (uint64_t i = 0; i < run; i++) {
			uint64_t want = m->at[blk + i];

			if (kind == BOW_BACKUP_NONE)
				assert_int_equal(want, 0);
			else if (kind == BOW_BACKUP_ZEROS)
				assert_true(want == BOW_NO_BLK);
			else
				assert_int_equal(want, at + i);
		}
	}
}

static void levels_answer_as_a_plain_array_does(void **state)
{
	static struct mirror m;
	struct rng r = {20};

	(void)state;
	for (int i = 0; i < 300; i++) {
		add_level(&m, &r, rng_chance(&r, 10) ? 200 : rng_between(&r, 1, 6));
		for (int k = 0; k < 20; k++)
			move_one(&m, &r);
		use_again(&m, &r);
		assert_true(m.o.levels <= 16);
	}
	check_all(&m);
	bow_backup_index_release(&m.o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_original_is_found),
		cmocka_unit_test(neighbouring_zeros_are_one_run),
		cmocka_unit_test(a_backup_that_moved_in_pieces_is_found_in_pieces),
		cmocka_unit_test(a_backup_is_checked_as_a_whole_and_once),
		cmocka_unit_test(a_copy_that_a_power_cut_took_is_no_place),
		cmocka_unit_test(what_is_logged_later_is_added),
		cmocka_unit_test(a_place_that_was_given_back_may_have_another_backup),
		cmocka_unit_test(records_beyond_the_given_end_do_not_count),
		cmocka_unit_test(levels_answer_as_a_plain_array_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
