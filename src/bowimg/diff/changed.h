/* SPDX-License-Identifier: MIT */
/*
 * The blocks of one file system that may differ between the two versions, and which of them are
 * settled: free, or part of something that is compared anyway.
 */
#ifndef BOW_DIFF_CHANGED_H
#define BOW_DIFF_CHANGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bowimg.h"

struct bow_changed_range {
	uint64_t start, end; /* blocks of the file system */
	uint64_t rank;	     /* changed blocks before this range */
};

struct bow_changed {
	uint64_t off, bytes; /* the file system's window on the disk */
	uint32_t block_size; /* of the file system, in bytes */
	struct bow_changed_range *v;
	size_t n, room;
	struct bow_changed_range *was_free; /* blocks that were free as a whole */
	size_t n_free, room_free;
	uint64_t blocks, open; /* changed blocks, and how many of them are not settled */
	uint64_t *settled;     /* a bit per changed block; after bow_changed_finish() */
};

/* Add a change of the disk, in ascending order; parts outside the window are left out. -ENOMEM */
int bow_changed_add(struct bow_changed *c, const struct bowimg_change *change);
int bow_changed_finish(struct bow_changed *c);
void bow_changed_release(struct bow_changed *c);

/* The first changed run in [from, end): sets *start and returns its length, or 0. */
uint64_t bow_changed_next(const struct bow_changed *c, uint64_t from, uint64_t end,
			  uint64_t *start);
/* The same for blocks that are changed and not settled. */
uint64_t bow_changed_next_open(const struct bow_changed *c, uint64_t from, uint64_t end,
			       uint64_t *start);
/* Settle the changed blocks of [start, end). Returns true if one of them was open. */
bool bow_changed_settle(struct bow_changed *c, uint64_t start, uint64_t end);

#endif
