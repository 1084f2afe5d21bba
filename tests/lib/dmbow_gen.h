/* SPDX-License-Identifier: MIT */
/*
 * A disk with a checkpoint as the kernel's dm-bow makes it, from the description in
 * bowimg-format(5): a model of the target, with a file system on it that writes at random. Its
 * bytes are made here and not by the code under test.
 */
#ifndef TESTS_DMBOW_GEN_H
#define TESTS_DMBOW_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "rng.h"

#define DMBOW_MAX_BLOCKS 1024u
#define DMBOW_MAX_BYTES (1u << 20) /* of a disk */

enum dmbow_type {
	DMBOW_UNCHANGED, /* in use at the checkpoint, and still as it was */
	DMBOW_CHANGED,	 /* the file system's; what was to be saved is saved */
	DMBOW_FREE,
	DMBOW_BACKUP, /* of a block, a log block, block 0 */
	DMBOW_LIVE0,  /* block 0 as the file system sees it */
	DMBOW_INVALID /* its backup was made, but there was no space to log it */
};

struct dmbow {
	uint32_t block_size, blocks;
	uint8_t *disk;		     /* blocks * block_size bytes, as they are on the disk */
	uint8_t *original;	     /* the same when the checkpoint began */
	uint8_t *live;		     /* block 0 as the file system has it */
	bool used[DMBOW_MAX_BLOCKS]; /* not trimmed when the checkpoint began */
	uint8_t type[DMBOW_MAX_BLOCKS];
	uint8_t log[4096]; /* the log block in memory: block 0 with its next write */
	uint32_t live_blk, log_blocks, entries, moves, live_moves, refused;
	/* The last log write: what it changed, before and after, for power cuts in it. */
	uint8_t log_before[4096];
	uint8_t *disk_before; /* the whole disk before that log write and all that followed */
	struct rng rng;
	uint64_t token;
};

/* Make the disk number `seed`, with everything random, block size included. */
void dmbow_make(struct dmbow *g, uint64_t seed);
/* Allocate for the largest; abort without memory. */
void dmbow_init(struct dmbow *g);
void dmbow_release(struct dmbow *g);

/*
 * The power fails in the newest log write: of its sectors only some reach the disk, and of what the
 * file system wrote after it nothing. False if there is none that can be cut.
 */
bool dmbow_tear(struct dmbow *g);

/*
 * The original tool's restore (dmbow_vold.c), stopped after so many entries by a power cut, which
 * keeps some of what was not flushed. Lazy: it flushes only where it must. True: it got to the end.
 */
bool dmbow_restore(struct dmbow *g, uint32_t stop_after, bool lazy);

/* Compare what was used with another disk's bytes; -1: all the same, else the block. */
int dmbow_compare(const struct dmbow *g, const uint8_t *disk);

#endif
