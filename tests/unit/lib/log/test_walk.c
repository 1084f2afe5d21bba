/* SPDX-License-Identifier: MIT */
/* Following blocks that moved, and what a power cut took of the last record (rules 7 and 9). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hand_log.h"

enum { A = 4, B = 6, X = 50, Y = 54, Z = 58 }; /* used blocks, and free ones */

/* Where the backups are, as the walk tells at the moment it visits them. */
struct found {
	uint64_t now[HAND_BLK]; /* by source; 0: not seen */
	bool redo[HAND_BLK];
	uint8_t content[HAND_BLK]; /* first byte of what bow_walk_read() gives */
	uint64_t segment[8];
	uint32_t segments;
};

static int find_piece(void *ctx, struct bow_walk *w, uint64_t start_blk, uint64_t n,
		      struct bowimg_error *err)
{
	struct found *f = ctx;

	(void)w, (void)n, (void)err;
	f->segment[f->segments++] = start_blk;
	return 0;
}

static int find_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct found *f = ctx;
	uint8_t block[BOW_BLOCK];

	if (e->type != BOW_ENTRY_COPY)
		return 0;
	for (uint32_t i = 0; i < e->count_blk; i++) {
		bow_walk_locate(w, e->dest_blk + i, 1, &f->now[e->source_blk + i]);
		assert_int_equal(bow_walk_read(w, e->dest_blk + i, 1, block, err), 0);
		f->content[e->source_blk + i] = block[0];
		f->redo[e->source_blk + i] = bow_walk_is_redo(w, e);
	}
	return 0;
}

static int find(struct hand_log *h, struct found *f)
{
	struct bow_visitor v = {.segment_piece = find_piece, .entry = find_entry, .ctx = f};
	struct bow_walk w;
	int rc;

	memset(f, 0, sizeof(*f));
	memset(&h->err, 0, sizeof(h->err));
	assert_int_equal(bow_walk_init(&w, h->dev, &h->sb, &h->err), 0);
	rc = bow_walk_run(&w, &v, &h->err);
	bow_walk_release(&w);
	return rc;
}

static void a_backup_that_moved_twice_is_found_where_it_is(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_scribble(&h, A, 1);
	hand_log_one(&h, hand_copy(&h, X, Y, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, X, 1);
	assert_int_equal(find(&h, &f), 0);
	assert_int_equal(f.now[A], Y);
	hand_log_one(&h, hand_copy(&h, Y, Z, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, Y, 1);
	assert_int_equal(find(&h, &f), 0);
	assert_int_equal(f.now[A], Z);
	assert_int_equal(f.now[X], Z);
	assert_int_equal(f.content[A], A + 1);
	hand_log_release(&h);
}

/* A chain of places without times would lead the second backup in X to the first one's new place.
 */
/* What bowimg held and moved away from is the file system's for good. */
static void a_place_that_is_used_again_is_refused(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_scribble(&h, A, 1);
	hand_log_one(&h, hand_copy(&h, X, Y, 1, BOW_ENTRY_MOVE));
	assert_int_equal(find(&h, &f), 0);
	assert_int_equal(f.now[A], Y);
	assert_int_equal(f.content[A], A + 1);
	hand_log_one(&h, hand_copy(&h, B, X, 1, 0));
	hand_scribble(&h, B, 1);
	assert_int_equal(find(&h, &f), -EUCLEAN);
	assert_non_null(strstr(h.err.message, "two things are put at block 50"));
	hand_log_release(&h);
}

static void a_backup_can_move_in_pieces(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 4, 0));
	hand_log_one(&h, hand_copy(&h, X + 1, Y, 2, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_copy(&h, Y + 1, Z, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, X + 1, 2);
	hand_scribble(&h, Y + 1, 1);
	assert_int_equal(find(&h, &f), 0);
	assert_int_equal(f.now[A], X);
	assert_int_equal(f.now[A + 1], Y);
	assert_int_equal(f.now[A + 2], Z);
	assert_int_equal(f.now[A + 3], X + 3);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(f.content[A + i], A + i + 1);
	hand_log_release(&h);
}

static void a_closed_segment_that_moved_is_read_from_its_new_place(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 2);
	hand_log_one(&h, hand_copy(&h, A, X, 1, 0));
	hand_log_switch(&h, 40, 1);
	/* Its two blocks go to two places; the backup it tells of moves as well. */
	hand_log_one(&h, hand_copy(&h, HAND_SEGMENT, Y, 1, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_copy(&h, HAND_SEGMENT + 1, Z, 1, BOW_ENTRY_MOVE));
	hand_log_one(&h, hand_copy(&h, X, Z + 1, 1, BOW_ENTRY_MOVE));
	hand_scribble(&h, HAND_SEGMENT, 2);
	hand_scribble(&h, X, 1);
	hand_scribble(&h, A, 1);
	assert_int_equal(find(&h, &f), 0);
	assert_int_equal(f.segments, 3);
	assert_int_equal(f.segment[0], 40);
	assert_int_equal(f.segment[1], Y);
	assert_int_equal(f.segment[2], Z);
	assert_int_equal(f.now[A], Z + 1);
	assert_int_equal(f.content[A], A + 1);
	hand_log_release(&h);
}

static void a_backup_that_a_power_cut_took_is_listed_for_redoing(void **state)
{
	struct hand_log h;
	struct bow_entry e[2];
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	e[0] = hand_copy(&h, A, X, 2, 0);
	e[1] = hand_entry(&h, B, Y, 1, 0); /* never reached its dest; B was not overwritten */
	hand_log_record(&h, e, 2);
	hand_scribble(&h, A, 2);
	assert_int_equal(find(&h, &f), 0);
	assert_false(f.redo[A]);
	assert_true(f.redo[B]);
	hand_log_release(&h);
}

static void a_move_that_a_power_cut_took_has_not_happened(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_copy(&h, A, X, 2, 0));
	hand_scribble(&h, A, 2);
	hand_log_one(&h, hand_entry(&h, X, Y, 2, BOW_ENTRY_MOVE));
	assert_int_equal(find(&h, &f), 0);
	assert_true(f.redo[X]);
	assert_int_equal(f.now[A], X);
	assert_int_equal(f.content[A], A + 1);
	assert_int_equal(f.content[A + 1], A + 2);
	hand_log_release(&h);
}

static void a_backup_lost_together_with_its_source_is_damage(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_entry(&h, A, X, 1, 0));
	hand_scribble(&h, A, 1);
	assert_int_equal(find(&h, &f), -EBADMSG);
	assert_non_null(strstr(h.err.message, "neither the backup of block 4 at block 50 nor the "
					      "block itself has the content that was logged"));
	hand_log_release(&h);
}

/* The backups of earlier records were past a barrier; whether they rotted is for verify to say. */
static void only_the_last_record_is_checked_for_lost_backups(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_entry(&h, A, X, 1, 0));
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, Y, 1));
	assert_int_equal(find(&h, &f), 0);
	assert_false(f.redo[A]);
	assert_int_equal(f.now[A], X);
	hand_log_release(&h);
}

static void once_a_rollback_has_begun_nothing_counts_as_lost(void **state)
{
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	hand_log_one(&h, hand_entry(&h, A, X, 1, 0));
	h.sb.state = BOW_SUPER_ROLLING_BACK;
	assert_int_equal(find(&h, &f), 0);
	assert_false(f.redo[A]);
	hand_log_release(&h);
}

/* Hashed and copied over its real bytes only. */
static void a_partial_last_block_is_checked_over_its_real_bytes(void **state)
{
	const uint64_t last = HAND_BLK - 1;
	struct hand_log h;
	struct found f;

	(void)state;
	hand_log_begin(&h, 512, 1);
	assert_int_equal(bow_disk_resize(h.dev, h.dev->size - 512, &h.err), 0);
	h.sb.image_size = h.dev->size;
	hand_log_one(&h, hand_copy(&h, last, X, 1, 0));
	memset(hand_block(&h, X) + BOW_BLOCK - 512, 0xaa, 512);
	assert_int_equal(find(&h, &f), 0);
	assert_false(f.redo[last]);
	hand_block(&h, X)[0] ^= 1;
	assert_int_equal(find(&h, &f), 0);
	assert_true(f.redo[last]);
	hand_log_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backup_that_moved_twice_is_found_where_it_is),
		cmocka_unit_test(a_place_that_is_used_again_is_refused),
		cmocka_unit_test(a_backup_can_move_in_pieces),
		cmocka_unit_test(a_closed_segment_that_moved_is_read_from_its_new_place),
		cmocka_unit_test(a_backup_that_a_power_cut_took_is_listed_for_redoing),
		cmocka_unit_test(a_move_that_a_power_cut_took_has_not_happened),
		cmocka_unit_test(a_backup_lost_together_with_its_source_is_damage),
		cmocka_unit_test(only_the_last_record_is_checked_for_lost_backups),
		cmocka_unit_test(once_a_rollback_has_begun_nothing_counts_as_lost),
		cmocka_unit_test(a_partial_last_block_is_checked_over_its_real_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
