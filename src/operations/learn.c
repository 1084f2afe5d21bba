/* SPDX-License-Identifier: MIT */
/*
 * Learning the free map from a guest: the image is served as it is, and what the guest trims is
 * remembered until it writes there again (maps/trims.h).
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "maps/freemap.h"
#include "maps/served.h"
#include "operations/internal.h"

struct bowimg_learner {
	struct bowimg_volume all;
};

static void release(bowimg_learner *learner)
{
	bow_served_release(&learner->all);
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
	if (bow_served_init(&learner->all, dev, 0, dev->size, true)) {
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
	return bowimg_volume_size(&learner->all);
}

int bowimg_learn_read(bowimg_learner *learner, void *buf, size_t bytes, uint64_t off,
		      struct bowimg_error *err)
{
	return bowimg_volume_read(&learner->all, buf, bytes, off, err);
}

int bowimg_learn_write(bowimg_learner *learner, const void *buf, size_t bytes, uint64_t off,
		       unsigned flags, struct bowimg_error *err)
{
	return bowimg_volume_write(&learner->all, buf, bytes, off, flags, err);
}

int bowimg_learn_zero(bowimg_learner *learner, uint64_t off, uint64_t bytes, unsigned flags,
		      struct bowimg_error *err)
{
	return bowimg_volume_zero(&learner->all, off, bytes, flags, err);
}

int bowimg_learn_discard(bowimg_learner *learner, uint64_t off, uint64_t bytes,
			 struct bowimg_error *err)
{
	return bowimg_volume_discard(&learner->all, off, bytes, err);
}

int bowimg_learn_flush(bowimg_learner *learner, struct bowimg_error *err)
{
	return bowimg_volume_flush(&learner->all, err);
}

/* What was trimmed, in whole blocks. */
static int free_map(bowimg_learner *learner, struct bow_bitmap *out, struct bow_freemap_info *info,
		    struct bowimg_error *err)
{
	*info = (struct bow_freemap_info){.source = "trim", .what = "a guest that trims"};
	if (bow_trims_mark(&learner->all.trims, out, learner->all.bytes, 0, &info->fs_free_bytes))
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
	struct bow_dev *dev = learner->all.dev;
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(dev->size, BOW_BLOCK));
	struct bow_freemap_info info;
	int rc;

	if (!map)
		return bow_err_errno(err, -ENOMEM, "keep the free map");
	/* The guest may have written anything: another format, or a checkpoint's first block. */
	rc = bow_prepare_check(dev, err);
	if (!rc)
		rc = free_map(learner, map, &info, err);
	if (!rc)
		rc = bow_prepare_with_map(dev, opts, map, &info, report, err);
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
	dev = learner->all.dev;
	rc = learner->all.failed ? bow_err(err, -EIO, "an earlier flush failed") : 0;
	if (!rc)
		rc = bow_dev_flush(dev, err);
	if (!rc && opts)
		rc = prepare(learner, opts, report, err);
	release(learner);
	return done(dev, rc, err);
}
