/* SPDX-License-Identifier: MIT */
#include "lib/freespace/helpers/volume.h"

#include <stdlib.h>

static struct bow_volume *self(struct bowimg_disk *disk)
{
	return (struct bow_volume *)disk;
}

/* Called before anything is written: what was discarded there is used again. */
static int take_back(struct bow_volume *vol, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	if (!vol->writable) {
		vol->refused = true;
		return bow_err(err, -EROFS, "%s is served for reading only", vol->dev->name);
	}
	if (vol->failed)
		return bow_err(err, -EIO, "an earlier flush failed: no more writes");
	if (bow_trims_take_back(&vol->trims, off, bytes))
		return bow_err_errno(err, -ENOMEM, "write");
	vol->written += bytes;
	return 0;
}

static int vol_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	return bow_disk_read(self(disk)->dev, buf, bytes, self(disk)->off + off, err);
}

static int vol_write(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	struct bow_volume *vol = self(disk);
	int rc = take_back(vol, off, bytes, err);

	return rc ? rc : bow_disk_write(vol->dev, buf, bytes, vol->off + off, err);
}

static int vol_zero(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		    struct bowimg_error *err)
{
	struct bow_volume *vol = self(disk);
	int rc = take_back(vol, off, bytes, err);

	return rc ? rc : bow_disk_zero(vol->dev, vol->off + off, bytes, BOW_ZERO_PUNCH, err);
}

static int vol_discard(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err)
{
	(void)err;
	bow_trims_add(&self(disk)->trims, off, bytes);
	return 0;
}

static int vol_flush(struct bowimg_disk *disk, struct bowimg_error *err)
{
	struct bow_volume *vol = self(disk);
	int rc = vol->writable ? bow_disk_flush(vol->dev, err) : 0;

	if (rc)
		vol->failed = true;
	return rc;
}

static int vol_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	struct bow_volume *vol = self(disk);
	struct bowimg_disk *dev = vol->owns_dev ? vol->dev : NULL;
	int rc = 0, rc_close;

	if (dev && vol->failed)
		rc = bow_err(err, -EIO, "an earlier flush failed");
	else if (dev)
		rc = bow_disk_flush(dev, err);
	bow_trims_release(&vol->trims);
	free(vol);
	rc_close = bow_disk_close(dev, rc ? NULL : err);
	return rc ? rc : rc_close;
}

/* The disk is not marked read-only, so that a write to a read-only volume is noticed here. */
static const struct bow_disk_ops ops = {
	.read = vol_read,
	.write = vol_write,
	.zero = vol_zero,
	.discard = vol_discard,
	.flush = vol_flush,
	.close = vol_close,
};

struct bow_volume *bow_volume_of(bowimg_disk *disk)
{
	return disk->built == &ops ? self(disk) : NULL;
}

struct bow_volume *bow_volume_new(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
				  bool writable)
{
	struct bow_volume *vol = calloc(1, sizeof(*vol));

	if (!vol)
		return NULL;
	vol->disk = (struct bowimg_disk){
		.built = &ops,
		.name = dev->name,
		.size = bytes,
		.sector_size = dev->sector_size,
		.io_hint = dev->io_hint,
	};
	vol->dev = dev;
	vol->off = off;
	vol->writable = writable && !dev->readonly;
	if (!bow_trims_init(&vol->trims, bytes))
		return vol;
	bow_trims_release(&vol->trims);
	free(vol);
	return NULL;
}

static int no_helpers(const struct bow_part_of *part, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: it cannot be exposed to a program here", part->dev->name);
	bow_err_hint(err, "the bowimg program can do that, through FUSE");
	return -EOPNOTSUPP;
}

int bow_volume_run(const struct bowimg_helpers *helpers, const struct bow_part_of *part,
		   const struct bow_helper *h, struct bow_helper_end *end, struct bowimg_error *err)
{
	struct bow_volume *vol;
	void *exposed;
	int fd, rc;

	*end = (struct bow_helper_end){.status = -1};
	if (!helpers || !helpers->expose)
		return no_helpers(part, err);
	vol = bow_volume_new(part->dev, part->off, part->bytes, false);
	if (!vol)
		return bow_err_errno(err, -ENOMEM, "%s: expose it to a program", part->dev->name);
	rc = helpers->expose(helpers->ctx, &vol->disk, &fd, &exposed, err);
	if (!rc) {
		rc = bow_helper_run(h, fd, end, err);
		helpers->unexpose(helpers->ctx, exposed);
	}
	bow_disk_close(&vol->disk, NULL);
	return rc;
}
