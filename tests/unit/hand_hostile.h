/* SPDX-License-Identifier: MIT */
/* Hostile logs: marks, returns to them, and a table of logs with what becomes of each. */
#ifndef TESTS_HAND_HOSTILE_H
#define TESTS_HAND_HOSTILE_H

#include "hand_log.h"

/* What is read of the log that `make` wrote: 0, or this code and a message with these words. */
struct hostile_case {
	const char *title; /* a sentence */
	void (*make)(struct hand_log *h);
	int code;
	const char *words;
};

/* Every case is a test. Returns as cmocka_run_group_tests(). */
int hostile_run(const struct hostile_case *cases, size_t n);

/* A mark's record, whose copy of block 0 is at copy_blk; returns its number. */
uint64_t hostile_mark(struct hand_log *h, const char *name, uint64_t copy_blk);

struct bow_entry hostile_place(uint64_t from_blk, uint64_t to_blk, uint32_t n);
struct bow_entry hostile_revert(uint64_t seq, uint64_t last_seq);

/* Of the newest segment's records those from this number on do not count; go on at start_blk. */
void hostile_cut(struct hand_log *h, uint64_t end_seq, uint64_t start_blk);
/* Return to a mark in the newest segment: at start_blk, one record of REVERT and n more entries. */
void hostile_return(struct hand_log *h, uint64_t seq, uint64_t start_blk, const struct bow_entry *e,
		    uint32_t n);

/*
 * Block 4 is saved at HOSTILE_BACKUP, with the block behind it; then a mark, a TAKE of one block,
 * and the return at HOSTILE_NEXT.
 */
enum { HOSTILE_BACKUP = 50, HOSTILE_TAKEN = 54, HOSTILE_NEXT = 40, HOSTILE_COPY0 = 60 };
void hostile_go_back(struct hand_log *h, const struct bow_entry *e, uint32_t n);

#endif
