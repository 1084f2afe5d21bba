/* SPDX-License-Identifier: MIT */
/* The free map of an image, and what all sources share. */
#include "maps/freemap.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"

int bow_freemap_mark(struct bow_bitmap *out, uint64_t image_size, uint64_t off, uint64_t bytes)
{
	const uint64_t block = BOWIMG_BLOCK_SIZE;
	uint64_t end = bytes > UINT64_MAX - off ? UINT64_MAX : off + bytes;
	uint64_t first = bow_max(1, bow_div_up(off, block));

	end = bow_min(end, image_size) / block;
	return first < end ? bow_bitmap_set(out, first, end - first) : 0;
}

static int read_source(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
		       struct bow_freemap_info *info, const struct bowimg_events *events,
		       struct bowimg_error *err)
{
	if (spec && !strncmp(spec, "map:", 4))
		return bow_freemap_mapfile(spec + 4, dev->size, out, info, err);
	return bow_freemap_volume(dev, 0, dev->size, spec, out, info, events, err);
}

int bow_freemap_read(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err)
{
	int rc = bow_probe_refuse_container(dev, err);

	assert(bow_bitmap_bits(out) == bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	if (rc < 0)
		return rc;
	if (events && events->progress)
		events->progress(events->ctx, "read free map", 0, dev->size);
	rc = read_source(dev, spec, out, info, events, err);
	if (!rc && events && events->progress)
		events->progress(events->ctx, "read free map", dev->size, dev->size);
	return rc;
}
