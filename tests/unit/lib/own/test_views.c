/* SPDX-License-Identifier: MIT */
/* Looking at an image: both sides, what changed, who may have it meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hand_log.h"
#include "lib/verbs/operations.h"
#include "disk_before.h"

enum { A = 4, B = 8, C = 12, D = 16, X = 50, Y = 54, Z = 58 };

/* Over whatever the test has put there. */
static void write_super(struct hand_log *h)
{
	assert_int_equal(bow_disk_read_first(h->dev, &h->err), 0);
	assert_int_equal(bow_super_write(h->dev, &h->sb, &h->err), 0);
}

/* The superblock and the note, as prepare would have left them; block 0's original is its copy. */
static bowimg_disk *look_at(struct hand_log *h, unsigned force)
{
	bowimg_disk *look = NULL;
	int rc;

	memcpy(hand_block(h, HAND_LIVE0), hand_block(h, HAND_ORIGINAL0), BOW_BLOCK);
	write_super(h);
	bow_note_render(&h->sb, (char *)hand_block(h, 0) + BOW_SUPER_BYTES);
	rc = bow_view_open(h->dev, force, &look, &h->err);
	if (rc)
		fail_msg("look: %d %s", rc, h->err.message);
	return look;
}

static void done(struct hand_log *h, bowimg_disk *look)
{
	bow_log_release(&h->log);
	assert_int_equal(bowimg_disk_close(look, NULL), 0); /* closes the device, too */
}

/* The byte that all of a block consists of. */
static int byte_of(bowimg_disk *disk, uint64_t blk)
{
	uint8_t block[BOW_BLOCK];

	assert_int_equal(bowimg_disk_read(disk, block, sizeof(block), blk * BOW_BLOCK, NULL), 0);
	for (size_t i = 1; i < sizeof(block); i++)
		assert_int_equal(block[i], block[0]);
	return block[0];
}

static void assert_block(bowimg_disk *look, uint64_t blk, int before, int now)
{
	bowimg_disk *was;

	assert_int_equal(bowimg_disk_before(look, &was, NULL), 0);
	assert_int_equal(byte_of(was, blk), before);
	assert_int_equal(byte_of(look, blk), now);
	assert_int_equal(bowimg_disk_close(was, NULL), 0);
}

/* A log with one of everything. */
static void write_log(struct hand_log *h)
{
	hand_log_begin(h, 512, 2);
	hand_log_one(h, hand_copy(h, A, X, 2, 0));
	hand_scribble(h, A, 2);
	memset(hand_block(h, B), 0, BOW_BLOCK);
	hand_log_one(h, hand_mark(BOW_ENTRY_ZERO, B, 1));
	hand_scribble(h, B, 1);
	hand_log_one(h, hand_mark(BOW_ENTRY_ZERO_PENDING, C, 2));
	hand_log_one(h, hand_mark(BOW_ENTRY_TAKE, Z, 2));
	hand_scribble(h, Z, 2);
	hand_log_one(h, hand_copy(h, X + 1, Y, 1, BOW_ENTRY_MOVE));
	hand_scribble(h, X + 1, 1);
}

static void both_sides_of_every_kind_of_block_are_seen(void **state)
{
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	look = look_at(&h, 0);
	assert_block(look, 0, 1, 1);
	assert_block(look, 1, 2, 2);
	assert_block(look, A, A + 1, 0xee);
	assert_block(look, A + 1, A + 2, 0xee); /* its backup has moved */
	assert_block(look, B, 0, 0xee);
	assert_block(look, C, C + 1, 0); /* a pending zero, nothing written */
	assert_block(look, D, D + 1, D + 1);
	assert_block(look, Z, 0xee, 0xee); /* free: as it is now */
	assert_block(look, 45, 46, 46);
	assert_block(look, HAND_SEGMENT, 0, 0); /* the log is shown to nobody */
	assert_block(look, X, 0, 0);
	done(&h, look);
}

static void in_exact_mode_free_blocks_were_zeros(void **state)
{
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	h.sb.flags |= BOW_SUPER_EXACT;
	look = look_at(&h, 0);
	assert_block(look, Z, 0, 0xee);
	assert_block(look, 45, 0, 46);
	assert_block(look, A, A + 1, 0xee);
	done(&h, look);
}

static void a_backup_that_a_power_cut_took_is_read_at_its_source(void **state)
{
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	hand_log_one(&h, hand_entry(&h, D, Z + 2, 1, 0)); /* logged, but never copied */
	look = look_at(&h, 0);
	assert_block(look, D, D + 1, D + 1);
	done(&h, look);
}

static void reads_need_not_be_aligned(void **state)
{
	uint8_t all[HAND_BLK * BOW_BLOCK], part[3 * BOW_BLOCK];
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	look = look_at(&h, 0);
	assert_int_equal(disk_read_before(look, all, sizeof(all), 0, NULL), 0);
	for (size_t off = 1; off + sizeof(part) < sizeof(all); off += 4999) {
		size_t n = 1 + off % sizeof(part);

		assert_int_equal(disk_read_before(look, part, n, off, NULL), 0);
		assert_memory_equal(part, all + off, n);
	}
	assert_int_equal(bowimg_disk_read(look, part, 2, sizeof(all) - 1, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_read(look, part, 0, sizeof(all), NULL), 0);
	done(&h, look);
}

/* ---- what changed ---------------------------------------------------------------- */

struct changes {
	struct bowimg_change c[16];
	unsigned n, stop_at;
};

static int note(void *ctx, const struct bowimg_change *change)
{
	struct changes *all = ctx;

	assert_true(all->n < 16);
	all->c[all->n++] = *change;
	return all->n == all->stop_at ? -ECANCELED : 0;
}

static void assert_change(const struct bowimg_change *c, uint64_t blk, uint64_t n, bool was_free,
			  bool was_zero, bool zero_now)
{
	assert_int_equal(c->off, blk * BOW_BLOCK);
	assert_int_equal(c->bytes, n * BOW_BLOCK);
	assert_int_equal(c->was_free, was_free);
	assert_int_equal(c->was_zero, was_zero);
	assert_int_equal(c->zero_now, zero_now);
}

static void changes_are_told_in_order_and_by_kind(void **state)
{
	struct changes all = {.stop_at = 0};
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	look = look_at(&h, 0);
	assert_int_equal(bowimg_disk_changes(look, note, &all, NULL), 0);
	assert_int_equal(all.n, 5);
	assert_change(&all.c[0], A, 2, false, false, false);
	assert_change(&all.c[1], B, 1, false, true, false);
	assert_change(&all.c[2], C, 2, false, false, true);
	assert_change(&all.c[3], X + 1, 1, true, false, false);
	assert_change(&all.c[4], Z, 2, true, false, false);
	all = (struct changes){.stop_at = 2};
	assert_int_equal(bowimg_disk_changes(look, note, &all, NULL), -ECANCELED);
	assert_int_equal(all.n, 2);
	done(&h, look);
}

static void block_0_is_among_the_changes_only_if_it_differs(void **state)
{
	struct changes all = {0};
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	look = look_at(&h, 0);
	done(&h, look);
	write_log(&h);
	memset(hand_block(&h, HAND_LIVE0), 0x77, BOW_BLOCK);
	write_super(&h);
	bow_note_render(&h.sb, (char *)hand_block(&h, 0) + BOW_SUPER_BYTES);
	assert_int_equal(bow_view_open(h.dev, 0, &look, &h.err), 0);
	assert_block(look, 0, 1, 0x77);
	assert_int_equal(bowimg_disk_changes(look, note, &all, NULL), 0);
	assert_change(&all.c[0], 0, 1, false, false, false);
	assert_int_equal(all.n, 6);
	done(&h, look);
}

static int read_blk(struct hand_log *h, bowimg_disk *look, uint64_t blk, uint8_t *block)
{
	bow_err_clear(&h->err);
	return disk_read_before(look, block, BOW_BLOCK, blk * BOW_BLOCK, &h->err);
}

static void a_rotten_backup_is_told_and_not_shown(void **state)
{
	uint8_t block[BOW_BLOCK];
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	look = look_at(&h, 0);
	hand_block(&h, X)[7] ^= 1;
	/* One hash covers both, wherever they are. */
	for (uint64_t blk = A; blk < A + 2; blk++) {
		assert_int_equal(read_blk(&h, look, blk, block), -EBADMSG);
		assert_non_null(
			strstr(h.err.message, "the backup of 2 block(s) from 4 is damaged"));
	}
	assert_int_equal(byte_of(look, A), 0xee);
	assert_block(look, D, D + 1, D + 1);
	hand_block(&h, X)[7] ^= 1;
	assert_block(look, A + 1, A + 2, 0xee);
	done(&h, look);
}

static void a_rotten_backup_of_what_was_not_overwritten_is_no_loss(void **state)
{
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	hand_log_one(&h, hand_copy(&h, D, Z + 2, 2, 0));
	look = look_at(&h, 0);
	hand_block(&h, Z + 2)[7] ^= 1;
	assert_block(look, D, D + 1, D + 1);
	assert_block(look, D + 1, D + 2, D + 2);
	done(&h, look);
}

static void with_a_rotten_block_0_the_rest_can_be_looked_at(void **state)
{
	uint8_t block[BOW_BLOCK];
	struct changes all = {0};
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	memcpy(hand_block(&h, HAND_LIVE0), hand_block(&h, HAND_ORIGINAL0), BOW_BLOCK);
	hand_block(&h, HAND_ORIGINAL0)[7] ^= 1;
	write_super(&h);
	bow_note_render(&h.sb, (char *)hand_block(&h, 0) + BOW_SUPER_BYTES);
	assert_int_equal(bow_view_open(h.dev, BOWIMG_FORCE_CHANGED, &look, &h.err), 0);
	assert_int_equal(read_blk(&h, look, 0, block), -EBADMSG);
	assert_block(look, A, A + 1, 0xee);
	assert_int_equal(bowimg_disk_changes(look, note, &all, NULL), 0);
	assert_int_equal(all.c[0].off, 0);
	done(&h, look);
}

static void a_view_describes_its_checkpoint(void **state)
{
	struct bowimg_disk_info info;
	bowimg_disk *look;
	struct hand_log h;

	(void)state;
	write_log(&h);
	look = look_at(&h, 0);
	assert_int_equal(bowimg_disk_get_info(look, &info, NULL), 0);
	assert_int_equal(info.size, HAND_BLK * BOW_BLOCK);
	assert_int_equal(info.size, bowimg_disk_size(look));
	assert_int_equal(info.block_size, BOW_BLOCK);
	assert_int_equal(strlen(info.uuid), 36);
	assert_false(info.exact);
	done(&h, look);
}

/* ---- refusals -------------------------------------------------------------------- */

static void assert_no_look(struct hand_log *h, int code, const char *words)
{
	bowimg_disk *look = NULL;
	int rc;

	memset(&h->err, 0, sizeof(h->err));
	write_super(h);
	bow_note_render(&h->sb, (char *)hand_block(h, 0) + BOW_SUPER_BYTES);
	rc = bow_view_open(h->dev, 0, &look, &h->err);
	if (rc != code || !strstr(h->err.message, words))
		fail_msg("%d '%s', not %d '%s'", rc, h->err.message, code, words);
	assert_null(look);
}

static void only_an_open_checkpoint_has_two_sides(void **state)
{
	struct hand_log h;

	(void)state;
	write_log(&h);
	memcpy(hand_block(&h, HAND_LIVE0), hand_block(&h, HAND_ORIGINAL0), BOW_BLOCK);
	h.sb.state = BOW_SUPER_ROLLING_BACK;
	assert_no_look(&h, -EINPROGRESS, "rollback was interrupted");
	h.sb.state = BOW_SUPER_COMMITTING;
	assert_no_look(&h, -EINPROGRESS, "commit was interrupted");
	h.sb.state = BOW_SUPER_CHECKPOINT;
	hand_block(&h, HAND_SEGMENT)[20] ^= 1;
	assert_no_look(&h, -EBADMSG, "log segment at block");
	memset(hand_block(&h, 0), 9, BOW_BLOCK);
	memset(&h.err, 0, sizeof(h.err));
	assert_int_equal(bow_view_open(h.dev, 0, &(bowimg_disk *){NULL}, &h.err), -ENODATA);
	assert_non_null(strstr(h.err.message, "nothing to view"));
	assert_int_equal(bowimg_disk_close(NULL, NULL), 0);
	hand_log_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_of_every_kind_of_block_are_seen),
		cmocka_unit_test(in_exact_mode_free_blocks_were_zeros),
		cmocka_unit_test(a_backup_that_a_power_cut_took_is_read_at_its_source),
		cmocka_unit_test(reads_need_not_be_aligned),
		cmocka_unit_test(changes_are_told_in_order_and_by_kind),
		cmocka_unit_test(block_0_is_among_the_changes_only_if_it_differs),
		cmocka_unit_test(a_rotten_backup_is_told_and_not_shown),
		cmocka_unit_test(a_rotten_backup_of_what_was_not_overwritten_is_no_loss),
		cmocka_unit_test(with_a_rotten_block_0_the_rest_can_be_looked_at),
		cmocka_unit_test(a_view_describes_its_checkpoint),
		cmocka_unit_test(only_an_open_checkpoint_has_two_sides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
