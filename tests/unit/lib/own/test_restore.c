/* SPDX-License-Identifier: MIT */
/* Backups are checked and brought back in large pieces, each by its own hash. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hand_log.h"
#include "lib/own/steps.h"

enum { SOURCE = 2, PLACE = 44, N = 16, GAP = 4 }; /* GAP: between the 8th backup and the 9th */

static struct bow_backend_ops counting;
static const struct bow_backend_ops *real;
static unsigned reads, writes; /* of PLACE and what follows; of what is before the free space */

static int64_t count_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	reads += off >= PLACE * BOW_BLOCK;
	return real->read(dev, buf, bytes, off);
}

static int64_t count_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	writes += off < HAND_FREE * BOW_BLOCK;
	return real->write(dev, buf, bytes, off);
}

static void count(struct hand_log *h)
{
	real = h->dev->ops;
	counting = *real;
	counting.read = count_read;
	counting.write = count_write;
	h->dev->ops = &counting;
	reads = writes = 0;
}

static uint64_t place(unsigned i)
{
	return PLACE + i + (i < N / 2 ? 0 : GAP);
}

/* N blocks, each with a record and a backup of its own, every other one first; then overwritten. */
static void write_log(struct hand_log *h)
{
	hand_log_begin(h, 512, 6);
	for (unsigned k = 0; k < N; k++) {
		unsigned i = k * 2 % N + k * 2 / N;

		hand_log_one(h, hand_copy(h, SOURCE + i, place(i), 1, 0));
	}
	hand_scribble(h, SOURCE, N);
	memcpy(hand_block(h, HAND_LIVE0), hand_block(h, HAND_ORIGINAL0), BOW_BLOCK);
}

static void load(struct hand_log *h, struct bow_checkpoint *cp)
{
	*cp = (struct bow_checkpoint){.dev = h->dev, .sb = h->sb};
	assert_int_equal(bow_checkpoint_load(cp, &h->err), 0);
	count(h);
}

static void end(struct hand_log *h, struct bow_checkpoint *cp)
{
	bow_checkpoint_release(cp);
	hand_log_release(h);
}

static int check(struct hand_log *h, struct bow_checkpoint *cp)
{
	struct bowimg_end_report report = {0};

	return bow_restore_check(cp, NULL, NULL, &report, &h->err);
}

static uint64_t restore(struct hand_log *h, struct bow_checkpoint *cp)
{
	struct bowimg_end_report report = {0};

	assert_int_equal(bow_restore_all(cp, NULL, NULL, &report, &h->err), 0);
	return report.restored_bytes;
}

static void assert_original(struct hand_log *h, unsigned i)
{
	for (unsigned k = 0; k < BOW_BLOCK; k++)
		assert_int_equal(hand_block(h, SOURCE + i)[k], SOURCE + i + 1);
}

static void backups_side_by_side_are_checked_by_one_read(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	write_log(&h);
	load(&h, &cp);
	assert_int_equal(check(&h, &cp), 0);
	assert_int_equal(reads, 2 + 1); /* the walk itself checks the newest record */
	end(&h, &cp);
}

static void backups_side_by_side_come_back_by_one_read_and_one_write(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	write_log(&h);
	load(&h, &cp);
	assert_int_equal(restore(&h, &cp), N * BOW_BLOCK);
	assert_int_equal(reads, 2 + 1);
	assert_int_equal(writes, 2);
	for (unsigned i = 0; i < N; i++)
		assert_original(&h, i);
	end(&h, &cp);
}

static void one_damaged_backup_among_others_is_found(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	for (unsigned i = 0; i + 1 < N; i++) { /* the last one is the newest record's */
		write_log(&h);
		hand_block(&h, place(i))[17] ^= 1;
		load(&h, &cp);
		assert_int_equal(check(&h, &cp), -EBADMSG);
		assert_non_null(strstr(h.err.message, "is damaged"));
		end(&h, &cp);
	}
}

/* An earlier run restored the block, and then zeroed the backup. */
static void a_damaged_backup_of_a_block_that_is_right_spares_it_and_not_the_others(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		write_log(&h);
		memcpy(hand_block(&h, SOURCE + i), hand_block(&h, place(i)), BOW_BLOCK);
		memset(hand_block(&h, place(i)), 0, BOW_BLOCK);
		load(&h, &cp);
		assert_int_equal(check(&h, &cp), 0);
		assert_int_equal(restore(&h, &cp), (N - 1) * BOW_BLOCK);
		for (unsigned k = 0; k < N; k++)
			assert_original(&h, k);
		end(&h, &cp);
	}
}

static void a_backup_of_zeros_among_others_is_refused(void **state)
{
	struct hand_log h;
	struct bow_checkpoint cp;

	(void)state;
	hand_log_begin(&h, 512, 6);
	memset(hand_block(&h, SOURCE + 1), 0, BOW_BLOCK);
	for (unsigned i = 0; i < 3; i++)
		hand_log_one(&h, hand_copy(&h, SOURCE + i, place(i), 1, 0));
	memcpy(hand_block(&h, HAND_LIVE0), hand_block(&h, HAND_ORIGINAL0), BOW_BLOCK);
	load(&h, &cp);
	assert_int_equal(check(&h, &cp), -EUCLEAN);
	assert_non_null(strstr(h.err.message, "all zeros"));
	end(&h, &cp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backups_side_by_side_are_checked_by_one_read),
		cmocka_unit_test(backups_side_by_side_come_back_by_one_read_and_one_write),
		cmocka_unit_test(one_damaged_backup_among_others_is_found),
		cmocka_unit_test(
			a_damaged_backup_of_a_block_that_is_right_spares_it_and_not_the_others),
		cmocka_unit_test(a_backup_of_zeros_among_others_is_refused),
	};

	return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
