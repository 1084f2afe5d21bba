/* SPDX-License-Identifier: MIT */
/*
 * The state of every block of the image while a checkpoint is open, as bitmaps:
 *
 *	            free clear (used block)     free set (free block)
 *	  taken     SAVED                       LIVE
 *	  held      never                       HELD
 *	  neither   ORIGINAL                    FREE
 *
 * `zero` is the promise Z: the guest reads zeros, whatever the image holds. `lift` marks blocks
 * whose promise is over in memory (a whole-block write followed), but not yet in the log.
 * Locking is the caller's.
 */
#ifndef BOW_MAPS_BLOCKS_H
#define BOW_MAPS_BLOCKS_H

#include "maps/bitmap.h"

enum bow_block_state { BOW_ORIGINAL, BOW_SAVED, BOW_FREE, BOW_LIVE, BOW_HELD };

struct bow_blocks {
	uint64_t count; /* blocks of the image, a partial last one included */
	struct bow_bitmap *free, *taken, *held, *zero, *lift;
};

int bow_blocks_init(struct bow_blocks *b, uint64_t count); /* -ENOMEM; then nothing is held */
void bow_blocks_release(struct bow_blocks *b);

/* Make later changes to [start, start + n) unable to fail. -ENOMEM. */
int bow_blocks_reserve(struct bow_blocks *b, uint64_t start, uint64_t n);

enum bow_block_state bow_blocks_state(const struct bow_blocks *b, uint64_t blk);

/* How many blocks from start on (at most n) share the first one's state and promise. */
uint64_t bow_blocks_run(const struct bow_blocks *b, uint64_t start, uint64_t n,
			enum bow_block_state *state, bool *zero);

/* True if all are SAVED or LIVE without a promise: a write needs no preparation. */
bool bow_blocks_settled(const struct bow_blocks *b, uint64_t start, uint64_t n);

/* First run of FREE blocks at or after *start and below end, at most `most` long; false if none. */
bool bow_blocks_next_free(const struct bow_blocks *b, uint64_t *start, uint64_t *n, uint64_t end,
			  uint64_t most);

#endif
