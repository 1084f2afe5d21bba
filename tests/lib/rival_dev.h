/* SPDX-License-Identifier: MIT */
/*
 * A device that another program writes to as well: once, before the n-th operation, a sector of
 * block 0 on the storage becomes the rival's. What the device has cached of block 0 does not show
 * it, as where two machines share a disk, until the cache is dropped.
 */
#ifndef TESTS_RIVAL_DEV_H
#define TESTS_RIVAL_DEV_H

#include "lib/disk/disk.h"

#define RIVAL_NEVER UINT64_MAX
#define RIVAL_SECTOR 512u
#define RIVAL_RISKS 256u /* that are noted */

struct rival_dev {
	struct bowimg_disk dev; /* must be first */
	uint8_t *bytes;		/* the storage */
	uint64_t capacity;

	uint64_t ops;	 /* so far, of any kind */
	uint64_t at;	 /* the rival comes before this one; RIVAL_NEVER */
	uint64_t off;	 /* where in block 0 */
	uint64_t die_at; /* this operation and all after it fail; RIVAL_NEVER */
	bool came;
	uint64_t since; /* changes since then */
	bool seen;	/* block 0 was read from the storage, and compared, since */
	uint64_t after; /* changes since it was seen: there must be none */

	uint64_t first_read;	     /* the operation that first read block 0 */
	uint64_t risks[RIVAL_RISKS]; /* those that wrote to block 0, or cut the file */
	uint32_t n_risks;

	uint8_t cached[BOWIMG_BLOCK_SIZE];
	bool is_cached;
	uint64_t dropped_at; /* the operation before a read of the storage */
};

/* Room for images of so many bytes. */
bool rival_init(struct rival_dev *r, uint64_t capacity);
void rival_release(struct rival_dev *r);

/* A fresh owner of an image of `size` bytes, of which the bytes are the caller's to fill. */
struct bowimg_disk *rival_open(struct rival_dev *r, uint64_t size, bool can_grow);

/* Is the rival's sector still what it wrote? */
bool rival_is_intact(const struct rival_dev *r);

#endif
