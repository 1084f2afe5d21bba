/* SPDX-License-Identifier: MIT */
/*
 * The free map by the kernel: it mounts the file system read-only and discards what is free, and
 * the discards are collected. On a writable mount they could not be: there a loop device sends the
 * same request for zeros as for "free".
 *
 * Mounting may replay a journal, which writes to the image. That happens before the checkpoint, and
 * there is a notice of it. If nothing may be written (a dry run), it is refused.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/disk/part.h"
#include "lib/freespace/freemap.h"
#include "lib/freespace/fs/kinds.h"
#include "lib/freespace/helpers/volume.h"

static int no_helper(struct bowimg_disk *dev, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: read the free map: there is no helper to let the kernel mount it", dev->name);
	bow_err_hint(err, "run bowimg prepare --free-from=trim as root");
	return -EOPNOTSUPP;
}

static int check(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		 const struct bow_fs_kind *kind, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	struct bowimg_disk *vol;
	int rc = bow_disk_part(dev, off, bytes, &vol, err);

	if (rc)
		return rc;
	rc = kind->check(vol, BOW_FS_KERNEL, limits, err);
	bow_disk_close(vol, NULL);
	return rc;
}

static void log_written(const struct bow_volume *vol, const struct bowimg_events *events)
{
	uint64_t written = vol->written;
	char text[160];

	if (!written || !events->notice)
		return;
	snprintf(text, sizeof(text),
		 "mounting it to read the free map wrote %" PRIu64
		 " bytes (its journal or log), before the checkpoint",
		 written);
	events->notice(events->ctx, text);
}

static int must_write(struct bowimg_disk *dev, struct bowimg_error *err)
{
	bow_err_clear(err);
	bow_err(err, -EROFS,
		"%s: read the free map: to mount it the kernel must write to it (its journal or "
		"log), which this command may not; nothing was changed",
		dev->name);
	bow_err_hint(err, "prepare does it, without -n; without --free-from nothing is mounted");
	return -EROFS;
}

static int track(struct bow_volume *vol, const struct bow_fs_kind *kind, struct bow_bitmap *out,
		 struct bow_freemap_info *info, const struct bowimg_events *events,
		 struct bowimg_error *err)
{
	const struct bowimg_helpers *helpers = events->helpers;
	int rc = helpers->trim(helpers->ctx, &vol->disk, kind->type, err);

	log_written(vol, events);
	if (rc && vol->refused)
		return must_write(vol->dev, err);
	if (!rc)
		rc = bow_disk_flush(&vol->disk, err);
	if (!rc && vol->failed)
		rc = bow_err(err, -EIO, "%s: an earlier flush failed", vol->dev->name);
	if (!rc && bow_trims_mark(&vol->trims, out, vol->dev->size, vol->off, &info->fs_free_bytes))
		rc = bow_err_errno(err, -ENOMEM, "%s: keep the free map", vol->dev->name);
	return rc ? bow_err_wrap(err, rc, "%s: read the free map", vol->dev->name) : 0;
}

int bow_freemap_trim(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		     const struct bow_fs_kind *kind, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err)
{
	struct bow_fs_limits limits = {0};
	struct bow_volume *vol;
	int rc;

	if (!events || !events->helpers || !events->helpers->trim)
		return no_helper(dev, err);
	rc = check(dev, off, bytes, kind, &limits, err);
	if (rc)
		return rc;
	*info = (struct bow_freemap_info){
		.source = "trim", .extent_bytes = limits.extent, .only_exact = limits.only_exact};
	snprintf(info->what, sizeof(info->what), "%s", kind->name);
	vol = bow_volume_new(dev, off, bytes, true);
	if (!vol)
		return bow_err_errno(err, -ENOMEM, "%s: read the free map", dev->name);
	rc = track(vol, kind, out, info, events, err);
	bow_disk_close(&vol->disk, NULL);
	return rc;
}
