/* SPDX-License-Identifier: MIT */
/*
 * A simulated disk: stable bytes, and over them a volatile cache that a barrier makes stable.
 *
 * Every write since the last barrier is remembered sector by sector, each version on its own, so
 * that a power cut may keep, drop or reorder them in any way a disk may. A change of size is such a
 * write too; but a file grown by a write has its new size only with the write's data, as on every
 * file system that orders the two. A killed process loses nothing that reached the cache. Nothing
 * is allocated on the hot path, and of a disk that is copied again and again only what has changed.
 */
#ifndef TESTS_SIM_DEV_H
#define TESTS_SIM_DEV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "lib/disk/disk.h"
#include "versions.h"

#define SIM_SECTOR 512u
#define SIM_BLOCK 4096u

/* One version of one sector, or a size, that is not stable yet. */
struct sim_pending {
	uint64_t off; /* bytes; of the sector, or the new size */
	uint32_t op;  /* which operation since the barrier it belongs to, from 0 */
	bool is_size;
	bool is_zero;  /* the sector's data are zeros, and not remembered */
	bool by_write; /* a size that a write brought about: not stable before all of its data */
};

enum sim_fault_kind {
	SIM_FAULT_NONE,
	SIM_FAULT_EIO,
	SIM_FAULT_ENOSPC,   /* on what may allocate: writes, zeroes, resize, reserve */
	SIM_FAULT_SHORT,    /* half of a read or a write is done */
	SIM_FAULT_EINTR,    /* interrupted before anything was done; never a barrier */
	SIM_FAULT_LOST_SYNC /* a barrier fails, and what it should have saved is not written */
};

struct sim_fault {
	enum sim_fault_kind kind;
	uint64_t countdown; /* operations of the matching sort that still succeed */
	bool forever;
	uint64_t fired;
};

/* Called with the disk's lock held, before the operation has any effect. */
struct sim_hooks {
	void (*write)(void *ctx, uint64_t off, const uint8_t *data, uint64_t bytes);
	void (*shrink)(void *ctx, uint64_t size);
	void (*barrier)(void *ctx);
	void *ctx;
};

struct sim_disk {
	struct bowimg_disk dev; /* what the engine holds; first, so that it leads back here */
	bool open;
	pthread_mutex_t lock;

	uint8_t *cache, *stable;
	uint64_t capacity; /* bytes behind cache and stable */
	uint64_t used;	   /* beyond it both are zeros */
	bool *touched;	   /* per block; the others are zeros in both, and in what is pending */
	struct versions versions; /* of both */
	uint64_t size;		  /* as the cache has it */
	uint64_t stable_size;
	uint64_t host_limit; /* no file grows past this: the host is full */
	uint64_t reserved;   /* bytes promised by reserve(), counted only */
	bool cache_lies;     /* a failed barrier: the cache shows what the storage lacks */
	bool has_mtime;
	bool rested; /* its owner did not write yet */
	struct timespec mtime, stable_mtime;

	struct sim_pending *pending;
	uint8_t *pending_data; /* one sector each */
	uint32_t pending_count, pending_space, pending_ops;

	uint64_t ops;	      /* operations that change something, barriers included */
	uint64_t changes;     /* of these, without the barriers */
	uint64_t die_at;      /* this one and all after it fail; 0: never */
	bool die_at_sector_0; /* so does the next barrier that would make sector 0 stable */
	bool dead;
	uint64_t barriers;
	_Atomic uint64_t jitter; /* not 0: some operations wait a moment, for others to overtake */
	struct sim_fault fault;
	struct sim_hooks hooks;
	FILE *trace;
};

/* Which of the pending writes a power cut keeps. */
struct sim_cut {
	char mode;    /* see sim_cut_keeps() */
	uint64_t arg; /* a mask, a count or a seed */
	bool garbage; /* some dropped sectors hold neither the old nor a new version */
};

/* `capacity` bounds growth; sector_size 512 or 4096 is what a write is atomic at. */
int sim_init(struct sim_disk *disk, uint64_t capacity);
void sim_release(struct sim_disk *disk);

/* A new disk of this size, all zeros, nothing pending, no faults, no hooks. */
void sim_format(struct sim_disk *disk, uint64_t size, uint32_t sector_size, bool can_grow);

/* Put bytes on the disk, cache and stable, outside of any simulation. */
void sim_load(struct sim_disk *disk, uint64_t off, const void *bytes, uint64_t count);

/* The device for one owner; its close ends the ownership and leaves the disk alone. */
struct bowimg_disk *sim_open(struct sim_disk *disk);

/* The owner was killed: the cache survives, a pending death is over. */
void sim_kill(struct sim_disk *disk);

/* Time passes, and the cache is written back without anybody asking for it. */
void sim_write_back(struct sim_disk *disk);

/* sim_cut.c: from now on as if the power had failed: dst may be src. */
void sim_power_cut(struct sim_disk *dst, const struct sim_disk *src, const struct sim_cut *cut);
/* sim_cut.c: after cuts of one disk, equal where what they left is. */
uint64_t sim_cut_trait(const struct sim_disk *dst);
bool sim_cut_keeps(const struct sim_cut *cut, const struct sim_pending *pending, uint32_t index);

/*
 * sim_cut.c: the n-th of the cuts worth trying on this disk now, at most `limit` of them: all
 * subsets when there are few enough, else the extremes and seeded samples. False: no more.
 */
bool sim_cut_choose(const struct sim_disk *disk, uint32_t n, uint32_t limit, uint64_t seed,
		    bool garbage, struct sim_cut *cut);

#endif
