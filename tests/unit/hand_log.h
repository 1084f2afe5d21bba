/* SPDX-License-Identifier: MIT */
/*
 * A log written by hand, record by record, so that it can say what no engine would write. The image
 * has 64 blocks and is in memory; its upper half is free, and the file may grow by as much again.
 */
#ifndef TESTS_HAND_LOG_H
#define TESTS_HAND_LOG_H

#include "lib/log/log.h"
#include "mem_dev.h"

#define HAND_BLK 64u
#define HAND_FREE 32u /* first free block; the rest of the image is free, too */
#define HAND_ORIGINAL0 32u
#define HAND_LIVE0 33u
#define HAND_SEGMENT 34u /* where the log begins */

struct hand_log {
	struct bowimg_disk *dev;
	struct bow_super sb;
	struct bow_log log;
	struct bowimg_error err;
};

/* The image, every block with content of its own, and an empty first segment of len_blk blocks. */
void hand_log_init(struct hand_log *h, uint32_t sector_size, uint32_t len_blk);
/* The same with the two entries that every log begins with: block 0's original, and the free map.
 */
void hand_log_begin(struct hand_log *h, uint32_t sector_size, uint32_t len_blk);
void hand_log_release(struct hand_log *h);

/* One record of these entries. */
void hand_log_record(struct hand_log *h, const struct bow_entry *e, uint32_t n);
void hand_log_one(struct hand_log *h, struct bow_entry e);
/* Go on in a new segment. */
void hand_log_switch(struct hand_log *h, uint64_t start_blk, uint32_t len_blk);

uint8_t *hand_block(struct hand_log *h, uint64_t blk);

/* The COPY entry for what is at source now, not copied / really copied. */
struct bow_entry hand_entry(struct hand_log *h, uint64_t source, uint64_t dest, uint32_t n,
			    uint8_t flags);
struct bow_entry hand_copy(struct hand_log *h, uint64_t source, uint64_t dest, uint32_t n,
			   uint8_t flags);
/* An entry without a destination. */
struct bow_entry hand_mark(uint8_t type, uint64_t source, uint32_t n);
struct bow_entry hand_map_run(uint64_t start, uint64_t n);

/* Overwrite with the file system's new content. */
void hand_scribble(struct hand_log *h, uint64_t blk, uint64_t n);

#endif
