/* SPDX-License-Identifier: MIT */
/*
 * Reading the log that the kernel's dm-bow left on a disk: its newest end (newest.c), and the chain
 * of log blocks from the newest to the oldest (chain.c). Nothing here writes. All places and counts
 * are in dm-bow's blocks, whose size the header gives.
 */
#ifndef BOW_DMBOW_LOG_H
#define BOW_DMBOW_LOG_H

#include "lib/disk/disk.h"
#include "lib/dmbow/format.h"
#include "lib/blocks/bitmap.h"
#include "lib/blocks/rangemap.h"

#define BOW_DMBOW_PIECE (1u << 20) /* bytes read at a time; a multiple of every block size */

struct bow_dmbow {
	struct bowimg_disk *dev;
	uint64_t image_blk;	      /* whole blocks on the disk */
	uint8_t *buf;		      /* BOW_DMBOW_PIECE bytes, to read data into */
	uint8_t *newest;	      /* block 0 */
	struct bow_dmbow_header head; /* its header; count leaves out a torn entry */
	bool torn;		      /* the newest entry did not reach the disk, and is left out */
	uint32_t miscounted; /* the true number of entries, if the header counts fewer; or 0 */
	uint64_t live0_blk;  /* place of block 0's live content by the header; 0: none */
	bool skip;	     /* set by the caller: count what is wrong, and go on */

	/* During a walk: as of the entry being visited. */
	struct bow_rangemap *cur; /* where the content of blocks is now (rule 7) */
	struct bow_bitmap *dests; /* destinations of the entries visited so far */
	uint8_t *block;		  /* the log block */
	uint64_t log_blk;	  /* where it is */
	uint32_t sequence, count; /* as its header says */
	bool is_live;		  /* the entry is no backup, but moves block 0's live content */
	uint64_t live_blk;	  /* the place of that content then */

	/* After a walk; cur is then what a rollback must copy. */
	uint64_t log_blocks, entries, entry_blk;
	uint64_t skipped;	/* entries that were wrong (only with skip) */
	uint64_t original0_blk; /* block 0's content at the checkpoint is here; 0: not found */
};

/*
 * Read block 0 and judge the newest entry. Release d with bow_dmbow_release(), also after an error.
 * -ENODATA: it is not a log of dm-bow; -EUCLEAN, -EOPNOTSUPP.
 */
int bow_dmbow_open(struct bow_dmbow *d, struct bowimg_disk *dev, struct bowimg_error *err);
void bow_dmbow_release(struct bow_dmbow *d);

/* Report an impossible header; returns -EUCLEAN. */
int bow_dmbow_bad_header(struct bowimg_error *err);

struct bow_dmbow_visitor {
	/* A return value other than 0 ends the walk. d->cur is as of when the entry was written. */
	int (*entry)(void *ctx, struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint32_t i,
		     struct bowimg_error *err);
	void *ctx;
};

/*
 * Visit the whole log, newest entry first. Each log block but the newest is checked against the
 * checksum in the entry that names it. -EUCLEAN, -EBADMSG: damaged. With d->skip a damaged entry is
 * left out instead, and a damaged log block ends the walk. v may be NULL.
 */
int bow_dmbow_walk(struct bow_dmbow *d, const struct bow_dmbow_visitor *v,
		   struct bowimg_error *err);

/* In a walk: where is the content of blk now? Returns how many of n blocks lie there in one run. */
uint64_t bow_dmbow_locate(const struct bow_dmbow *d, uint64_t blk, uint64_t n, uint64_t *now);

/*
 * The checksum of n blocks at blk in an entry whose source is `seed`. If `moved`, the blocks are
 * read from where they are now, as of the entry being visited.
 */
int bow_dmbow_sum(struct bow_dmbow *d, uint64_t blk, uint64_t n, uint64_t seed, bool moved,
		  uint32_t *sum, struct bowimg_error *err);

#endif
