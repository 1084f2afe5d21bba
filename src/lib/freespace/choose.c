/* SPDX-License-Identifier: MIT */
/* The free map of one file system, on a whole disk or in a partition: which source reads it? */
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/disk/hint.h"
#include "lib/freespace/freemap.h"
#include "lib/freespace/fs/kinds.h"

struct volume {
	const struct bow_freemap_job *job;
	struct bowimg_disk *dev;
	const struct bow_content *content;
	uint64_t off, bytes;
	const struct bow_fs_kind *kind; /* NULL: none that we know */
};

static int refuse_content(const struct volume *v, struct bowimg_error *err)
{
	const char *name = v->dev->name;

	if (v->content->found.type[0])
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: the image holds \"%s\", whose free space cannot be "
			"read",
			name, v->content->found.type);
	else if (v->content->found.pttype[0])
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: there is a partition table (%s) where a file "
			"system should be",
			name, v->content->found.pttype);
	else
		bow_err(err, -EOPNOTSUPP, "%s: read the free map: no known file system was found",
			name);
	bow_err_hint(err, "name a source for the free map: " BOW_HINT_WITHOUT);
	return -EOPNOTSUPP;
}

/*
 * Partclone, and nothing else. A mount lets the kernel parse whatever is there, as root: bowimg
 * mounts only if that source was named, never because a program is missing.
 */
static int read_other(const struct volume *v, struct bow_bitmap *out, struct bow_freemap_info *info,
		      struct bowimg_error *err)
{
	int rc = bow_freemap_partclone(v->dev, v->off, v->bytes, v->kind, out, info,
				       v->job->opts->events, err);

	if (!rc)
		snprintf(info->why, sizeof(info->why), "%s is installed", v->kind->program);
	return rc;
}

static int read_auto(const struct volume *v, struct bow_bitmap *out, struct bow_freemap_info *info,
		     struct bowimg_error *err)
{
	int rc;

	if (!v->kind)
		return refuse_content(v, err);
	if (!v->kind->read)
		return read_other(v, out, info, err);
	rc = v->kind->read(v->dev, v->off, v->bytes, out, info, err);
	if (!rc)
		snprintf(info->why, sizeof(info->why), "found on the image");
	return rc;
}

/* A source that was asked for by name. */
static int read_named(const struct volume *v, struct bow_bitmap *out, struct bow_freemap_info *info,
		      struct bowimg_error *err)
{
	bool trim = v->job->source.id == BOW_SOURCE_TRIM;
	int rc;

	if (!v->kind || !v->kind->check)
		return refuse_content(v, err);
	if (!trim && !v->kind->program) {
		bow_err(err, -EOPNOTSUPP, "%s: read the free map: partclone is not asked about %s",
			v->dev->name, v->kind->name);
		bow_err_hint(err, "leave --free-from away: bowimg reads %s itself", v->kind->name);
		return -EOPNOTSUPP;
	}
	rc = trim ? bow_freemap_trim(v->dev, v->off, v->bytes, v->kind, out, info,
				     v->job->opts->events, err)
		  : bow_freemap_partclone(v->dev, v->off, v->bytes, v->kind, out, info,
					  v->job->opts->events, err);
	if (!rc)
		snprintf(info->why, sizeof(info->why), "as asked for");
	return rc;
}

/*
 * A user who names a source may know better than libblkid which file system this is. But content
 * that libblkid knows, and that is no file system, is refused.
 */
static int read_own(const struct volume *v, struct bow_bitmap *out, struct bow_freemap_info *info,
		    struct bowimg_error *err)
{
	const struct bow_fs_kind *own = bow_fs_find(v->job->source.type);

	if (v->content->found.type[0] && !v->kind)
		return refuse_content(v, err);
	return own->read(v->dev, v->off, v->bytes, out, info, err);
}

static int read_source(const struct volume *v, struct bow_bitmap *out,
		       struct bow_freemap_info *info, struct bowimg_error *err)
{
	if (v->job->source.type)
		return read_own(v, out, info, err);
	return v->job->source.id == BOW_SOURCE_AUTO ? read_auto(v, out, info, err)
						    : read_named(v, out, info, err);
}

/*
 * What lies behind the end of a file system is in use, whatever the source says: it may be
 * anything. If the source told no extent, nothing is free.
 */
static int clip(const struct volume *v, struct bow_bitmap *out, const struct bow_freemap_info *info,
		struct bowimg_error *err)
{
	const uint64_t extent = bow_min(info->extent_bytes, v->bytes);
	const uint64_t first = (v->off + extent) / BOWIMG_BLOCK_SIZE;
	const uint64_t end = bow_div_up(v->off + v->bytes, BOWIMG_BLOCK_SIZE);
	int rc = first < end ? bow_bitmap_clear(out, first, end - first) : 0;

	return rc ? bow_err_errno(err, rc, "%s: keep the free map", v->dev->name) : 0;
}

int bow_freemap_volume(const struct bow_freemap_job *job, const struct bow_content *content,
		       struct bow_bitmap *out, struct bow_freemap_info *info,
		       struct bowimg_error *err)
{
	const struct volume v = {.job = job,
				 .dev = job->dev,
				 .content = content,
				 .off = content->off,
				 .bytes = content->bytes,
				 .kind = bow_fs_find(content->found.type)};
	int rc = read_source(&v, out, info, err);

	return rc ? rc : clip(&v, out, info, err);
}
