/* SPDX-License-Identifier: MIT */
/*
 * What must be true of a disk under a checkpoint, kept beside it and told of every request.
 *
 * Three things are known: the original (what rollback brings back), the current content (what the
 * guest reads now), and for each sector the values a crash may leave there: everything written
 * since the last flush, and what was flushed. A sector is wild where nothing was promised: free
 * blocks the guest never wrote, and what it discarded; those may read as zeros or as the original,
 * but never as somebody else's data.
 */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "versions.h"

#define ORACLE_VALUES 12
#define ORACLE_MARKS 6
#define ORACLE_NAME 32 /* bytes of a mark's name, more than it may have */

struct oracle_sector {
	uint64_t original;	       /* hash of what was there at prepare */
	uint64_t current;	       /* of the current content; 0: not worked out yet */
	uint64_t value[ORACLE_VALUES]; /* hashes of admissible contents */
	uint8_t count;
	bool wild;  /* admissible too: whatever is allowed where nothing was promised */
	bool any;   /* and that is anything: too many old values to remember */
	bool known; /* the current content is promised */
	bool dirty; /* written to since it was flushed, be it with the same content */
};

/*
 * A mark: what the disk was there, of the sectors that were the guest's. Made once and never
 * changed, so that the oracles of all timelines share it.
 */
struct oracle_mark {
	char name[ORACLE_NAME];
	uint32_t holders, blocks;
	uint8_t *pinned;   /* per block, a bit for each sector: it must be what it was */
	uint8_t *vague;	   /* the same: it is not promised, and was not as at prepare either */
	uint8_t **content; /* per block; NULL: zeros, or none of it is pinned */
};

struct oracle {
	uint64_t size;
	uint32_t blocks, sectors;
	bool exact;
	uint8_t *original, *current; /* padded with zeros to whole blocks */
	bool *is_free;		     /* per block */
	bool *blank;		     /* per block: the original is zeros */
	bool *empty;		     /* per block: so is the current content, for sure */
	bool *calm;		     /* both, and nothing has become known since the start */
	uint64_t *key;		     /* the first bytes of each block's original */
	uint64_t start;		     /* numbers the originals: each checkpoint has one of its own */
	struct oracle_sector *sector;
	struct versions versions; /* of the current content and the sectors, by block */
	uint32_t window;  /* free blocks that an end on a device, cut at its last step, may leave
			     dirty */
	uint32_t fullest; /* the largest count: flush before ORACLE_VALUES is reached */
	uint64_t zeros;	  /* hash of a sector of zeros */
	struct oracle_mark *mark[ORACLE_MARKS]; /* oldest first */
	uint32_t marks;
	char why[256]; /* what was wrong, after a check failed */
};

int oracle_init(struct oracle *o, uint64_t max_size);
void oracle_release(struct oracle *o);
void oracle_copy(struct oracle *dst, const struct oracle *src);

/*
 * `touched`, here and below: per block of `bytes`, false where they are known to be zeros; NULL:
 * nothing is known. It saves looking there, on a large image most of the work.
 */

/* A checkpoint begins on these bytes. */
void oracle_start(struct oracle *o, const uint8_t *bytes, const bool *touched, uint64_t size,
		  const bool *is_free, bool exact);

/*
 * A request is about to be made, and: it returned 0. data NULL: zeros. What it was in between, and
 * what a failure left, is for the settling. Sectors that are not known must be covered whole.
 */
void oracle_may_become(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes);
void oracle_became(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes);
void oracle_may_discard(struct oracle *o, uint64_t off, uint64_t bytes);
void oracle_discarded(struct oracle *o, uint64_t off, uint64_t bytes);
/* A request failed: any of its values may be there, and nothing settles which. */
void oracle_uncertain(struct oracle *o, uint64_t off, uint64_t bytes);

/* Whole sectors of this range are durable. */
void oracle_flushed(struct oracle *o, uint64_t off, uint64_t bytes);
/* The same in two steps, for many ranges: o->fullest is right after the second. */
void oracle_flushed_quietly(struct oracle *o, uint64_t off, uint64_t bytes);
void oracle_recount(struct oracle *o);

/* False, and o->why: the guest read something it must not see. */
bool oracle_check_read(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes);

/*
 * The first byte in [off, off + bytes) that was not so at prepare, or off + bytes: used blocks are
 * the original, free ones zeros if exact. Changes nothing, so it may be asked without a lock.
 */
uint64_t oracle_wrong_before(const struct oracle *o, uint64_t off, const uint8_t *data,
			     uint64_t bytes);

/*
 * After a crash: `bytes`, padded to whole sectors, is what is read now in
 * [off, off + count), off a sector's, which becomes the current content if it is admissible. After
 * a power cut nothing older can come back. `torn`: the cut left garbage, so blocks written since
 * the last flush may hold anything; off is a block's then.
 */
bool oracle_settle(struct oracle *o, const uint8_t *bytes, uint64_t off, uint64_t count, bool power,
		   bool torn);
/*
 * The same after a refused write. What was discarded stays open: as long as its server lives, a
 * device may show the old content at first and zeros later, when the blocks are given back.
 */
bool oracle_settle_refused(struct oracle *o, const uint8_t *bytes, uint64_t off, uint64_t count);

/* After the end of the checkpoint: the image's own bytes, padded to blocks, and its size. */
bool oracle_check_rolled_back(struct oracle *o, const uint8_t *bytes, const bool *touched,
			      uint64_t size);
bool oracle_check_committed(struct oracle *o, const uint8_t *bytes, const bool *touched,
			    uint64_t size, bool torn);

/* After a commit --wipe that nothing interrupted: nothing of bowimg's is left in free blocks. */
bool oracle_check_wiped(struct oracle *o, const uint8_t *bytes, const bool *touched);

/* ---- oracle_marks.c -------------------------------------------------------------- */

/*
 * A mark was made: it is the newest. `now`: what the whole disk reads, padded to blocks, which the
 * oracle has settled. False: no memory.
 */
bool oracle_mark_made(struct oracle *o, const char *name, const uint8_t *now);
void oracle_mark_deleted(struct oracle *o, uint32_t n);
/* Which one has this name; o->marks: none has. */
uint32_t oracle_mark_find(const struct oracle *o, const char *name);
/* The disk went back to the n-th mark: the later ones are gone, and what was there is there again.
 */
void oracle_went_back(struct oracle *o, uint32_t n);

/* As oracle_wrong_before(), of a mark. */
uint64_t oracle_wrong_at(const struct oracle_mark *m, uint64_t off, const uint8_t *data,
			 uint64_t bytes);

/* Used blocks are as they were; nothing is said of the rest. */
bool oracle_check_used(struct oracle *o, const uint8_t *bytes, const bool *touched);

#endif
