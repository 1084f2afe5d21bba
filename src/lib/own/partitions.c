/* SPDX-License-Identifier: MIT */
/*
 * The partitions of a disk as its guest sees them. While a checkpoint is open, block 0 of the image
 * is bowimg's own, and other blocks may have a pending zero. So the table is read through a disk
 * that shows what the guest would see.
 */
#include "lib/freespace/freemap.h"
#include "lib/own/steps.h"

struct view {
	struct bowimg_disk dev; /* must be first */
	const struct bow_checkpoint *cp;
};

static int64_t view_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	const struct view *v = (const struct view *)dev;

	return bow_own_read_now(v->cp, buf, bytes, off, NULL);
}

/* Only reading: if another process serves the image, its log grows, and nothing else is true. */
static const struct bow_backend_ops view_ops = {.read = view_read};

int bow_own_partitions(struct bow_opened *o,
		       int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		       struct bowimg_error *err)
{
	struct view v = {
		.dev = {.ops = &view_ops,
			.name = o->dev->name,
			.size = o->cp.sb.image_size,
			.sector_size = o->dev->sector_size,
			.readonly = true},
		.cp = &o->cp,
	};

	if (o->state == BOWIMG_STATE_NONE)
		return bow_freemap_list(o->dev, partition, ctx, err);
	if (o->state == BOWIMG_STATE_CHECKPOINT)
		return bow_freemap_list(&v.dev, partition, ctx, err);
	return bow_own_refuse(o, "show", err);
}
