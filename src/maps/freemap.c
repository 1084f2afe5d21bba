/* SPDX-License-Identifier: MIT */
/* The free map of an image, and what all sources share. */
#include "maps/freemap.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/table.h"

int bow_freemap_mark(struct bow_bitmap *out, uint64_t image_size, uint64_t off, uint64_t bytes)
{
	const uint64_t block = BOWIMG_BLOCK_SIZE;
	uint64_t end = bytes > UINT64_MAX - off ? UINT64_MAX : off + bytes;
	uint64_t first = bow_max(1, bow_div_up(off, block));

	end = bow_min(end, image_size) / block;
	return first < end ? bow_bitmap_set(out, first, end - first) : 0;
}

/* "none" and a map file speak of the whole image, whatever tables are on it. */
static bool by_partition(const char *spec)
{
	return !spec || (strcmp(spec, "none") != 0 && strncmp(spec, "map:", 4) != 0);
}

static int read_whole(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
		      struct bow_freemap_info *info, const struct bowimg_events *events,
		      struct bowimg_error *err)
{
	if (spec && !strncmp(spec, "map:", 4))
		return bow_freemap_mapfile(spec + 4, dev->size, out, info, err);
	return bow_freemap_volume(dev, 0, dev->size, spec, out, info, events, err);
}

static int read_source(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
		       struct bow_freemap_info *info, const struct bow_part_sink *sink,
		       const struct bowimg_events *events, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_table *table = NULL;
	int rc;

	if (!by_partition(spec))
		return read_whole(dev, spec, out, info, events, err);
	table = malloc(sizeof(*table));
	if (!table)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = bow_table_read(dev, table, err);
	if (!rc && !table->kind[0])
		return read_whole(dev, spec, out, info, events, err);
	return rc ? rc : bow_freemap_partitions(dev, table, spec, out, info, sink, events, err);
}

int bow_freemap_read_disk(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
			  struct bow_freemap_info *info, const struct bow_part_sink *sink,
			  const struct bowimg_events *events, struct bowimg_error *err)
{
	int rc = bow_probe_refuse_container(dev, err);

	assert(bow_bitmap_bits(out) == bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	if (rc < 0)
		return rc;
	if (events && events->progress)
		events->progress(events->ctx, "read free map", 0, dev->size);
	rc = read_source(dev, spec, out, info, sink, events, err);
	if (!rc && events && events->progress)
		events->progress(events->ctx, "read free map", dev->size, dev->size);
	return rc;
}

int bow_freemap_read(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err)
{
	return bow_freemap_read_disk(dev, spec, out, info, NULL, events, err);
}
