/* SPDX-License-Identifier: MIT */
/*
 * The free map by the kernel: it mounts the file system for reading and discards what is free, and
 * what it discards is collected. That the mount is for reading matters: on one for writing, a loop
 * device sends the same request for zeros as for "free".
 *
 * Mounting may replay a journal, which writes to the image. That is before the checkpoint, is told,
 * and is refused where nothing may be written (a dry run).
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "device/slice.h"
#include "maps/freemap.h"
#include "maps/fs.h"
#include "maps/served.h"

static int nobody(struct bow_dev *dev, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: nobody here can let the kernel mount it",
		dev->name);
	bow_err_hint(err, "run bowimg prepare --free-from=trim as root");
	return -EOPNOTSUPP;
}

static int check(struct bow_dev *dev, uint64_t off, uint64_t bytes, const struct bow_fs_kind *kind,
		 struct bowimg_error *err)
{
	struct bow_dev *vol;
	int rc = bow_dev_slice(dev, off, bytes, &vol, err);

	if (rc)
		return rc;
	rc = kind->check(vol, BOW_FS_KERNEL, err);
	bow_dev_close(vol, NULL);
	return rc;
}

static void say_written(const struct bowimg_volume *vol, const struct bowimg_events *events)
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

static int must_write(struct bow_dev *dev, struct bowimg_error *err)
{
	bow_err_clear(err);
	bow_err(err, -EROFS,
		"%s: read the free map: to mount it the kernel must write to it (its journal or "
		"log), which this command may not; nothing was changed",
		dev->name);
	bow_err_hint(err, "prepare does without -n; partclone does not need it at all");
	return -EROFS;
}

static int learn(struct bowimg_volume *vol, const struct bow_fs_kind *kind, struct bow_bitmap *out,
		 struct bow_freemap_info *info, const struct bowimg_events *events,
		 struct bowimg_error *err)
{
	const struct bowimg_helpers *helpers = events->helpers;
	int rc = helpers->trim(helpers->ctx, vol, kind->type, err);

	say_written(vol, events);
	if (rc && vol->refused)
		return must_write(vol->dev, err);
	if (!rc)
		rc = bowimg_volume_flush(vol, err);
	if (!rc && vol->failed)
		rc = bow_err(err, -EIO, "%s: an earlier flush failed", vol->dev->name);
	if (!rc && bow_trims_mark(&vol->trims, out, vol->dev->size, vol->off, &info->fs_free_bytes))
		rc = bow_err_errno(err, -ENOMEM, "%s: keep the free map", vol->dev->name);
	return rc ? bow_err_wrap(err, rc, "%s: read the free map", vol->dev->name) : 0;
}

int bow_freemap_trim(struct bow_dev *dev, uint64_t off, uint64_t bytes,
		     const struct bow_fs_kind *kind, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err)
{
	struct bowimg_volume vol;
	int rc;

	if (!events || !events->helpers || !events->helpers->trim)
		return nobody(dev, err);
	rc = check(dev, off, bytes, kind, err);
	if (rc)
		return rc;
	*info = (struct bow_freemap_info){.source = "trim"};
	snprintf(info->what, sizeof(info->what), "%s", kind->name);
	rc = bow_served_init(&vol, dev, off, bytes, true)
		     ? bow_err_errno(err, -ENOMEM, "%s: read the free map", dev->name)
		     : learn(&vol, kind, out, info, events, err);
	bow_served_release(&vol);
	return rc;
}
