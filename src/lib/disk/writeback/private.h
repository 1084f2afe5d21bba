/* SPDX-License-Identifier: MIT */
/* Between the cache's calls, its blocks, and who writes them. */
#ifndef BOW_DISK_WRITEBACK_PRIVATE_H
#define BOW_DISK_WRITEBACK_PRIVATE_H

#include <pthread.h>
#include <time.h>

#include "lib/base/crew.h"
#include "lib/disk/disk.h"
#include "lib/disk/writeback/writeback.h"

#define BOW_WRITEBACK_BLK 4096u
#define BOW_WRITEBACK_RUN 64u	 /* blocks that are written as one request at most */
#define BOW_WRITEBACK_MANY 2048u /* ... by one call for many */
/* Bytes that a block may take below: itself, its backup, another one that gives way, the log. */
#define BOW_WRITEBACK_COST (4ull * BOW_WRITEBACK_BLK)

enum bow_dirty_state {
	BOW_CLEAN,   /* names no block */
	BOW_FILLING, /* what a part of it does not overwrite is being read */
	BOW_DIRTY,
	BOW_WRITING, /* it does not change until it is written */
	BOW_LOST,    /* it could not be written; for the next process */
};

/* A place in the cache, for one block. */
struct bow_dirty {
	uint64_t blk;
	uint32_t next; /* in its bucket, or among the clean ones; of this process alone */
	enum bow_dirty_state state;
};

/* A write into a block that is dirty. */
struct bow_redo {
	uint32_t valid, place, off, bytes;
	uint8_t data[BOW_WRITEBACK_BLK];
};

/* store.c: as the memory begins; the content of the blocks is behind it. */
struct bow_store {
	uint64_t magic;
	uint64_t attach, size; /* whose it is; bytes of the disk */
	struct bow_redo redo;
	struct bow_dirty list[];
};

/* dirty.c: the blocks in memory, found by their numbers. */
struct bow_dirty_set {
	struct bow_store *store;
	struct bow_dirty *list; /* the store's */
	uint8_t *data;		/* BOW_WRITEBACK_BLK for each */
	uint32_t *bucket;
	uint32_t n, buckets, clean; /* clean: the first one, or n */
	uint32_t used;		    /* blocks that are there */
};

/*
 * Memory for set->n blocks of a disk of `size` bytes, with what a killed process left, all of it
 * DIRTY. *lost: some of that cannot be of this disk, or the file is of another attach.
 */
int bow_dirty_init(struct bow_dirty_set *set, const struct bow_writeback_options *opts,
		   uint64_t size, bool *lost);
void bow_dirty_release(struct bow_dirty_set *set);
struct bow_dirty *bow_dirty_find(const struct bow_dirty_set *set, uint64_t blk);
/* FILLING; the block is not there yet. Returns NULL if none is clean. */
struct bow_dirty *bow_dirty_add(struct bow_dirty_set *set, uint64_t blk);
void bow_dirty_remove(struct bow_dirty_set *set, struct bow_dirty *d);
/* The same, for a block that could not be written: only the next process uses its place. */
void bow_dirty_lose(struct bow_dirty_set *set, struct bow_dirty *d);
uint8_t *bow_dirty_data(const struct bow_dirty_set *set, const struct bow_dirty *d);
/* Is one of the blocks [first, end) there? */
bool bow_dirty_any(const struct bow_dirty_set *set, uint64_t first, uint64_t end);

/* store.c: the changes that a kill may interrupt. */
int bow_store_open(struct bow_dirty_set *set, const struct bow_writeback_options *opts,
		   uint64_t size, bool *lost);
void bow_store_release(struct bow_dirty_set *set);
bool bow_store_owes(const struct bow_dirty *d);
void bow_store_begin(struct bow_dirty *d, uint64_t blk);
void bow_store_answer(struct bow_dirty *d);
void bow_store_end(struct bow_dirty *d, enum bow_dirty_state state);
/* Write into a block that is DIRTY. */
void bow_store_change(struct bow_dirty_set *set, const struct bow_dirty *d, const void *buf,
		      uint32_t bytes, uint32_t off);

/* A request that goes to the disk below by itself, because it is large or writes no data. */
struct bow_passing {
	struct bow_passing *next;
	uint64_t first, end; /* blocks */
	uint64_t cost;	     /* bytes that it may take below */
};

struct bow_writeback {
	struct bowimg_disk disk; /* must be first */
	struct bowimg_disk *below;

	/*
	 * `lock` guards all that changes, and is never held over I/O. `changed`: a block is clean
	 * or filled, a request has passed, or a round is done. `wanted`: the writer has to look.
	 */
	pthread_mutex_t lock;
	pthread_cond_t changed, wanted;
	struct bow_dirty_set set;
	uint32_t dirty;	  /* blocks in that state */
	uint64_t cleaned; /* raised when a block has been written */
	struct bow_passing *passing;
	uint64_t begun, done; /* rounds of the writer */
	unsigned urgent;      /* who waits for one */
	bool over, writing;   /* a round is under way */
	uint64_t room, spent; /* room.c's: bytes */
	bool asking;
	bool lost;	     /* a killed process left what this one could not take over */
	struct timespec due; /* when the oldest dirty block is to be written */
	int failed;	     /* -errno of the first write that failed later */
	struct bowimg_error failure;

	/* writer.c's */
	pthread_t writer;
	struct bow_crew *crew;
	struct bow_dirty **order; /* the blocks of a round */
	uint32_t round_n, round_next;
	uint8_t *runs; /* BOW_WRITEBACK_RUN blocks for each of the crew, or BOW_WRITEBACK_MANY */
	struct bow_write *writes; /* BOW_WRITEBACK_MANY */
};

/* writer.c: starts the thread that writes, and ends it when nothing is dirty. -ENOMEM, -EAGAIN. */
int bow_writeback_start(struct bow_writeback *w);
void bow_writeback_stop(struct bow_writeback *w);
/* With the lock held: a block became dirty. */
void bow_writeback_note_dirty(struct bow_writeback *w);
/* With the lock held: wait for a change, and have the writer begin at once. */
void bow_writeback_wait(struct bow_writeback *w);
/* With the lock held: wait until all that is dirty now is written. */
void bow_writeback_settle(struct bow_writeback *w);
/* With the lock held: the writer has lost something. */
int bow_writeback_failed(const struct bow_writeback *w, struct bowimg_error *err);

/* round.c: how many blocks from number `at` of the round on lie side by side. */
uint32_t bow_writeback_run_at(const struct bow_writeback *w, uint32_t at);
/* The content of blocks that lie side by side, where it is or copied into buf. */
const uint8_t *bow_writeback_content(const struct bow_writeback *w, struct bow_dirty **run,
				     uint32_t n, uint8_t *buf);
/* Blocks of the round are written, or could not be. */
void bow_writeback_clean(struct bow_writeback *w, struct bow_dirty **run, uint32_t n, int rc,
			 const struct bowimg_error *err);

/* together.c: write the blocks of the round; those that are left are its blocks then. */
void bow_writeback_write_together(struct bow_writeback *w);

/* passing.c: nobody writes into a block of it meanwhile. `is_passed` with the lock held. */
enum bow_passing_kind { BOW_PASSING_READS, BOW_PASSING_WRITES, BOW_PASSING_ZEROS };
int bow_writeback_begin_passing(struct bow_writeback *w, struct bow_passing *p, uint64_t off,
				uint64_t bytes, enum bow_passing_kind kind,
				struct bowimg_error *err);
void bow_writeback_end_passing(struct bow_writeback *w, const struct bow_passing *p);
bool bow_writeback_is_passed(const struct bow_writeback *w, uint64_t blk);

/* room.c */
bool bow_writeback_has_room(const struct bow_writeback *w, uint64_t bytes);
void bow_writeback_ask_room(struct bow_writeback *w);

#endif
