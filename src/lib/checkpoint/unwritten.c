/* SPDX-License-Identifier: MIT */
/*
 * What was taken ahead and not written (engine/ahead.c). Only the process that took it knows it,
 * but where free space was holes at prepare it shows: a LIVE block that is a hole still, or has Z,
 * reads as zeros. If the guest wrote to it at all, then zeros. A clean end gives such blocks back,
 * so they are looked for only if there was none.
 */
#include "lib/base/bytes.h"
#include "lib/checkpoint/checkpoint.h"

uint64_t bow_hole_run(struct bowimg_disk *dev, uint64_t blk, uint64_t n, bool *hole)
{
	uint64_t reach;

	if (bow_disk_extent(dev, blk * BOW_BLOCK, hole, &reach, NULL)) {
		*hole = false;
		return n;
	}
	/* A hole that ends inside a block is none there. */
	reach = *hole ? reach / BOW_BLOCK : bow_div_up(reach, BOW_BLOCK);
	*hole = *hole && reach;
	return bow_min(n, bow_max(1, reach));
}

bool bow_unwritten_shows(const struct bowimg_disk *dev, const struct bow_super *sb)
{
	return sb->flags & BOW_SUPER_EXACT && !(sb->flags & BOW_SUPER_STORE_TAIL) && dev->can_grow;
}

static bool may_be_left(const struct bowimg_disk *dev, const struct bow_super *sb)
{
	return sb->flags & BOW_SUPER_ATTACHED && bow_unwritten_shows(dev, sb);
}

uint64_t bow_unwritten_run(struct bowimg_disk *dev, const struct bow_super *sb,
			   const struct bow_blocks *b, uint64_t blk, uint64_t n, bool *unwritten)
{
	enum bow_block_state state;
	bool zero;

	*unwritten = false;
	if (!may_be_left(dev, sb))
		return n;
	n = bow_blocks_run(b, blk, n, &state, &zero);
	*unwritten = state == BOW_LIVE && zero;
	return state == BOW_LIVE && !zero ? bow_hole_run(dev, blk, n, unwritten) : n;
}

bool bow_unwritten_next(struct bowimg_disk *dev, const struct bow_super *sb,
			const struct bow_blocks *b, uint64_t *start, uint64_t *n)
{
	bool unwritten;

	for (; may_be_left(dev, sb) && bow_bitmap_next_run(b->taken, start, n, b->count);
	     *start += *n) {
		*n = bow_unwritten_run(dev, sb, b, *start, *n, &unwritten);
		if (unwritten)
			return true;
	}
	return false;
}
