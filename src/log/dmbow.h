/* SPDX-License-Identifier: MIT */
/*
 * Reading the log that the kernel's dm-bow left on a disk: what can be said of its newest end
 * (dmbow_newest.c), and the chain of log blocks from the newest to the oldest (dmbow_chain.c).
 * Nothing here writes. All places and counts are in dm-bow's blocks, whose size the header gives.
 */
#ifndef BOW_LOG_DMBOW_H
#define BOW_LOG_DMBOW_H

#include "device/device.h"
#include "format/dmbow_format.h"
#include "maps/bitmap.h"
#include "maps/rangemap.h"

#define BOW_DMBOW_PIECE (1u << 20) /* bytes read at a time; a multiple of every block size */

struct bow_dmbow {
	struct bow_dev *dev;
	uint64_t image_blk;	      /* whole blocks on the disk */
	uint8_t *buf;		      /* BOW_DMBOW_PIECE bytes, for who reads data */
	uint8_t *newest;	      /* block 0 */
	struct bow_dmbow_header head; /* its header; count leaves out a torn entry */
	bool torn;	     /* the newest entry had not reached the disk, and is left out */
	uint32_t miscounted; /* there are so many entries, more than the header counts; or 0 */
	uint64_t live0_blk;  /* where block 0's live content should be; 0: nowhere */
	bool skip;	     /* the caller's: go on past what is wrong, and count it */

	/* During a walk: as of the entry being visited. */
	struct bow_rangemap *cur; /* where overwritten and moved blocks are now (rule 7) */
	struct bow_bitmap *dests; /* blocks that an entry visited so far put something at */
	uint8_t *block;		  /* the log block */
	uint64_t log_blk;	  /* where it is */
	uint32_t sequence, count; /* as its header says */
	bool is_live;		  /* the entry is no backup: block 0's live content moved on */
	uint64_t live_blk;	  /* where that was then */

	/* After a walk; cur is then what a rollback must copy. */
	uint64_t log_blocks, entries, entry_blk;
	uint64_t skipped;	/* entries that were wrong (only with skip) */
	uint64_t original0_blk; /* block 0's content at the checkpoint is here; 0: not found */
};

/*
 * Read block 0 and look at the newest entry. Release d with bow_dmbow_release(), also after an
 * error. -ENODATA: it is no log of dm-bow; -EUCLEAN, -EOPNOTSUPP.
 */
int bow_dmbow_open(struct bow_dmbow *d, struct bow_dev *dev, struct bowimg_error *err);
void bow_dmbow_release(struct bow_dmbow *d);

/* The error for a header that is impossible; returns -EUCLEAN. */
int bow_dmbow_bad_header(struct bowimg_error *err);

struct bow_dmbow_visitor {
	/* Not 0 ends the walk. d->cur is as it was when the entry was written. */
	int (*entry)(void *ctx, struct bow_dmbow *d, const struct bow_dmbow_entry *e, uint32_t i,
		     struct bowimg_error *err);
	void *ctx;
};

/*
 * The whole log, newest entry first. Each log block but the newest is checked against the checksum
 * that names it. -EUCLEAN, -EBADMSG: damaged; with d->skip this does not happen: a wrong entry is
 * left out, and at a wrong log block the walk ends. v may be NULL.
 */
int bow_dmbow_walk(struct bow_dmbow *d, const struct bow_dmbow_visitor *v,
		   struct bowimg_error *err);

/* Where the content of blk is now, in a walk; returns how many blocks of n lie there in one run. */
uint64_t bow_dmbow_locate(const struct bow_dmbow *d, uint64_t blk, uint64_t n, uint64_t *now);

/*
 * The checksum of n blocks at blk, as of the entry being visited, in an entry whose source is
 * `seed`. What a walk moved is followed if `moved`.
 */
int bow_dmbow_sum(struct bow_dmbow *d, uint64_t blk, uint64_t n, uint64_t seed, bool moved,
		  uint32_t *sum, struct bowimg_error *err);

#endif
