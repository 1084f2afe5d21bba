/* SPDX-License-Identifier: MIT */
/* The inside of prepare: what its parts share. */
#ifndef BOW_VERBS_PREPARE_H
#define BOW_VERBS_PREPARE_H

#include "lib/checkpoint/checkpoint.h"
#include "lib/verbs/operations.h"

#define BOW_PREPARE_ENTRIES 512u /* collected for one record */
#define BOW_MAP_RUNS_MAX 32u	 /* more runs than this in a leaf are kept as its bits */

struct prepare {
	struct bowimg_disk *dev;
	const struct bow_prepare_plan *plan;
	struct bow_super sb;
	struct bow_blocks blocks;
	struct bow_alloc alloc;
	struct bow_log log;
	bool tail;		   /* everything is parked past the end of the file */
	struct bow_parked *parked; /* blocks that are not written yet; NULL: there was none */
	struct bow_entry entries[BOW_PREPARE_ENTRIES];
	uint32_t n;
	uint8_t block0[BOW_BLOCK];
};

/* ---- park.c ---------------------------------------------------------------------- */

/* Allocate a run of blocks; returns its length. If that is 0, return bow_prepare_no_room(). */
uint64_t bow_prepare_park(struct prepare *p, uint64_t least, uint64_t most, uint64_t *start);
int bow_prepare_no_room(const struct prepare *p, struct bowimg_error *err);
/* Write a block, with others and before bow_prepare_write_parked() returns. */
int bow_prepare_write_block(struct prepare *p, const void *block, uint64_t blk,
			    struct bowimg_error *err);
int bow_prepare_write_parked(struct prepare *p, struct bowimg_error *err);
int bow_prepare_new_segment(struct prepare *p, struct bowimg_error *err);
int bow_prepare_add_entry(struct prepare *p, const struct bow_entry *e, struct bowimg_error *err);
int bow_prepare_flush_entries(struct prepare *p, struct bowimg_error *err);

/* ---- prepare_check.c ------------------------------------------------------------- */

/* bow_prepare_check(), and whether the plan fits; past a barrier, unless this is a dry run. */
int bow_prepare_check_plan(struct bowimg_disk *dev, const struct bow_prepare_plan *plan,
			   struct bowimg_error *err);

/* ---- prepare_map.c --------------------------------------------------------------- */

int bow_prepare_save_map(struct prepare *p, struct bowimg_error *err);

#endif
