/* SPDX-License-Identifier: MIT */
/*
 * The state of every block of the image while a checkpoint is open, as bitmaps:
 *
 *	            free clear (used block)     free set (free block)
 *	  taken     SAVED                       LIVE
 *	  held      never                       HELD
 *	  neither   ORIGINAL                    FREE
 *
 * `zero_pending` is Z: the guest reads zeros, whatever the image holds. `zero_done` marks blocks
 * whose Z is over in memory (a whole-block write followed), but not yet in the log.
 * Locking is the caller's.
 */
#ifndef BOW_BLOCKS_BLOCKS_H
#define BOW_BLOCKS_BLOCKS_H

#include "lib/blocks/bitmap.h"

enum bow_block_state { BOW_ORIGINAL, BOW_SAVED, BOW_FREE, BOW_LIVE, BOW_HELD };

struct bow_blocks {
	uint64_t count; /* blocks of the image, a partial last one included */
	struct bow_bitmap *free, *taken, *held, *zero_pending, *zero_done;
};

int bow_blocks_init(struct bow_blocks *b, uint64_t count); /* -ENOMEM; then nothing is held */
void bow_blocks_release(struct bow_blocks *b);

/* Get memory so that later changes to [start, start + n) cannot fail. -ENOMEM. */
int bow_blocks_reserve(struct bow_blocks *b, uint64_t start, uint64_t n);

enum bow_block_state bow_blocks_state(const struct bow_blocks *b, uint64_t blk);

/* Returns how many blocks from start on (at most n) have the first one's state and zero_pending. */
uint64_t bow_blocks_run(const struct bow_blocks *b, uint64_t start, uint64_t n,
			enum bow_block_state *state, bool *zero);

/* True if all are SAVED or LIVE without a pending zero: a write to them needs no preparation. */
bool bow_blocks_settled(const struct bow_blocks *b, uint64_t start, uint64_t n);

/* Finds the first run of FREE blocks in [*start, end), at most `most` long; false if none. */
bool bow_blocks_next_free(const struct bow_blocks *b, uint64_t *start, uint64_t *n, uint64_t end,
			  uint64_t most);

#endif
