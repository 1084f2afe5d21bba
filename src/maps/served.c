/* SPDX-License-Identifier: MIT */
#include "maps/served.h"

#include <inttypes.h>

int bow_served_init(struct bowimg_volume *vol, struct bow_dev *dev, uint64_t off, uint64_t bytes,
		    bool writable)
{
	vol->dev = dev;
	vol->off = off;
	vol->bytes = bytes;
	vol->writable = writable && !dev->readonly;
	vol->written = 0;
	vol->refused = vol->failed = false;
	return bow_trims_init(&vol->trims, bytes);
}

void bow_served_release(struct bowimg_volume *vol)
{
	bow_trims_release(&vol->trims);
}

uint64_t bowimg_volume_size(const bowimg_volume *vol)
{
	return vol->bytes;
}

static int check_range(const bowimg_volume *vol, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err)
{
	if (off <= vol->bytes && bytes <= vol->bytes - off)
		return 0;
	return bow_err(err, -EINVAL,
		       "request of %" PRIu64 " bytes at %" PRIu64 ": beyond the end of the disk",
		       bytes, off);
}

/* Before anything is written: forget what was trimmed there. */
static int take_back(bowimg_volume *vol, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	int rc = check_range(vol, off, bytes, err);

	if (rc)
		return rc;
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

int bowimg_volume_flush(bowimg_volume *vol, struct bowimg_error *err)
{
	int rc = vol->writable ? bow_dev_flush(vol->dev, err) : 0;

	if (rc)
		vol->failed = true;
	return rc;
}

int bowimg_volume_read(bowimg_volume *vol, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	int rc = check_range(vol, off, bytes, err);

	return rc || !bytes ? rc : bow_dev_read(vol->dev, buf, bytes, vol->off + off, err);
}

int bowimg_volume_write(bowimg_volume *vol, const void *buf, size_t bytes, uint64_t off,
			unsigned flags, struct bowimg_error *err)
{
	int rc = take_back(vol, off, bytes, err);

	if (!rc && bytes)
		rc = bow_dev_write(vol->dev, buf, bytes, vol->off + off, err);
	if (!rc && flags & BOWIMG_FUA)
		rc = bowimg_volume_flush(vol, err);
	return rc;
}

int bowimg_volume_zero(bowimg_volume *vol, uint64_t off, uint64_t bytes, unsigned flags,
		       struct bowimg_error *err)
{
	int rc = take_back(vol, off, bytes, err);

	if (!rc && bytes)
		rc = bow_dev_zero(vol->dev, vol->off + off, bytes, BOW_ZERO_PUNCH, err);
	if (!rc && flags & BOWIMG_FUA)
		rc = bowimg_volume_flush(vol, err);
	return rc;
}

int bowimg_volume_discard(bowimg_volume *vol, uint64_t off, uint64_t bytes,
			  struct bowimg_error *err)
{
	int rc = check_range(vol, off, bytes, err);

	if (!rc)
		bow_trims_add(&vol->trims, off, bytes);
	return rc;
}
