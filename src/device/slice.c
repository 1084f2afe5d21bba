/* SPDX-License-Identifier: MIT */
/* A window on another device, for reading: what lies in a partition looks like a disk of its own.
 */
#include "device/slice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

struct slice {
	struct bow_dev dev;
	struct bow_dev *whole;
	uint64_t off;
	char name[4096 + 64];
};

static int64_t slice_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off)
{
	struct slice *s = (struct slice *)dev;
	int rc = bow_dev_read(s->whole, buf, bytes, s->off + off, NULL);

	return rc ? rc : (int64_t)bytes;
}

static int slice_extent(struct bow_dev *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct slice *s = (struct slice *)dev;
	int rc = bow_dev_extent(s->whole, s->off + off, hole, bytes, NULL);

	if (!rc)
		*bytes = bow_min(*bytes, dev->size - off);
	return rc;
}

/* Nothing is ever written here. */
static int slice_flush(struct bow_dev *dev)
{
	(void)dev;
	return 0;
}

static int slice_close(struct bow_dev *dev)
{
	free(dev);
	return 0;
}

static const struct bow_dev_ops slice_ops = {
	.read = slice_read,
	.flush = slice_flush,
	.close = slice_close,
	.extent = slice_extent,
};

int bow_dev_slice(struct bow_dev *whole, uint64_t off, uint64_t bytes, struct bow_dev **out,
		  struct bowimg_error *err)
{
	struct slice *s;

	if (!bow_range_ok(off, bytes, whole->size))
		return bow_err(err, -EUCLEAN, "%s: a partition of it is not inside the disk",
			       whole->name);
	s = calloc(1, sizeof(*s));
	if (!s)
		return bow_err_errno(err, -ENOMEM, "%s: look at a part of it", whole->name);
	s->whole = whole;
	s->off = off;
	snprintf(s->name, sizeof(s->name), "%s (the part at byte %" PRIu64 ")", whole->name, off);
	s->dev = (struct bow_dev){
		.ops = &slice_ops,
		.name = s->name,
		.size = bytes,
		.sector_size = whole->sector_size,
		.readonly = true,
		.io_hint = whole->io_hint,
	};
	*out = &s->dev;
	return 0;
}
