/* SPDX-License-Identifier: MIT */
/* Block states over bitmaps; see blocks.h for the table. */
#include "lib/blocks/blocks.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"

int bow_blocks_init(struct bow_blocks *b, uint64_t count)
{
	b->count = count;
	b->free = bow_bitmap_new(count);
	b->taken = bow_bitmap_new(count);
	b->held = bow_bitmap_new(count);
	b->zero_pending = bow_bitmap_new(count);
	b->zero_done = bow_bitmap_new(count);
	if (b->free && b->taken && b->held && b->zero_pending && b->zero_done)
		return 0;
	bow_blocks_release(b);
	return -ENOMEM;
}

void bow_blocks_release(struct bow_blocks *b)
{
	bow_bitmap_free(b->free);
	bow_bitmap_free(b->taken);
	bow_bitmap_free(b->held);
	bow_bitmap_free(b->zero_pending);
	bow_bitmap_free(b->zero_done);
	memset(b, 0, sizeof(*b));
}

int bow_blocks_reserve(struct bow_blocks *b, uint64_t start, uint64_t n)
{
	if (bow_bitmap_reserve(b->taken, start, n) || bow_bitmap_reserve(b->held, start, n) ||
	    bow_bitmap_reserve(b->zero_pending, start, n) ||
	    bow_bitmap_reserve(b->zero_done, start, n))
		return -ENOMEM;
	return 0;
}

enum bow_block_state bow_blocks_state(const struct bow_blocks *b, uint64_t blk)
{
	bool taken = bow_bitmap_test(b->taken, blk);

	if (!bow_bitmap_test(b->free, blk))
		return taken ? BOW_SAVED : BOW_ORIGINAL;
	if (taken)
		return BOW_LIVE;
	return bow_bitmap_test(b->held, blk) ? BOW_HELD : BOW_FREE;
}

/* Returns where the bit's value at start changes, at most end. */
static uint64_t same_until(const struct bow_bitmap *map, uint64_t start, uint64_t end)
{
	return bow_bitmap_next(map, start, end, !bow_bitmap_test(map, start));
}

uint64_t bow_blocks_run(const struct bow_blocks *b, uint64_t start, uint64_t n,
			enum bow_block_state *state, bool *zero)
{
	uint64_t end = start + n;

	*state = bow_blocks_state(b, start);
	*zero = bow_bitmap_test(b->zero_pending, start);
	end = same_until(b->free, start, end);
	end = same_until(b->taken, start, end);
	end = same_until(b->zero_pending, start, end);
	if (*state == BOW_FREE || *state == BOW_HELD)
		end = same_until(b->held, start, end);
	return end - start;
}

bool bow_blocks_settled(const struct bow_blocks *b, uint64_t start, uint64_t n)
{
	return bow_bitmap_all(b->taken, start, n, true) &&
	       bow_bitmap_all(b->zero_pending, start, n, false);
}

bool bow_blocks_next_free(const struct bow_blocks *b, uint64_t *start, uint64_t *n, uint64_t end,
			  uint64_t most)
{
	uint64_t s = *start, e;

	while ((s = bow_bitmap_next(b->free, s, end, true)) < end) {
		if (bow_bitmap_test(b->taken, s)) {
			s = bow_bitmap_next(b->taken, s, end, false);
			continue;
		}
		if (bow_bitmap_test(b->held, s)) {
			s = bow_bitmap_next(b->held, s, end, false);
			continue;
		}
		e = bow_bitmap_next(b->free, s, bow_min(end, s + most), false);
		e = bow_bitmap_next(b->taken, s, e, true);
		e = bow_bitmap_next(b->held, s, e, true);
		*start = s;
		*n = e - s;
		return true;
	}
	return false;
}
