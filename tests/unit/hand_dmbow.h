/* SPDX-License-Identifier: MIT */
/* dm-bow's log written by hand, entry by entry, on a disk in memory. */
#ifndef TESTS_HAND_DMBOW_H
#define TESTS_HAND_DMBOW_H

#include "lib/dmbow/format.h"
#include "mem_dev.h"

struct hand_dmbow {
	struct bowimg_disk *dev;
	struct bow_dmbow_header head; /* as in memory: sector0 is one write ahead of the disk */
	uint32_t blocks;
	struct bowimg_error err;
};

/* Content of its own in every block; block 0's live content and its backup in blocks 40 and 41. */
#define HAND_LIVE 40u
#define HAND_BACKUP0 41u
void hand_dmbow_begin(struct hand_dmbow *h, uint32_t block_size, uint32_t blocks);
void hand_dmbow_release(struct hand_dmbow *h);

uint8_t *hand_dmbow_block(struct hand_dmbow *h, uint64_t blk);
uint32_t hand_dmbow_sum(struct hand_dmbow *h, uint64_t source, uint64_t at, uint64_t n);

/* An entry as it is, written to the log. */
void hand_dmbow_entry(struct hand_dmbow *h, uint64_t source, uint64_t dest, uint64_t n,
		      uint32_t sum);
/* Copy, and log it: of what the file system had, of a backup that moves. */
void hand_dmbow_save(struct hand_dmbow *h, uint64_t source, uint64_t dest, uint64_t n);
/* The file system writes on block 0's live content, which moves. */
void hand_dmbow_move_live(struct hand_dmbow *h, uint64_t dest);
/* The log block goes to dest, a new one begins. */
void hand_dmbow_next(struct hand_dmbow *h, uint64_t dest);
/* Overwrite with the file system's new content. */
void hand_dmbow_scribble(struct hand_dmbow *h, uint64_t blk, uint64_t n);
/* Is it what hand_dmbow_begin() made? */
bool hand_dmbow_is_original(struct hand_dmbow *h, uint64_t blk);

#endif
