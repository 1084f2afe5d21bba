/* SPDX-License-Identifier: MIT */
/*
 * Block 0, which has one writer at a time (rule 16).
 *
 * The device remembers what was last read from or written to it; before each write that is compared
 * with the storage. If they differ, another program has written to the image: nothing is written,
 * and the caller gives up.
 *
 * The comparison is a read, not a barrier, and goes past the page cache: a partition and its disk,
 * a device and what is built on it, and two machines on shared storage have caches of their own.
 * Another program may come in the moment between the comparison and the write; no storage offers
 * more.
 */
#include "lib/disk/disk.h"

#include <string.h>
#include "lib/base/bytes.h"

/* As direct I/O requires it. */
#define ALIGNED __attribute__((aligned(BOWIMG_BLOCK_SIZE)))

/* A backend without a way past its cache drops its copy of the block, if that is clean. */
static int read_storage(struct bowimg_disk *dev, uint8_t block[BOWIMG_BLOCK_SIZE], uint32_t bytes,
			struct bowimg_error *err)
{
	int rc = -EOPNOTSUPP;

	if (dev->ops->read_block0 && bow_disk_size(dev) >= BOWIMG_BLOCK_SIZE)
		rc = dev->ops->read_block0(dev, block);
	if (rc != -EOPNOTSUPP)
		return rc ? bow_err_errno(err, rc, "%s: read block 0 from the storage", dev->name)
			  : 0;
	rc = bow_disk_drop_cache(dev, 0, bytes, err);
	return rc ? rc : bow_disk_read(dev, block, bytes, 0, err);
}

int bow_disk_read_first(struct bowimg_disk *dev, struct bowimg_error *err)
{
	uint32_t bytes = (uint32_t)bow_min(bow_disk_size(dev), BOWIMG_BLOCK_SIZE);
	uint8_t block[BOWIMG_BLOCK_SIZE] ALIGNED;
	int rc;

	/* A disk that is only looked at is not changed, not even its cache. */
	rc = dev->readonly ? bow_disk_read(dev, block, bytes, 0, err)
			   : read_storage(dev, block, bytes, err);
	dev->first_bytes = rc ? 0 : bytes;
	if (!rc)
		memcpy(dev->first, block, bytes);
	return rc;
}

void bow_disk_narrow_first(struct bowimg_disk *dev, uint32_t bytes)
{
	dev->first_bytes = (uint32_t)bow_min(dev->first_bytes, bytes);
}

int bow_disk_refuse_first(const struct bowimg_disk *dev, struct bowimg_error *err)
{
	bow_err(err, -ESTALE,
		"%s: another program wrote to block 0 while bowimg had the image open; bowimg "
		"leaves the image as it is now",
		dev->name);
	bow_err_hint(err,
		     "find and end that program, then see what the image is now: bowimg status "
		     "%.120s",
		     dev->name);
	return -ESTALE;
}

int bow_disk_check_first(struct bowimg_disk *dev, struct bowimg_error *err)
{
	uint8_t block[BOWIMG_BLOCK_SIZE] ALIGNED;
	int rc;

	if (!dev->first_bytes)
		return bow_err(err, -EINVAL, "%s: block 0 must be read before it is written",
			       dev->name);
	rc = read_storage(dev, block, dev->first_bytes, err);
	/* dev->first stays what it was: a second try is refused again. */
	return !rc && memcmp(block, dev->first, dev->first_bytes) != 0
		       ? bow_disk_refuse_first(dev, err)
		       : rc;
}

int bow_disk_write_first(struct bowimg_disk *dev, const void *buf, size_t bytes, size_t off,
			 struct bowimg_error *err)
{
	int rc = bow_range_ok(off, bytes, dev->first_bytes)
			 ? bow_disk_check_first(dev, err)
			 : bow_err(err, -EINVAL, "%s: not within block 0", dev->name);

	if (!rc)
		rc = bow_disk_write(dev, buf, bytes, off, err);
	if (!rc)
		memcpy(dev->first + off, buf, bytes);
	return rc;
}
