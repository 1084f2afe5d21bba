/* SPDX-License-Identifier: MIT */
/* Between the cache's calls, its blocks, and who writes them. */
#ifndef BOW_DISK_WRITEBACK_PRIVATE_H
#define BOW_DISK_WRITEBACK_PRIVATE_H

#include <pthread.h>
#include <time.h>

#include "lib/base/crew.h"
#include "lib/disk/disk.h"

#define BOW_WRITEBACK_BLK 4096u
#define BOW_WRITEBACK_RUN 64u /* blocks that are written as one request at most */

enum bow_dirty_state {
	BOW_CLEAN,   /* names no block */
	BOW_FILLING, /* what a part of it does not overwrite is being read */
	BOW_DIRTY,
	BOW_WRITING, /* it does not change until it is written */
};

struct bow_dirty {
	uint64_t blk;
	uint32_t next; /* in its bucket, or among the clean ones */
	enum bow_dirty_state state;
};

/* dirty.c: the blocks in memory, found by their numbers. */
struct bow_dirty_set {
	struct bow_dirty *list;
	uint8_t *data; /* BOW_WRITEBACK_BLK for each */
	uint32_t *bucket;
	uint32_t n, buckets, clean; /* clean: the first one, or n */
};

int bow_dirty_init(struct bow_dirty_set *set, uint32_t n); /* -ENOMEM */
void bow_dirty_release(struct bow_dirty_set *set);
struct bow_dirty *bow_dirty_find(const struct bow_dirty_set *set, uint64_t blk);
/* The block is not there yet. Returns NULL if none is clean. */
struct bow_dirty *bow_dirty_add(struct bow_dirty_set *set, uint64_t blk,
				enum bow_dirty_state state);
void bow_dirty_remove(struct bow_dirty_set *set, struct bow_dirty *d);
uint8_t *bow_dirty_data(const struct bow_dirty_set *set, const struct bow_dirty *d);
/* Is one of the blocks [first, end) there? */
bool bow_dirty_any(const struct bow_dirty_set *set, uint64_t first, uint64_t end);

/* A request that goes to the disk below by itself, because it is large or writes no data. */
struct bow_passing {
	struct bow_passing *next;
	uint64_t first, end; /* blocks */
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
	bool over;
	struct timespec due; /* when the oldest dirty block is to be written */
	int failed;	     /* -errno of the first write that failed later */
	struct bowimg_error failure;

	/* writer.c's */
	pthread_t writer;
	struct bow_crew *crew;
	struct bow_dirty **order; /* the blocks of a round */
	uint32_t round_n, round_next;
	uint8_t *runs; /* BOW_WRITEBACK_RUN blocks for each of the crew */
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

#endif
