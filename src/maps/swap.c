/* SPDX-License-Identifier: MIT */
/*
 * Linux swap space of a machine that is off: what was swapped out is nobody's any more, and only
 * the header in the first page matters. Pages can be of 64 KiB, so that much is kept. Whether the
 * space holds a hibernated machine is for the caller to ask: libblkid has another name for that.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "maps/freemap.h"

#define PAGE_MAX_BYTES (64u << 10)

int bow_freemap_swap(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		     struct bow_freemap_info *info, struct bowimg_error *err)
{
	const uint64_t head = bow_min(bytes, PAGE_MAX_BYTES);

	*info = (struct bow_freemap_info){.source = "swap", .what = "Linux swap space"};
	info->fs_free_bytes = bytes - head;
	if (bow_freemap_mark(out, dev->size, off + head, bytes - head) < 0)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", dev->name);
	return 0;
}
