/* SPDX-License-Identifier: MIT */
/* The choice of a source for the free map, and what all sources share. */
#include "maps/freemap.h"

#include <assert.h>
#include <stdio.h>
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

/* "none": the image may hold anything, and all of it is kept. */
static int read_none(struct bow_freemap_info *info)
{
	*info = (struct bow_freemap_info){.source = "none", .what = "unknown content"};
	return 0;
}

static int refuse_spec(struct bow_dev *dev, const char *spec, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: there is no source \"%s\"", dev->name,
		spec);
	bow_err_hint(err, "the sources are auto, ext, map:FILE and none");
	return -EOPNOTSUPP;
}

static int refuse_content(struct bow_dev *dev, const struct bow_probe *found,
			  struct bowimg_error *err)
{
	if (found->pttype[0])
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: the image has a partition table (%s), and the free "
			"space inside partitions cannot be read yet",
			dev->name, found->pttype);
	else if (found->type[0])
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: the image holds \"%s\", whose free space cannot be "
			"read yet (only that of ext2, ext3 and ext4)",
			dev->name, found->type);
	else
		bow_err(err, -EOPNOTSUPP, "%s: read the free map: no known file system was found",
			dev->name);
	bow_err_hint(err,
		     "name the free map's source: --free-from=map:FILE (a GNU ddrescue map), or "
		     "--free-from=none for backups past the end of the file");
	return -EOPNOTSUPP;
}

static int read_auto(struct bow_dev *dev, struct bow_bitmap *out, struct bow_freemap_info *info,
		     struct bowimg_error *err)
{
	struct bow_probe found;
	int rc = bow_probe_device(dev, &found, err);

	if (rc < 0)
		return rc;
	if (!found.pttype[0] && (!strcmp(found.type, "ext2") || !strcmp(found.type, "ext3") ||
				 !strcmp(found.type, "ext4")))
		return bow_freemap_ext(dev, 0, dev->size, out, info, err);
	return refuse_content(dev, &found, err);
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
	if (!spec || !strcmp(spec, "auto"))
		rc = read_auto(dev, out, info, err);
	else if (!strcmp(spec, "ext"))
		rc = bow_freemap_ext(dev, 0, dev->size, out, info, err);
	else if (!strncmp(spec, "map:", 4))
		rc = bow_freemap_mapfile(spec + 4, dev->size, out, info, err);
	else
		rc = !strcmp(spec, "none") ? read_none(info) : refuse_spec(dev, spec, err);
	if (!rc && events && events->progress)
		events->progress(events->ctx, "read free map", dev->size, dev->size);
	return rc;
}
