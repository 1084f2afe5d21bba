/* SPDX-License-Identifier: MIT */
/*
 * Superblocks that say of a rollback what no bowimg would note, before a log that is right: with
 * the marks m, n (deleted) and o.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/verbs/operations.h"
#include "hand_hostile.h"

enum { A = 4, X = 50 };			/* a used block, and where it is saved */
enum { M = 2, N = 3, O = 4, LAST = 6 }; /* records */

static const struct target_case {
	const char *title;
	uint32_t state, flags, incompat;
	uint64_t target;
	const char *to; /* of the rollback that follows */
	int code;
	const char *words;
} cases[] = {
	{"a return to its mark goes on", BOW_SUPER_ROLLING_BACK, 0, 3, M, "m", 0, ""},
	{"a return that has restored goes on", BOW_SUPER_ROLLING_BACK, BOW_SUPER_RESTORED, 3, M,
	 "m", 0, ""},
	{"a return is not ended by a rollback to prepare", BOW_SUPER_ROLLING_BACK, 0, 3, M, NULL,
	 -EINPROGRESS, "a return to the mark m was interrupted"},
	{"a return to one mark is not ended at another", BOW_SUPER_ROLLING_BACK, 0, 3, M, "o",
	 -EINPROGRESS, "a return to the mark m was interrupted"},
	{"a rollback to prepare is not ended at a mark", BOW_SUPER_ROLLING_BACK, 0, 3, 0, "m",
	 -EINPROGRESS, "a rollback was interrupted"},
	{"a rollback without a target may have restored", BOW_SUPER_ROLLING_BACK,
	 BOW_SUPER_RESTORED, 3, 0, NULL, 0, ""},
	{"a target that is no mark is refused", BOW_SUPER_ROLLING_BACK, 0, 3, 1, NULL, -EUCLEAN,
	 "a return to record 1 was interrupted, but that is no mark"},
	{"a target whose mark was deleted is refused", BOW_SUPER_ROLLING_BACK, 0, 3, N, "n",
	 -EUCLEAN, "a return to record 3 was interrupted"},
	{"a target behind the log is refused", BOW_SUPER_ROLLING_BACK, 0, 3, LAST + 1, NULL,
	 -EUCLEAN, "but that is no mark"},
	{"the highest target is refused", BOW_SUPER_ROLLING_BACK, BOW_SUPER_RESTORED, 3, UINT64_MAX,
	 "m", -EUCLEAN, "but that is no mark"},
	{"a checkpoint with a target is damaged", BOW_SUPER_CHECKPOINT, 0, 3, M, "m", -EBADMSG,
	 "damaged"},
	{"a checkpoint that has restored is damaged", BOW_SUPER_CHECKPOINT, BOW_SUPER_RESTORED, 3,
	 0, "m", -EBADMSG, "damaged"},
	{"a commit with a target is damaged", BOW_SUPER_COMMITTING, 0, 3, M, "m", -EBADMSG,
	 "damaged"},
	{"a target without marks is damaged", BOW_SUPER_ROLLING_BACK, 0, 1, M, "m", -EBADMSG,
	 "damaged"},
	{"marks that are not announced are refused", BOW_SUPER_CHECKPOINT, 0, 1, 0, "m", -EUCLEAN,
	 "a mark in an image without marks"},
	{"a feature that is not known is newer", BOW_SUPER_CHECKPOINT, 0, 7, 0, "m", -EOPNOTSUPP,
	 "newer version"},
	{"the highest feature is newer", BOW_SUPER_CHECKPOINT, 0, 1u << 31, 0, NULL, -EOPNOTSUPP,
	 "newer version"},
};

static void make(struct hand_log *h)
{
	h->sb.incompat = BOW_INCOMPAT_GIVE | BOW_INCOMPAT_MARKS;
	assert_int_equal(hostile_mark(h, "m", 60), M);
	assert_int_equal(hostile_mark(h, "n", 61), N);
	assert_int_equal(hostile_mark(h, "o", 62), O);
	hand_log_one(h, hand_mark(BOW_ENTRY_UNMARK, N, 0));
	hand_log_one(h, hand_copy(h, A, X, 1, 0));
	hand_scribble(h, A, 1);
}

static void seal(struct hand_log *h, const struct target_case *c)
{
	char *block0 = (char *)hand_block(h, 0);

	h->sb.state = c->state;
	h->sb.flags = c->flags;
	h->sb.incompat = c->incompat;
	h->sb.target = c->target;
	bow_super_encode(&h->sb, (uint8_t *)block0);
	bow_note_render(&h->sb, block0 + BOW_SUPER_BYTES);
}

static void one_case(void **state)
{
	const struct target_case *c = *state;
	struct bowimg_end_options opts = {.to = c->to};
	struct bowimg_end_report report;
	uint8_t before[BOW_BLOCK];
	struct hand_log h;
	int rc;

	hand_log_begin(&h, 512, 2);
	make(&h);
	seal(&h, c);
	memcpy(before, hand_block(&h, 0), sizeof(before));
	rc = bow_rollback_dev(h.dev, &opts, &report, &h.err);
	if (rc != c->code || (rc && !strstr(h.err.message, c->words)))
		fail_msg("%d '%s', not %d '%s'", rc, h.err.message, c->code, c->words);
	if (rc)
		assert_memory_equal(before, hand_block(&h, 0), sizeof(before));
	/* What has restored does not restore again. */
	assert_int_equal(*hand_block(&h, A), rc || c->flags & BOW_SUPER_RESTORED ? 0xee : A + 1);
	hand_log_release(&h);
}

int main(void)
{
	struct CMUnitTest tests[sizeof(cases) / sizeof(cases[0])];

	memset(tests, 0, sizeof(tests));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tests[i].name = cases[i].title;
		tests[i].test_func = one_case;
		tests[i].initial_state = (void *)&cases[i];
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
