/* SPDX-License-Identifier: MIT */
/*
 * Learning the free map from a guest: the image is served as it is, and what the guest trims is
 * remembered until it writes there again.
 *
 * Kept are sectors of 512 bytes, since file systems with small blocks trim pieces that are no whole
 * blocks of ours but join to such. A trim shrinks inward to sectors, a write widens outward, and a
 * write forgets the trim before its data moves: a sector that the guest wrote is never called free.
 * Only trims count. A request for zeros, whether it may punch holes or not, asks for content.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "maps/freemap.h"
#include "operations/internal.h"

#define SECTOR 512u

struct bowimg_learner {
	struct bow_dev *dev;
	pthread_mutex_t lock;
	struct bow_bitmap *trimmed; /* in sectors; guarded by lock */
	bool failed;		    /* a barrier failed: no checkpoint on what may not be there */
};

static void release(bowimg_learner *learner)
{
	bow_bitmap_free(learner->trimmed);
	pthread_mutex_destroy(&learner->lock);
	free(learner);
}

/* Close the device; an error that is there already counts for more than one from closing. */
static int done(struct bow_dev *dev, int rc, struct bowimg_error *err)
{
	int rc_close;

	if (rc)
		bow_err_wrap(err, rc, "%s", dev->name);
	rc_close = bow_dev_close(dev, rc ? NULL : err);
	return rc ? rc : rc_close;
}

static int new_learner(struct bow_dev *dev, bowimg_learner **out, struct bowimg_error *err)
{
	bowimg_learner *learner = calloc(1, sizeof(*learner));

	if (!learner)
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	learner->dev = dev;
	pthread_mutex_init(&learner->lock, NULL);
	learner->trimmed = bow_bitmap_new(bow_div_up(dev->size, SECTOR));
	if (!learner->trimmed) {
		release(learner);
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	}
	*out = learner;
	return 0;
}

int bowimg_learn_open(const char *path, bowimg_learner **out, struct bowimg_error *err)
{
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_EXCLUSIVE, &dev, err);

	if (rc)
		return rc;
	rc = bow_prepare_check(dev, err);
	if (!rc)
		rc = new_learner(dev, out, err);
	return rc ? done(dev, rc, err) : 0;
}

uint64_t bowimg_learn_size(const bowimg_learner *learner)
{
	return learner->dev->size;
}

static int check_range(const bowimg_learner *learner, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err)
{
	if (off <= learner->dev->size && bytes <= learner->dev->size - off)
		return 0;
	return bow_err(err, -EINVAL,
		       "request of %" PRIu64 " bytes at %" PRIu64 ": beyond the end of the disk",
		       bytes, off);
}

/* Before anything is written: forget what was trimmed there, pieces of sectors included. */
static int take_back(bowimg_learner *learner, uint64_t off, uint64_t bytes,
		     struct bowimg_error *err)
{
	uint64_t first = off / SECTOR;
	int rc = check_range(learner, off, bytes, err);

	if (rc || !bytes)
		return rc;
	pthread_mutex_lock(&learner->lock);
	if (learner->failed)
		rc = bow_err(err, -EIO, "an earlier flush failed: no more writes");
	else if (bow_bitmap_clear(learner->trimmed, first, bow_div_up(off + bytes, SECTOR) - first))
		rc = bow_err_errno(err, -ENOMEM, "write");
	pthread_mutex_unlock(&learner->lock);
	return rc;
}

int bowimg_learn_flush(bowimg_learner *learner, struct bowimg_error *err)
{
	int rc = bow_dev_flush(learner->dev, err);

	if (rc) {
		pthread_mutex_lock(&learner->lock);
		learner->failed = true;
		pthread_mutex_unlock(&learner->lock);
	}
	return rc;
}

int bowimg_learn_read(bowimg_learner *learner, void *buf, size_t bytes, uint64_t off,
		      struct bowimg_error *err)
{
	int rc = check_range(learner, off, bytes, err);

	return rc || !bytes ? rc : bow_dev_read(learner->dev, buf, bytes, off, err);
}

int bowimg_learn_write(bowimg_learner *learner, const void *buf, size_t bytes, uint64_t off,
		       unsigned flags, struct bowimg_error *err)
{
	int rc = take_back(learner, off, bytes, err);

	if (!rc && bytes)
		rc = bow_dev_write(learner->dev, buf, bytes, off, err);
	if (!rc && flags & BOWIMG_FUA)
		rc = bowimg_learn_flush(learner, err);
	return rc;
}

int bowimg_learn_zero(bowimg_learner *learner, uint64_t off, uint64_t bytes, unsigned flags,
		      struct bowimg_error *err)
{
	int rc = take_back(learner, off, bytes, err);

	if (!rc && bytes)
		rc = bow_dev_zero(learner->dev, off, bytes, BOW_ZERO_PUNCH, err);
	if (!rc && flags & BOWIMG_FUA)
		rc = bowimg_learn_flush(learner, err);
	return rc;
}

int bowimg_learn_discard(bowimg_learner *learner, uint64_t off, uint64_t bytes,
			 struct bowimg_error *err)
{
	uint64_t first = bow_div_up(off, SECTOR), end = (off + bytes) / SECTOR;
	int rc = check_range(learner, off, bytes, err);

	if (rc || first >= end)
		return rc;
	pthread_mutex_lock(&learner->lock);
	/* Without memory for it the range stays in use, which is always right. */
	(void)!bow_bitmap_set(learner->trimmed, first, end - first);
	pthread_mutex_unlock(&learner->lock);
	return 0;
}

/* What was trimmed, in whole blocks. */
static int free_map(const bowimg_learner *learner, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err)
{
	uint64_t end = bow_bitmap_bits(learner->trimmed), start = 0, count;

	*info = (struct bow_freemap_info){.source = "trim", .what = "a guest that trims"};
	info->fs_free_bytes = bow_bitmap_count(learner->trimmed) * SECTOR;
	for (; bow_bitmap_next_run(learner->trimmed, &start, &count, end); start += count)
		if (bow_freemap_mark(out, learner->dev->size, start * SECTOR, count * SECTOR))
			return bow_err_errno(err, -ENOMEM, "keep the free map");
	if (bow_bitmap_count(out))
		return 0;
	bow_err(err, -ENOSPC, "nothing was trimmed, so that no free block is known");
	bow_err_hint(err, "the guest must run fstrim, and its disk must pass it on (QEMU: "
			  "discard=unmap)");
	return -ENOSPC;
}

static int prepare(bowimg_learner *learner, const struct bowimg_prepare_options *opts,
		   struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(learner->dev->size, BOW_BLOCK));
	struct bow_freemap_info info;
	int rc;

	if (!map)
		return bow_err_errno(err, -ENOMEM, "keep the free map");
	/* The guest may have written anything: another format, or a checkpoint's first block. */
	rc = bow_prepare_check(learner->dev, err);
	if (!rc)
		rc = free_map(learner, map, &info, err);
	if (!rc)
		rc = bow_prepare_with_map(learner->dev, opts, map, &info, report, err);
	bow_bitmap_free(map);
	return rc;
}

int bowimg_learn_close(bowimg_learner *learner, const struct bowimg_prepare_options *opts,
		       struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct bow_dev *dev;
	int rc;

	if (!learner)
		return 0;
	dev = learner->dev;
	rc = learner->failed ? bow_err(err, -EIO, "an earlier flush failed") : 0;
	if (!rc)
		rc = bow_dev_flush(dev, err);
	if (!rc && opts)
		rc = prepare(learner, opts, report, err);
	release(learner);
	return done(dev, rc, err);
}
