/* SPDX-License-Identifier: MIT */
/* One file system, on a whole disk or in a partition: what it is, and which source knows. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "device/slice.h"
#include "maps/freemap.h"

/* "none": it may hold anything, and all of it is kept. */
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

static int probe_part(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_probe *found,
		      struct bowimg_error *err)
{
	struct bow_dev *part;
	int rc;

	if (off == 0 && bytes == dev->size)
		return bow_probe_device(dev, found, err);
	rc = bow_dev_slice(dev, off, bytes, &part, err);
	if (rc < 0)
		return rc;
	rc = bow_probe_device(part, found, err);
	bow_dev_close(part, NULL);
	return rc;
}

static int read_auto(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		     struct bow_freemap_info *info, struct bowimg_error *err)
{
	struct bow_probe found;
	int rc = probe_part(dev, off, bytes, &found, err);

	if (rc < 0)
		return rc;
	if (!found.pttype[0] && (!strcmp(found.type, "ext2") || !strcmp(found.type, "ext3") ||
				 !strcmp(found.type, "ext4")))
		return bow_freemap_ext(dev, off, bytes, out, info, err);
	return refuse_content(dev, &found, err);
}

int bow_freemap_volume(struct bow_dev *dev, uint64_t off, uint64_t bytes, const char *spec,
		       struct bow_bitmap *out, struct bow_freemap_info *info,
		       const struct bowimg_events *events, struct bowimg_error *err)
{
	(void)events;
	if (!spec || !strcmp(spec, "auto"))
		return read_auto(dev, off, bytes, out, info, err);
	if (!strcmp(spec, "ext"))
		return bow_freemap_ext(dev, off, bytes, out, info, err);
	return !strcmp(spec, "none") ? read_none(info) : refuse_spec(dev, spec, err);
}
