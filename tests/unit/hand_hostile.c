/* SPDX-License-Identifier: MIT */
/* See hand_hostile.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hand_hostile.h"

static void one_case(void **state)
{
	const struct hostile_case *c = *state;
	struct bow_checkpoint cp = {0};
	struct hand_log h;
	int rc;

	hand_log_begin(&h, 512, 2);
	h.sb.incompat = BOW_INCOMPAT_GIVE | BOW_INCOMPAT_MARKS;
	c->make(&h);
	cp.dev = h.dev;
	cp.sb = h.sb;
	rc = bow_checkpoint_load(&cp, &h.err);
	if (rc != c->code || (rc && !strstr(h.err.message, c->words)))
		fail_msg("%d '%s', not %d '%s'", rc, h.err.message, c->code, c->words);
	bow_checkpoint_release(&cp);
	hand_log_release(&h);
}

int hostile_run(const struct hostile_case *cases, size_t n)
{
	struct CMUnitTest *tests = calloc(n, sizeof(*tests));
	int rc;

	for (size_t i = 0; tests && i < n; i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].title,
					       .test_func = one_case,
					       .initial_state = (void *)&cases[i]};
	rc = tests ? _cmocka_run_group_tests("hostile logs", tests, n, NULL, NULL) : 1;
	free(tests);
	return rc;
}

uint64_t hostile_mark(struct hand_log *h, const char *name, uint64_t copy_blk)
{
	struct bow_entry e[2] = {hand_copy(h, 0, copy_blk, 1, 0), bow_mark_entry(name, 1)};

	hand_log_record(h, e, 2);
	return h->log.next_seq - 1;
}

struct bow_entry hostile_place(uint64_t from_blk, uint64_t to_blk, uint32_t n)
{
	struct bow_entry e = hand_mark(BOW_ENTRY_PLACE, from_blk, n);

	e.dest_blk = to_blk;
	return e;
}

struct bow_entry hostile_revert(uint64_t seq, uint64_t last_seq)
{
	struct bow_entry e = hand_mark(BOW_ENTRY_REVERT, seq, 0);

	e.dest_blk = last_seq;
	return e;
}

void hostile_cut(struct hand_log *h, uint64_t end_seq, uint64_t start_blk)
{
	h->log.cut_seq = end_seq;
	hand_log_switch(h, start_blk, 1);
}

void hostile_return(struct hand_log *h, uint64_t seq, uint64_t start_blk, const struct bow_entry *e,
		    uint32_t n)
{
	struct bow_entry all[8] = {hostile_revert(seq, h->log.next_seq)};

	for (uint32_t i = 0; i < n; i++)
		all[1 + i] = e[i];
	hostile_cut(h, seq + 1, start_blk);
	hand_log_record(h, all, n + 1);
}

void hostile_go_back(struct hand_log *h, const struct bow_entry *e, uint32_t n)
{
	uint64_t seq;

	hand_log_one(h, hand_copy(h, 4, HOSTILE_BACKUP, 2, 0));
	seq = hostile_mark(h, "m", HOSTILE_COPY0);
	hand_log_one(h, hand_mark(BOW_ENTRY_TAKE, HOSTILE_TAKEN, 1));
	hostile_return(h, seq, HOSTILE_NEXT, e, n);
}
