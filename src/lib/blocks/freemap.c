/* SPDX-License-Identifier: MIT */
/* Marking free blocks. */
#include "lib/blocks/freemap.h"

#include "lib/base/bytes.h"

int bow_freemap_mark(struct bow_bitmap *out, uint64_t image_size, uint64_t off, uint64_t bytes)
{
	const uint64_t block = BOWIMG_BLOCK_SIZE;
	uint64_t end = bytes > UINT64_MAX - off ? UINT64_MAX : off + bytes;
	uint64_t first = bow_max(1, bow_div_up(off, block));

	end = bow_min(end, image_size) / block;
	return first < end ? bow_bitmap_set(out, first, end - first) : 0;
}
