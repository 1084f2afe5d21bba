/* SPDX-License-Identifier: MIT */
/*
 * The serving engine's inside. See engine.c for the invariants and the life of a request.
 */
#ifndef BOW_ENGINE_ENGINE_H
#define BOW_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include "lib/base/crew.h"
#include "lib/base/gate.h"
#include "lib/checkpoint/checkpoint.h"
#include "lib/engine/request.h"

#define BOW_STREAMS 8u		   /* sequential writers remembered, for taking blocks ahead */
#define BOW_ZERO_PENDING_MAX 1024u /* pending zeros waiting to be logged */

/* Entries on their way into the log, in the leader's queue. */
struct bow_ticket {
	struct bow_ticket *next;
	const struct bow_entry *entries;
	uint32_t n;
	struct bow_gate *gate; /* where its thread sleeps */
	atomic_bool done;      /* the leader touches it no more */
	int result;
	struct bowimg_error err;
};

/* How many tickets are, and were, in the queue: see leader/gather.c. Guarded by img->lock. */
struct bow_gather {
	pthread_cond_t complete; /* as many are queued as are expected */
	bool waiting;		 /* the leader */
	unsigned queued, served, expected;
	uint64_t began_ns, round_ns;
};

/* A request that reads or writes blocks without holding them: when it began (give.c). */
struct bow_flight {
	unsigned generation, empties;
};

struct bow_stream {
	uint64_t next_blk, window_blk;
};

struct bow_engine {
	struct bowimg_disk disk; /* what the guest sees; must be first */
	struct bowimg_disk *dev; /* the image */
	struct bowimg_open_options opts;

	/*
	 * `lock` guards everything down to the leader's part, and is never held over I/O. `changed`
	 * is signalled when a request ends, or the tail has grown; `stepped_down` when the leader
	 * steps down for one that wants to lead. Whoever waits for its entries sleeps at a gate of
	 * their round, and is woken by nothing else.
	 */
	pthread_mutex_t lock;
	pthread_cond_t changed, stepped_down;
	struct bow_blocks blocks;
	struct bow_alloc alloc;
	uint64_t live0_blk;
	struct bow_request requests[BOW_SLOTS];
	unsigned active_requests;
	struct bow_stream streams[BOW_STREAMS];
	unsigned next_stream;
	struct bow_bitmap *ahead; /* prepared for later, and not written yet */
	uint64_t ahead_saved;	  /* of them backed up; the others are taken */
	unsigned small_takes;	  /* requests for few FREE blocks, since backups asked for more */
	bool ahead_wide;	  /* after a crash, what was taken and not written is found again */
	bool ahead_shared;	  /* backups asked for what was taken */

	/* Giving blocks back: LIVE ones that are zeroed or discarded; those on their way. */
	struct bow_bitmap *emptied, *giving;
	bool give_running;		 /* one thread */
	uint64_t give_units;		 /* of room in the log, reserved for it */
	uint64_t gives;			 /* records that gave blocks back */
	uint64_t given_blk;		 /* by them */
	unsigned generation;		 /* in which requests in flight count themselves */
	atomic_uint flights[2], empties; /* empties: raised when `emptied` grows */
	atomic_bool awaited;		 /* someone waits for a generation to end */

	uint64_t dests_reserved, tail_reserved, units_reserved; /* sums over the requests */
	uint64_t n_zero_done;		    /* in both bitmaps: an entry each at worst */
	struct bow_bitmap *zero_done_ready; /* those whose data is past a barrier */
	uint64_t moves; /* raised when a read in flight may have to look again */
	bool growing, logging_zero_done, leading; /* one thread each */
	unsigned want_to_lead;			  /* threads in bow_engine_lead() */
	bool passed_on, passed_to_queue;	  /* one of them leads now, or one of the queue */
	int failed;				  /* -errno of what was latched: no more writes */
	/* Percent of the free space, and of what the host allows, whose use was announced. */
	unsigned warned, host_warned;
	uint64_t unasked_blk; /* prepared since the host was asked */
	struct bow_ticket *queue, **queue_end;
	struct bow_gate gates[2]; /* of the round that takes the queue, and of the one before */
	unsigned round;		  /* that takes the queue: even or odd */
	struct bow_gather gather;
	struct bow_entry zero_pending[BOW_ZERO_PENDING_MAX];
	uint32_t n_zero_pending, led_zero_pending; /* waiting, and being logged */
	uint64_t backup_blk, changed_blk, log_blk, moved_blk, segments;
	uint32_t epochs;	  /* marks in the log, and prepare; none is made meanwhile */
	struct bow_epoch *epoch;  /* which they are */
	struct bow_bitmap *free0; /* the free map of prepare, if there are marks */

	/* Of the before view: changed with this lock, by the one thread that is `extending`. */
	bool extending; /* guarded by `lock` */
	pthread_rwlock_t index_lock;
	struct bow_backup_index *backup_index; /* for each epoch; only the last one grows */
	uint64_t index_gives;		       /* img->gives that the index knows of */

	struct bow_crew *crew; /* that helps to back up; NULL: one request after the other */
	uint8_t *crew_buf[BOW_CREW_MAX - 1]; /* BOW_COPY_MAX_BLK blocks for each of them */

	struct bow_carry *carry; /* NULL: nothing is carried */
	bool carried, carrying;	 /* taken over from another process; being kept */

	/* The leader's: the log and the superblock. */
	struct bow_super sb;
	struct bow_log log;
	struct bow_entry *batch; /* BOW_RECORD_MAX_ENTRIES */
	struct bow_entry led[BOW_ZERO_PENDING_MAX];
	atomic_uint_fast64_t barriers;
};

/* ---- engine.c: the engine as a disk ---------------------------------------------- */

static inline struct bow_engine *bow_engine_of(struct bowimg_disk *disk)
{
	return (struct bow_engine *)disk;
}

/* ---- attach.c, flush.c ----------------------------------------------------------- */

/* Returns NULL if memory is out. */
struct bow_engine *bow_engine_new(struct bowimg_disk *dev, const struct bowimg_open_options *opts);
/* Take over the open checkpoint, however the last process ended, and mark it as in use. */
int bow_engine_attach(struct bow_engine *img, struct bow_checkpoint *cp, struct bowimg_error *err);
/* Flush, and note a clean end. */
int bow_engine_detach(struct bow_engine *img, struct bowimg_error *err);
/* Release everything but the device, writing nothing. */
void bow_engine_release(struct bow_engine *img);

/* A disk's calls, whose ranges are checked: see struct bow_disk_ops. */
int bow_engine_read(struct bow_engine *img, void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err);
int bow_engine_read_before(struct bow_engine *img, const struct bow_past *past, void *buf,
			   size_t bytes, uint64_t off, struct bowimg_error *err);
/* What the disk was at a mark, or at prepare (NULL). The caller releases *past. -ENODATA. */
int bow_engine_past(struct bow_engine *img, const char *mark, struct bow_past *past,
		    struct bowimg_error *err);
int bow_engine_write(struct bow_engine *img, const void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err);
int bow_engine_zero(struct bow_engine *img, uint64_t off, uint64_t bytes, struct bowimg_error *err);
int bow_engine_discard(struct bow_engine *img, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err);
int bow_engine_flush(struct bow_engine *img, struct bowimg_error *err);
/* Give back all that can be; returns how many blocks. The caller holds no blocks. */
uint64_t bow_engine_make_room(struct bow_engine *img);
int bow_engine_extent(struct bow_engine *img, uint64_t off, bool *zero, uint64_t *bytes,
		      struct bowimg_error *err);

/* ---- warn.c ---------------------------------------------------------------------- */

struct bow_warning {
	unsigned percent; /* of the free space is used; 0: that is said already */
	bool ask_host;
};
/* With img->lock held: what is to be said or asked, now that so many more blocks were prepared. */
struct bow_warning bow_warning_due(struct bow_engine *img, uint64_t prepared_blk);
/* With img->lock held: the same at a flush, where blocks that were prepared ahead are on the host.
 */
struct bow_warning bow_warning_at_flush(struct bow_engine *img);
/* Without the lock: say it. */
void bow_warn(struct bow_engine *img, struct bow_warning due);
/* With img->lock held: space came back, so warn again when it is used. */
void bow_warning_space_is_back(struct bow_engine *img);
/* Without the lock: how much is left. */
void bow_engine_budget(struct bow_engine *img, struct bowimg_budget *out);

/* ---- latch.c --------------------------------------------------------------------- */

/* Latch an error: no more writes. Takes the lock. Returns rc. */
int bow_engine_fail(struct bow_engine *img, int rc);
/* With img->lock held: -EIO with a message if an error is latched. */
int bow_engine_failed(struct bow_engine *img, struct bowimg_error *err);

/* ---- log.c: rounds of the log, segments, barriers -------------------------------- */

/* Only for the leader: log pending zeros and tickets in their order, and pass a barrier. */
int bow_engine_log_round(struct bow_engine *img, const struct bow_ticket *t,
			 struct bowimg_error *err);
/* Only for the leader, past the barriers of all records so far: go on in a new segment. Rule 5. */
int bow_engine_switch_segment(struct bow_engine *img, struct bowimg_error *err);
/* With img->lock held: queue a pending zero. Returns false if the queue is full. */
bool bow_engine_queue_zero_pending(struct bow_engine *img, uint64_t start, uint64_t n);
/* Pass one barrier (none with durability=process). A failed one is latched. */
int bow_engine_barrier(struct bow_engine *img, struct bowimg_error *err);
/* With img->lock held: make the tail `need` blocks longer than its used part. Drops the lock. */
int bow_engine_grow(struct bow_engine *img, uint64_t need, struct bowimg_error *err);
/* Write the superblock. Only for the leader, or before there are other threads. */
int bow_engine_write_super(struct bow_engine *img, struct bowimg_error *err);

/* ---- leader/leader.c ------------------------------------------------------------- */

/*
 * Log n entries together with all that wait, and pass a barrier; n may be 0. Returns when all of it
 * is durable.
 */
int bow_engine_log(struct bow_engine *img, const struct bow_entry *entries, uint32_t n,
		   struct bowimg_error *err);
/* If the request holds a block of the newest log segment, go on in a new segment. */
int bow_engine_leave_segment(struct bow_engine *img, const struct bow_request *req,
			     struct bowimg_error *err);
/* Become the leader; step down. Both take the lock. */
void bow_engine_lead(struct bow_engine *img);
void bow_engine_step_down(struct bow_engine *img);

/* ---- leader/gather.c: all with img->lock held -------------------------------------------- */

int bow_gather_init(struct bow_gather *g); /* -ENOMEM, -EAGAIN */
void bow_gather_release(struct bow_gather *g);
/* A ticket is queued. */
void bow_gather_join(struct bow_gather *g);
/* Before a round: wait for those that are expected, for a part of what a barrier takes. */
void bow_gather_wait(struct bow_gather *g, pthread_mutex_t *lock);
/* A round takes the queue; it ends. */
void bow_gather_begin(struct bow_gather *g);
void bow_gather_end(struct bow_gather *g);

/* ---- carry.c: what a process that is killed leaves to the next ------------------- */

/* Use opts.carry, if it is given, once the block states are loaded. */
int bow_carry_open(struct bow_engine *img, struct bowimg_error *err);
void bow_carry_close(struct bow_engine *img);
/* Which attach this is: the same number after a process that took over from a killed one. Or 0. */
uint64_t bow_carry_attach(struct bowimg_disk *served);
/* Before and after each write of the superblock. */
void bow_carry_announce_super(struct bow_engine *img);
void bow_carry_note_super(struct bow_engine *img);
/* With img->lock held: note zeros as pending, as logged by the leader, as done, as logged so. */
void bow_carry_zero_pending(struct bow_engine *img, uint64_t start, uint64_t n);
void bow_carry_zero_pending_logged(struct bow_engine *img);
void bow_carry_zero_done(struct bow_engine *img, uint64_t start, uint64_t n);
void bow_carry_zero_done_logged(struct bow_engine *img, uint64_t start, uint64_t n);

/* ---- give.c: blocks that the guest does not need any more ------------------------ */

/* With img->lock held: a read or write of blocks that it does not hold begins. */
struct bow_flight bow_flight_begin(struct bow_engine *img);
/* It ends. It may not wait for blocks in between. Both take the lock if somebody waits. */
void bow_flight_end(struct bow_engine *img, struct bow_flight f);
void bow_flight_end_write(struct bow_engine *img, struct bow_flight f, uint64_t start, uint64_t n);

/* With img->lock held: LIVE blocks, which a request holds, are about to be emptied. */
void bow_give_note_empty(struct bow_engine *img, uint64_t start, uint64_t n);
/* With img->lock held: the blocks are written, or stay as they were. */
void bow_give_note_filled(struct bow_engine *img, uint64_t start, uint64_t n);

enum bow_give_when {
	BOW_GIVE_AT_FLUSH,
	BOW_GIVE_SHARE,	    /* of what was taken ahead, what is more than its share */
	BOW_GIVE_ON_DEMAND, /* all of it, too */
	BOW_GIVE_AT_DETACH
};
/* Give back what is worth it; the caller holds no blocks. -ENOMEM, -ENOSPC, -EIO. */
int bow_give(struct bow_engine *img, enum bow_give_when when, uint64_t *given,
	     struct bowimg_error *err);

/* ---- ahead.c: preparing more than was asked for ---------------------------------- */

/*
 * With img->lock held, after the request's own blocks were planned: widen the range that it holds.
 * Returns how many more backups that may need; their leaves are reserved.
 */
uint64_t bow_request_widen(struct bow_engine *img, struct bow_request *req);

/* ---- share.c: how much of it there may be ---------------------------------------- */

#define BOW_WINDOW_BLK 4096u	   /* most that one request backs up ahead: 16 MiB */
#define BOW_WINDOW_FREE_BLK 16384u /* ... takes: 64 MiB; no copy, so only the blocks cost */

/* All with img->lock held. These blocks are prepared, and not written yet; memory is reserved. */
void bow_share_note(struct bow_engine *img, uint64_t start, uint64_t n);
/* They are written, or not prepared any more. */
void bow_share_forget(struct bow_engine *img, uint64_t start, uint64_t n);
/* Returns how many were taken and not written. */
uint64_t bow_share_taken(const struct bow_engine *img);
/* Returns how much more may be backed up, or taken, ahead. */
uint64_t bow_share_to_back_up(const struct bow_engine *img);
uint64_t bow_share_to_take(const struct bow_engine *img);
/* Is there enough to give back? */
bool bow_share_give_worth(const struct bow_engine *img, enum bow_give_when when);
/* Was so much taken that it should be given back before the next backup? */
bool bow_share_in_the_way(const struct bow_engine *img);
/* Backups asked for what was taken: from now on it is less. */
void bow_share_begin(struct bow_engine *img);
/* Returns the block from which on to give back then. */
uint64_t bow_share_give_from(const struct bow_engine *img);
/* Before there are other threads: how much may be taken, and what an earlier process took. */
void bow_share_open(struct bow_engine *img, bool was_clean);

/* ---- many.c ---------------------------------------------------------------------- */

/* Several writes at a time: see struct bow_disk_ops. */
void bow_engine_write_many(struct bow_engine *img, struct bow_write *writes, uint32_t n,
			   struct bowimg_error *err);

#endif
