/* SPDX-License-Identifier: MIT */
/* One file system, on a whole disk or in a partition: what it is, and which source knows. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "device/slice.h"
#include "maps/freemap.h"
#include "maps/fs.h"

struct volume {
	struct bow_dev *dev;
	uint64_t off, bytes;
	struct bow_probe found;
	const struct bow_fs_kind *kind; /* NULL: none that we know */
	const struct bowimg_events *events;
};

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
	bow_err_hint(err, "the sources are auto, ext, fat, partclone, trim, map:FILE and none");
	return -EOPNOTSUPP;
}

static int refuse_content(const struct volume *v, struct bowimg_error *err)
{
	const char *name = v->dev->name;

	if (v->found.type[0])
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: the image holds \"%s\", whose free space cannot be "
			"read",
			name, v->found.type);
	else if (v->found.pttype[0])
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: there is a partition table (%s) where a file "
			"system should be",
			name, v->found.pttype);
	else
		bow_err(err, -EOPNOTSUPP, "%s: read the free map: no known file system was found",
			name);
	bow_err_hint(err,
		     "name the free map's source: --free-from=map:FILE (a GNU ddrescue map), or "
		     "--free-from=none for backups past the end of the file");
	return -EOPNOTSUPP;
}

static int probe(struct volume *v, struct bowimg_error *err)
{
	struct bow_dev *part;
	int rc;

	if (v->off == 0 && v->bytes == v->dev->size) {
		rc = bow_probe_device(v->dev, &v->found, err);
	} else {
		rc = bow_dev_slice(v->dev, v->off, v->bytes, &part, err);
		if (rc < 0)
			return rc;
		rc = bow_probe_device(part, &v->found, err);
		bow_dev_close(part, NULL);
	}
	v->kind = bow_fs_find(v->found.type);
	return rc;
}

static bool can_trim(const struct volume *v)
{
	return geteuid() == 0 && v->events && v->events->helpers && v->events->helpers->trim;
}

/*
 * partclone, where it is there and may be believed; else the kernel. What partclone was refused for
 * is the better thing to say if neither works: it is what an ordinary user can help.
 */
static int read_other(const struct volume *v, struct bow_bitmap *out, struct bow_freemap_info *info,
		      struct bowimg_error *err)
{
	struct bowimg_error why_not = {0}, later = {0};
	int rc = bow_freemap_partclone(v->dev, v->off, v->bytes, v->kind, out, info, v->events,
				       &why_not);

	if (rc == -EOPNOTSUPP && can_trim(v) &&
	    !bow_freemap_trim(v->dev, v->off, v->bytes, v->kind, out, info, v->events, &later)) {
		snprintf(info->why, sizeof(info->why),
			 "partclone was no help, and this kernel mounts %s", v->kind->name);
		return 0;
	}
	if (rc && later.code && later.code != -EOPNOTSUPP)
		why_not = later;
	if (rc && err)
		*err = why_not;
	if (!rc)
		snprintf(info->why, sizeof(info->why), "%s is installed", v->kind->program);
	return rc ? why_not.code : 0;
}

static int read_auto(struct volume *v, struct bow_bitmap *out, struct bow_freemap_info *info,
		     struct bowimg_error *err)
{
	int rc;

	if (!strcmp(v->found.type, "swap")) {
		rc = bow_freemap_swap(v->dev, v->off, v->bytes, out, info, err);
	} else if (!v->kind) {
		return refuse_content(v, err);
	} else if (v->kind->read) {
		rc = v->kind->read(v->dev, v->off, v->bytes, out, info, err);
	} else {
		return read_other(v, out, info, err);
	}
	if (!rc)
		snprintf(info->why, sizeof(info->why), "found on the image");
	return rc;
}

/* A source that was asked for by name. */
static int read_named(struct volume *v, const char *spec, struct bow_bitmap *out,
		      struct bow_freemap_info *info, struct bowimg_error *err)
{
	bool trim = !strcmp(spec, "trim");
	int rc;

	if (!v->kind)
		return refuse_content(v, err);
	if (!trim && !v->kind->program) {
		bow_err(err, -EOPNOTSUPP, "%s: read the free map: partclone is not asked about %s",
			v->dev->name, v->kind->name);
		bow_err_hint(err, "leave --free-from away: bowimg reads %s itself", v->kind->name);
		return -EOPNOTSUPP;
	}
	rc = trim ? bow_freemap_trim(v->dev, v->off, v->bytes, v->kind, out, info, v->events, err)
		  : bow_freemap_partclone(v->dev, v->off, v->bytes, v->kind, out, info, v->events,
					  err);
	if (!rc)
		snprintf(info->why, sizeof(info->why), "as asked for");
	return rc;
}

int bow_freemap_volume(struct bow_dev *dev, uint64_t off, uint64_t bytes, const char *spec,
		       struct bow_bitmap *out, struct bow_freemap_info *info,
		       const struct bowimg_events *events, struct bowimg_error *err)
{
	struct volume v = {.dev = dev, .off = off, .bytes = bytes, .events = events};
	bool automatic = !spec || !strcmp(spec, "auto");
	int rc;

	if (!automatic && !strcmp(spec, "none"))
		return read_none(info);
	if (!automatic && !strcmp(spec, "ext"))
		return bow_freemap_ext(dev, off, bytes, out, info, err);
	if (!automatic && !strcmp(spec, "fat"))
		return bow_freemap_fat(dev, off, bytes, out, info, err);
	if (!automatic && strcmp(spec, "partclone") != 0 && strcmp(spec, "trim") != 0)
		return refuse_spec(dev, spec, err);
	rc = probe(&v, err);
	if (rc)
		return rc;
	return automatic ? read_auto(&v, out, info, err) : read_named(&v, spec, out, info, err);
}
