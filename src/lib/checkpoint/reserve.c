/* SPDX-License-Identifier: MIT */
/* How much room log segments and the plan of the last step take. */
#include "lib/base/bytes.h"
#include "lib/checkpoint/checkpoint.h"

uint32_t bow_segment_want(uint64_t free_blk)
{
	return (uint32_t)bow_max(1, bow_min(free_blk / 128, BOW_SEGMENT_MAX_BLK));
}

/* Placing on a device may add a run for each block of the plan. */
uint64_t bow_finish_lists(uint64_t runs)
{
	return runs / (BOW_FINISH_RUNS - 2) + 1;
}

#define ENTRIES_IN_BLK 111u /* that a log segment of one block holds, with the largest sector */

/*
 * The prologue has an entry for each run of blocks that were touched since the mark. Such a run has
 * room for the prologue itself, unless the log lies there: then it must be found elsewhere.
 */
uint64_t bow_mark_reserve(const struct bow_super *sb, uint64_t entries)
{
	if (!(sb->incompat & BOW_INCOMPAT_MARKS))
		return 0;
	return 2 + bow_div_up(entries, ENTRIES_IN_BLK);
}

#define RESERVE_BYTES (64u * 1024u)

uint64_t bow_finish_reserve_blk(void)
{
	return RESERVE_BYTES / BOW_BLOCK;
}

int bow_finish_reserve(struct bowimg_disk *dev, uint64_t more, struct bowimg_error *err)
{
	int rc = dev->can_grow ? bow_disk_reserve(dev, more + RESERVE_BYTES, err) : 0;

	if (rc != -EOPNOTSUPP)
		return rc;
	bow_err_clear(err);
	return 0;
}

uint64_t bow_finish_plan_blk(uint64_t runs, bool file)
{
	return bow_finish_lists(runs) + (file ? 2 : 1);
}
