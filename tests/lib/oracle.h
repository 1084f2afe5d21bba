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

#define ORACLE_VALUES 12

struct oracle_sector {
	uint64_t value[ORACLE_VALUES]; /* hashes of admissible contents */
	uint8_t count;
	bool wild;  /* admissible too: whatever is allowed where nothing was promised */
	bool any;   /* and that is anything: too many old values to remember */
	bool known; /* the current content is promised */
	bool dirty; /* written to since it was flushed, be it with the same content */
};

struct oracle {
	uint64_t size;
	uint32_t blocks, sectors;
	bool exact;
	uint8_t *original, *current; /* padded with zeros to whole blocks */
	bool *is_free;		     /* per block */
	struct oracle_sector *sector;
	uint32_t window;  /* free blocks that an end on a device, cut at its last step, may leave
			     dirty */
	uint32_t fullest; /* the largest count: flush before ORACLE_VALUES is reached */
	uint64_t zeros;	  /* hash of a sector of zeros */
	char why[256];	  /* what was wrong, after a check failed */
};

int oracle_init(struct oracle *o, uint64_t max_size);
void oracle_release(struct oracle *o);
void oracle_copy(struct oracle *dst, const struct oracle *src);

/* A checkpoint begins on these bytes. */
void oracle_start(struct oracle *o, const uint8_t *bytes, uint64_t size, const bool *is_free,
		  bool exact);

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
 * After a crash (or a refused write): `bytes` (size, padded to blocks) is what is read now in
 * [off, off + count), which becomes the current content if it is admissible. After a power cut
 * nothing older can come back. `torn`: the cut left garbage, so blocks written since the last
 * flush may hold anything.
 */
bool oracle_settle(struct oracle *o, const uint8_t *bytes, uint64_t off, uint64_t count, bool power,
		   bool torn);

/* After the end of the checkpoint: the image's own bytes, padded to blocks, and its size. */
bool oracle_check_rolled_back(struct oracle *o, const uint8_t *bytes, uint64_t size);
bool oracle_check_committed(struct oracle *o, const uint8_t *bytes, uint64_t size, bool torn);

/* After a commit --wipe that nothing interrupted: nothing of bowimg's is left in free blocks. */
bool oracle_check_wiped(struct oracle *o, const uint8_t *bytes);

/* Used blocks are as they were; nothing is said of the rest. */
bool oracle_check_used(struct oracle *o, const uint8_t *bytes);

#endif
