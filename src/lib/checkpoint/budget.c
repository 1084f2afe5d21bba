/* SPDX-License-Identifier: MIT */
/*
 * How much backups and new data may still take. The free blocks of the image are one limit. The
 * other is the host: free blocks that are holes of a sparse file, and the tail, need space there.
 *
 * Other writers share the host, and the guest chooses which blocks it writes to: this is an
 * estimate to warn by, and nothing relies on it.
 */
#include "lib/base/bytes.h"
#include "lib/checkpoint/checkpoint.h"
#include "lib/freespace/freemap.h"

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The superblock may say anything. */
static unsigned percent(uint64_t used, uint64_t left)
{
	uint64_t total = add(used, left);

	if (!total)
		return 100;
	return (unsigned)(total < UINT64_MAX / 100 ? used * 100 / total : used / (total / 100));
}

void bow_budget_find(const struct bow_budget_facts *f, struct bowimg_budget *out)
{
	uint64_t free_left = f->only_tail ? 0 : f->free_left;
	uint64_t reach = add(free_left - bow_min(f->holes, free_left), f->host_left);

	*out = (struct bowimg_budget){.known = !f->only_tail, .left_bytes = free_left};
	if (!f->host_known)
		return;
	out->known = out->host_known = true;
	out->host_left_bytes = f->host_left;
	out->by_host = (f->grows && !free_left) || f->host_left < bow_min(f->holes, free_left);
	if (out->by_host)
		out->left_bytes = reach;
	if (out->by_host || f->grows)
		out->host_used = bow_min(percent(f->used, reach), 100);
}

/*
 * How many of the bytes in free blocks are holes? With what was taken ahead and not written, which
 * is left, too. Without memory or an answer: `most`.
 */
static uint64_t count_holes(struct bowimg_disk *dev, const struct bow_super *sb,
			    const struct bow_blocks *blocks, uint64_t most)
{
	struct bow_bitmap *left = bow_bitmap_new(blocks->count);
	uint64_t start = 0, n, holes = 0;
	int rc = left ? 0 : -ENOMEM;

	for (; !rc && bow_blocks_next_free(blocks, &start, &n, blocks->count, blocks->count);
	     start += n)
		rc = bow_bitmap_set(left, start, n);
	for (start = 0; !rc && bow_unwritten_next(dev, sb, blocks, &start, &n); start += n)
		rc = bow_bitmap_set(left, start, n);
	if (!rc)
		rc = bow_freemap_hole_bytes(dev, left, &holes, NULL);
	bow_bitmap_free(left);
	return rc ? most : bow_min(holes, most);
}

/*
 * Space that was allocated ahead reads as a hole and needs nothing more, so what the whole file
 * lacks is a second bound.
 */
static void find_holes(struct bowimg_disk *dev, const struct bow_super *sb,
		       const struct bow_blocks *blocks, const struct bow_room *room,
		       struct bow_budget_facts *f)
{
	uint64_t size = bow_disk_size(dev);

	f->holes = size > room->allocated ? bow_min(size - room->allocated, f->free_left) : 0;
	if (blocks && room->left < f->holes)
		f->holes = count_holes(dev, sb, blocks, f->holes);
}

void bow_budget_of(struct bowimg_disk *dev, const struct bow_super *sb,
		   const struct bow_blocks *blocks, uint64_t free_left_blk,
		   struct bowimg_budget *out)
{
	uint64_t size = bow_disk_size(dev);
	struct bow_budget_facts f = {
		.free_left = free_left_blk * BOW_BLOCK,
		.only_tail = sb->flags & BOW_SUPER_STORE_TAIL,
		.grows = sb->flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL),
	};
	struct bow_room room = {0};

	f.used = size > sb->image_size ? size - sb->image_size : 0;
	if (!f.only_tail && sb->free_total_blk > free_left_blk)
		f.used = add(f.used, (sb->free_total_blk - free_left_blk) * BOW_BLOCK);
	f.host_known = bow_disk_room(dev, &room);
	f.host_left = room.left;
	if (f.host_known)
		find_holes(dev, sb, blocks, &room, &f);
	bow_budget_find(&f, out);
}
