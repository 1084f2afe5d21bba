/* SPDX-License-Identifier: MIT */
/*
 * A request that changes block states: it holds blocks, reserves space, has what is in the way
 * backed up, and collects the entries that the log must have before it writes.
 */
#ifndef BOW_ENGINE_REQUEST_H
#define BOW_ENGINE_REQUEST_H

#include "lib/checkpoint/checkpoint.h"

struct bow_engine;

#define BOW_REQUEST_BLK 256u	     /* most blocks of one write: 1 MiB */
#define BOW_REQUEST_ENTRIES 512u     /* one per block at worst, block 0's copy, and backups ahead */
#define BOW_CREW_ENTRIES 1280u	     /* the same where each of a crew adds some at the same time */
#define BOW_REQUESTS 32u	     /* requests that may be preparing blocks at the same time */
#define BOW_MANY_BLK 2048u	     /* most blocks of writes that are made together: 8 MiB */
#define BOW_SLOTS (BOW_REQUESTS + 1) /* the last one is for these */

/* A request that changes block states, from the moment it locks its blocks. */
struct bow_request {
	bool active;
	uint64_t first, count;	     /* locked blocks: the request's, and around them those ahead */
	uint64_t core, core_count;   /* the request's own */
	uint64_t taken, taken_count; /* its own, and FREE ones around that its TAKE includes */
	bool block0;		     /* holds block 0, too: writes it, or moves its live copy */
	bool to_tail;		     /* its backups go to the tail */
	bool give_first;	     /* rather than grow the tail or be refused */
	uint64_t old_live0;    /* where block 0's live copy was, if this request moved it; else 0 */
	uint64_t dests_left;   /* blocks still reserved for it */
	uint64_t units;	       /* of room in the log, reserved for it */
	struct bow_run *dests; /* blocks it was given; guarded by img->lock */
	struct bow_entry *entries;
	uint32_t n_dests, n, most; /* most: there is room for, in both */
	struct bow_run *held;	   /* NULL, or what it holds, in order; `count` is the sum then */
	uint32_t n_held;
	uint8_t *buf; /* BOW_COPY_MAX_BLK blocks */
};

/* ---- request.c: slots, block locks, space ---------------------------------------- */

/*
 * Wait for a slot, and until no other request holds a block of [first, first + count) or writes
 * backups into it (rule 1); then hold these blocks. img->lock is held on return, also on error.
 * Returns NULL after a failed barrier.
 */
struct bow_request *bow_request_begin(struct bow_engine *img, uint64_t first, uint64_t count,
				      struct bowimg_error *err);
/*
 * The same for a request that holds many runs of blocks, none so far. Only one is under way at a
 * time. As it holds some when it asks for more, it never waits for them.
 */
struct bow_request *bow_request_begin_many(struct bow_engine *img, struct bowimg_error *err);
/*
 * With img->lock held: hold one more run, behind the others. Returns false if something is in the
 * way: another request, the order, the sum of BOW_MANY_BLK; block 0 always is.
 */
bool bow_request_hold(struct bow_engine *img, struct bow_request *req, struct bow_run run);
/* With img->lock held: let go of the last one. */
void bow_request_unhold(struct bow_request *req);
/* Release blocks, space and slot; img->lock stays held. bow_request_end() drops that, too. */
void bow_request_let_go(struct bow_engine *img, struct bow_request *req);
void bow_request_end(struct bow_engine *img, struct bow_request *req);
/* With img->lock held: does a request in flight hold a block of the range? */
bool bow_request_overlaps(const struct bow_engine *img, uint64_t first, uint64_t count);
/* With img->lock held: returns how many blocks of the range, from the first on, are not held. */
uint64_t bow_request_clear_of(const struct bow_engine *img, uint64_t first, uint64_t count);
/* With img->lock held: returns how many blocks from blk on one request holds; 0 if none does. */
uint64_t bow_request_held_from(const struct bow_engine *img, uint64_t blk);
/* With img->lock held: cut [*from, *to) around blk, so that the request holds no block of it. */
void bow_request_next_to(const struct bow_request *req, uint64_t blk, uint64_t *from, uint64_t *to);
/*
 * With img->lock held: must a write to these SAVED or LIVE blocks wait for a request in flight?
 * Blocks that a request holds besides its own do not change, unless it took them itself.
 */
bool bow_request_delays(const struct bow_engine *img, uint64_t first, uint64_t count);

/*
 * With img->lock held: reserve `dests` blocks for the request's backups, and log space for
 * `entries` entries now and `zero_done` later. May drop and retake the lock to grow the file.
 * -ENOSPC, -EIO; BOW_GIVE_FIRST: neither, the caller lets go and makes room first.
 */
#define BOW_GIVE_FIRST (-EXFULL)
int bow_request_reserve(struct bow_engine *img, struct bow_request *req, uint64_t dests,
			uint64_t entries, uint64_t zero_done, struct bowimg_error *err);
/*
 * With img->lock held: reserve log space for at most `most` GIVE entries; returns for how many, at
 * least 1. One block is always kept for them (rule 14). Released by the second call.
 */
uint32_t bow_request_reserve_give(struct bow_engine *img, uint32_t most);
void bow_request_release_give(struct bow_engine *img);

/* ---- backup/ -------------------------------------------------------------------- */

/*
 * With img->lock held: get at most `most` of the reserved blocks, as one run; 0 if memory is out.
 */
uint64_t bow_request_dest(struct bow_engine *img, struct bow_request *req, uint64_t most,
			  uint64_t *start);
/* Are backups being written into the range whose entries may not be durable yet? */
bool bow_request_fills(const struct bow_request *req, uint64_t first, uint64_t count);

/* Back up or move the request's own blocks, where their state asks for it; adds its entries. */
int bow_request_back_up(struct bow_engine *img, struct bow_request *req, struct bowimg_error *err);
/*
 * Then back up the originals around them. The request lets go of those that were not reached, or
 * could not be saved.
 */
void bow_request_back_up_ahead(struct bow_engine *img, struct bow_request *req);
/* Back up the originals among all the runs that it holds; adds their entries. */
int bow_request_back_up_many(struct bow_engine *img, struct bow_request *req,
			     struct bowimg_error *err);
/* The request holds block 0 and the block of its live copy: move that copy away. */
int bow_engine_move_live0(struct bow_engine *img, struct bow_request *req,
			  struct bowimg_error *err);

/* ---- write.c --------------------------------------------------------------------- */

/* A write inside at most BOW_REQUEST_BLK blocks, some of which need preparation. */
int bow_write_prepared(struct bow_engine *img, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err);
/* With img->lock held: make a run of FREE blocks the file system's, and add its entry. */
void bow_request_take(struct bow_engine *img, struct bow_request *req, uint64_t start, uint64_t n);

/* What must be done before blocks of a request are written. */
struct bow_needs {
	uint64_t dests, zero_done;
	bool originals, held, live0;
};

/* With img->lock held: look at blocks that it holds, and take the FREE ones of them. */
void bow_request_count_needs(struct bow_engine *img, struct bow_request *req, struct bow_run core,
			     struct bow_needs *needs);
/*
 * With img->lock held: of the entries from number `from` on none is logged, and all are dropped.
 * What they took is FREE again.
 */
void bow_request_untake(struct bow_engine *img, struct bow_request *req, uint32_t from);
/* Write into blocks that it holds and that are prepared. */
int bow_request_write(struct bow_engine *img, const struct bow_request *req, const void *buf,
		      size_t bytes, uint64_t off, struct bowimg_error *err);
/*
 * With img->lock held: change the states of blocks that it holds, which are prepared, and `written`
 * if that did not fail. Leaves are reserved, so this cannot fail.
 */
void bow_request_settle(struct bow_engine *img, struct bow_run core, bool written);
/* With img->lock held: the same for what it has backed up. */
void bow_request_count_backups(struct bow_engine *img, const struct bow_request *req);

#endif
