/* SPDX-License-Identifier: MIT */
/* What the parts of prepare share. */
#ifndef BOW_OPERATIONS_PREPARE_H
#define BOW_OPERATIONS_PREPARE_H

#include "operations/internal.h"

#define BOW_PREPARE_ENTRIES 512u /* collected for one record */
#define BOW_MAP_RUNS_MAX 32u	 /* more runs than this in a leaf are kept as its bits */

struct prepare {
	struct bow_dev *dev;
	const struct bow_prepare_plan *plan;
	struct bow_super sb;
	struct bow_blocks blocks;
	struct bow_alloc alloc;
	struct bow_log log;
	bool tail; /* everything is parked past the end of the file */
	struct bow_entry entries[BOW_PREPARE_ENTRIES];
	uint32_t n;
	uint8_t block0[BOW_BLOCK];
};

/* ---- prepare.c --------------------------------------------------------------------------------
 */

/* A run of blocks to park something in; 0 if there is none, for bow_prepare_no_room() to explain.
 */
uint64_t bow_prepare_park(struct prepare *p, uint64_t least, uint64_t most, uint64_t *start);
int bow_prepare_no_room(const struct prepare *p, struct bowimg_error *err);
/* Write a block, unless this is a dry run. */
int bow_prepare_write_block(struct prepare *p, const void *block, uint64_t blk,
			    struct bowimg_error *err);
int bow_prepare_add_entry(struct prepare *p, const struct bow_entry *e, struct bowimg_error *err);
int bow_prepare_flush_entries(struct prepare *p, struct bowimg_error *err);

/* ---- prepare_map.c ----------------------------------------------------------------------------
 */

int bow_prepare_save_map(struct prepare *p, struct bowimg_error *err);

#endif
