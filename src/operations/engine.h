/* SPDX-License-Identifier: MIT */
/*
 * The serving engine's inside. See engine.c for the invariants and the life of a request.
 */
#ifndef BOW_OPERATIONS_ENGINE_H
#define BOW_OPERATIONS_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include "operations/internal.h"

#define BOW_OP_BLK 256u	    /* most blocks of one write: 1 MiB */
#define BOW_OP_ENTRIES 512u /* one per block at worst, block 0's copy, and backups ahead */
#define BOW_OPS 32u	    /* requests that may be preparing blocks at the same time */
#define BOW_STREAMS 8u	    /* sequential writers remembered, for taking blocks ahead */
#define BOW_PROMISES 1024u  /* zero promises waiting to be logged */

/* Entries on their way into the log, in the leader's queue. */
struct bow_ticket {
	struct bow_ticket *next;
	const struct bow_entry *entries;
	uint32_t n;
	bool done;
	int result;
	struct bowimg_error err;
};

/* A request that changes block states, from the moment it locks its blocks. */
struct bow_op {
	bool active;
	uint64_t first, count;	     /* locked blocks: the request's, and around them those ahead */
	uint64_t core, core_count;   /* the request's own */
	uint64_t taken, taken_count; /* its own, and FREE ones around that its TAKE includes */
	bool block0;		     /* holds block 0, too: writes it, or moves its live copy */
	bool to_tail;		     /* its backups go to the tail */
	uint64_t old_live0;	   /* where block 0's live copy was, if this op moved it; else 0 */
	uint64_t dests_left;	   /* blocks still promised to it */
	uint64_t units;		   /* of room in the log, promised to it */
	struct bow_run *dests;	   /* blocks it was given; guarded by img->lock */
	struct bow_entry *entries; /* room for BOW_OP_ENTRIES, as in dests */
	uint32_t n_dests, n;
	uint8_t *buf; /* BOW_COPY_MAX_BLK blocks */
};

struct bow_stream {
	uint64_t next_blk, window_blk;
};

struct bowimg {
	struct bow_dev *dev;
	struct bowimg_open_options opts;
	uint64_t size;

	/*
	 * `lock` guards everything down to the leader's part, and is never held over I/O. `changed`
	 * is signalled when an op ends, a ticket is done, the leader steps down, the tail has
	 * grown.
	 */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct bow_blocks blocks;
	struct bow_alloc alloc;
	uint64_t live0_blk;
	struct bow_op ops[BOW_OPS];
	unsigned active_ops;
	struct bow_stream streams[BOW_STREAMS];
	unsigned next_stream;
	struct bow_bitmap *ahead; /* prepared for later, and not written yet */
	uint64_t dests_promised, tail_promised, units_promised; /* sums over the ops */
	uint64_t lifts;			/* blocks in lift and lift_ready: an entry each at worst */
	struct bow_bitmap *lift_ready;	/* lifts whose data is past a barrier */
	uint64_t moves;			/* raised when a read in flight may have to look again */
	bool growing, lifting, leading; /* one thread each */
	int failed;			/* -errno of what was latched: no more writes */
	unsigned warned;		/* percent of the free space whose use was announced */
	struct bow_ticket *queue, **queue_end;
	struct bow_entry promises[BOW_PROMISES];
	uint32_t n_promises, led_promises; /* waiting, and being logged */
	uint64_t backup_blk, changed_blk, log_blk, moved_blk;

	/* The before view's: changed by one thread, which is `extending`, with this lock. */
	bool extending; /* guarded by `lock` */
	pthread_rwlock_t origins_lock;
	struct bow_origins origins;

	/* The leader's: the log and the superblock. */
	struct bow_super sb;
	struct bow_log log;
	struct bow_entry *batch; /* BOW_RECORD_MAX_ENTRIES */
	struct bow_entry led[BOW_PROMISES];
	atomic_uint_fast64_t barriers;
};

/* ---- engine_op.c: slots, block locks, space -------------------------------------------------- */

/*
 * Wait for a slot and for everybody who holds a block of [first, first + count) or has backups on
 * their way into it (rule 1); then hold these blocks. img->lock is held on return, also on error.
 * Returns NULL after a failed barrier.
 */
struct bow_op *bow_op_begin(struct bowimg *img, uint64_t first, uint64_t count,
			    struct bowimg_error *err);
/* Release blocks, promises and slot, with img->lock held; bow_op_end() releases that, too. */
void bow_op_let_go(struct bowimg *img, struct bow_op *op);
void bow_op_end(struct bowimg *img, struct bow_op *op);
/* With img->lock held: does a request in flight hold any block of the range? */
bool bow_op_overlaps(const struct bowimg *img, uint64_t first, uint64_t count);
/* With img->lock held: how many blocks of the range, from the first on, nobody holds. */
uint64_t bow_op_clear_of(const struct bowimg *img, uint64_t first, uint64_t count);
/*
 * The same for blocks that are SAVED or LIVE: of those that an op holds besides its own it changes
 * none, unless it took them itself.
 */
bool bow_op_delays(const struct bowimg *img, uint64_t first, uint64_t count);

/*
 * With img->lock held: promise the op `dests` blocks for backups and log space for `entries`
 * entries now and `lifts` later. May drop and retake the lock to grow the file. -ENOSPC, -EIO.
 */
int bow_op_reserve(struct bowimg *img, struct bow_op *op, uint64_t dests, uint64_t entries,
		   uint64_t lifts, struct bowimg_error *err);
/* With img->lock held: at most `most` of the promised blocks, as one run; 0 only without memory. */
uint64_t bow_op_dest(struct bowimg *img, struct bow_op *op, uint64_t most, uint64_t *start);

/* Latch an error: no more writes. Takes the lock itself. Returns rc. */
int bow_engine_fail(struct bowimg *img, int rc);
/* -EIO with a message, if an error is latched. With img->lock held. */
int bow_engine_failed(struct bowimg *img, struct bowimg_error *err);

/* ---- engine_log.c: the leader, batches, segments, block 0's copy ------------------------------
 */

/*
 * Log n entries together with whatever else is waiting, and pass a barrier (with n = 0: log what is
 * waiting, pass a barrier). Returns when all of it is durable.
 */
int bow_engine_log(struct bowimg *img, const struct bow_entry *entries, uint32_t n,
		   struct bowimg_error *err);
/* Queue a zero promise; with img->lock held. False when the queue is full. */
bool bow_engine_promise(struct bowimg *img, uint64_t start, uint64_t n);
/* The op holds block 0 and the block its live copy is in: move that copy away. */
int bow_engine_move_live0(struct bowimg *img, struct bow_op *op, struct bowimg_error *err);
/* Where the op holds a block of the newest log segment: go on in a new one. */
int bow_engine_leave_segment(struct bowimg *img, const struct bow_op *op, struct bowimg_error *err);
/* One barrier (nothing with durability=process). A failed one is latched. */
int bow_engine_barrier(struct bowimg *img, struct bowimg_error *err);
/* With img->lock held: make the tail `need` blocks longer than it is used. Drops the lock. */
int bow_engine_grow(struct bowimg *img, uint64_t need, struct bowimg_error *err);
/* Become, and cease to be, the leader. Takes the lock itself. */
void bow_engine_lead(struct bowimg *img);
void bow_engine_step_down(struct bowimg *img);

/* ---- engine_backup.c --------------------------------------------------------------------------
 */

/* Back up or move the op's own blocks, where their state asks for it; adds entries to the op. */
int bow_op_back_up(struct bowimg *img, struct bow_op *op, struct bowimg_error *err);
/* Then the originals around them. The op lets go of those that were not reached. */
int bow_op_back_up_ahead(struct bowimg *img, struct bow_op *op, struct bowimg_error *err);

/* ---- engine_ahead.c: preparing more than was asked for --------------------------------------- */

/*
 * With img->lock held, after the op's own blocks were planned: widen what it holds. Returns how
 * many more backups that may need; their leaves are reserved.
 */
uint64_t bow_op_widen(struct bowimg *img, struct bow_op *op);

/* ---- engine_write.c
 * ------------------------------------------------------------------------------ */

/* A write inside at most BOW_OP_BLK blocks, some of which need preparation. */
int bow_write_prepared(struct bowimg *img, const void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err);
/* Mark a run of FREE blocks as the file system's, with its entry; img->lock is held. */
void bow_op_take(struct bowimg *img, struct bow_op *op, uint64_t start, uint64_t n);

#endif
