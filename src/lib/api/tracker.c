/* SPDX-License-Identifier: MIT */
/*
 * The discard tracker: it serves the image as it is, and remembers what the guest trims until the
 * guest writes there again (freespace/helpers/trims.h).
 */
#include "lib/api/api.h"
#include "lib/base/bytes.h"
#include "lib/format/format.h"
#include "lib/freespace/helpers/volume.h"
#include "lib/verbs/operations.h"

int bowimg_open_tracker(const char *path, const struct bowimg_options *opts, bowimg_disk **out,
			struct bowimg_error *err)
{
	struct bow_volume *all;
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_prepare_check(dev, err);
	if (rc)
		return bow_public_done(dev, path, rc, err);
	all = bow_volume_new(dev, 0, dev->size, true);
	if (!all) {
		rc = bow_err_errno(err, -ENOMEM, "cannot set up for serving");
		return bow_public_done(dev, path, rc, err);
	}
	all->owns_dev = true;
	*out = &all->disk;
	return 0;
}

/* The trimmed blocks become the free map. */
static int free_map(struct bow_volume *all, struct bow_bitmap *out, struct bow_freemap_info *info,
		    struct bowimg_error *err)
{
	*info = (struct bow_freemap_info){.source = "trim", .what = "a guest that trims"};
	if (bow_trims_mark(&all->trims, out, all->disk.size, 0, &info->fs_free_bytes))
		return bow_err_errno(err, -ENOMEM, "cannot keep the free map");
	if (bow_bitmap_count(out))
		return 0;
	bow_err(err, -ENOSPC, "nothing was trimmed, so no free block is known");
	bow_err_hint(err, "the guest must run fstrim, and its disk must pass it on (QEMU: "
			  "discard=unmap)");
	return -ENOSPC;
}

static int prepare(struct bow_volume *all, const struct bowimg_prepare_options *opts,
		   struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(all->dev->size, BOW_BLOCK));
	struct bow_freemap_info info;
	int rc;

	if (!map)
		return bow_err_errno(err, -ENOMEM, "cannot keep the free map");
	/* The guest may have written anything: another format, or a checkpoint's first block. */
	rc = bow_prepare_check(all->dev, err);
	if (!rc)
		rc = free_map(all, map, &info, err);
	if (!rc)
		rc = bow_prepare_with_map(all->dev, opts, map, &info, report, err);
	bow_bitmap_free(map);
	return rc;
}

int bowimg_disk_prepare(bowimg_disk *disk, const struct bowimg_prepare_options *opts,
			struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct bow_volume *all = bow_volume_of(disk);
	int rc, rc_close;

	if (!all || !all->owns_dev) {
		rc = bow_err(err, -EINVAL, "%s: its discards are not tracked", disk->name);
		bow_disk_close(disk, NULL);
		return rc;
	}
	rc = all->failed ? bow_err(err, -EIO, "%s: an earlier flush failed", disk->name)
			 : bow_disk_flush(all->dev, err);
	if (!rc)
		rc = prepare(all, opts, report, err);
	if (rc)
		bow_err_name(err, rc, disk->name);
	rc_close = bow_disk_close(disk, rc ? NULL : err);
	return rc ? rc : rc_close;
}
