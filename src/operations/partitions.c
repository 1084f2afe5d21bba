/* SPDX-License-Identifier: MIT */
/*
 * The partitions of a disk as its guest sees them. While a checkpoint is open, block 0 of the image
 * is bowimg's own, and other blocks may be promised to read as zeros: so the table is read through
 * a device that shows what the guest would see, of a handle or of a log that was just loaded.
 */
#include "operations/internal.h"

/* ---- an image at rest, or served by another process -------------------------------------------
 */

struct view {
	struct bow_dev dev; /* must be first */
	struct bow_checkpoint *cp;
};

static int64_t view_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off)
{
	const struct view *v = (const struct view *)dev;

	return bow_checkpoint_read(v->cp, buf, bytes, off, NULL);
}

static const struct bow_dev_ops view_ops = {.read = view_read};

static int list(struct bow_dev *dev, int (*partition)(void *ctx, const struct bowimg_partition *p),
		void *ctx, struct bowimg_error *err)
{
	struct bow_opened o;
	struct view v = {.dev = {.ops = &view_ops, .name = dev->name}, .cp = &o.cp};
	int rc = bow_checkpoint_open(dev, 0, BOWIMG_FORCE_CHANGED, &o, err);

	v.dev.size = o.cp.sb.image_size;
	v.dev.sector_size = dev->sector_size;
	v.dev.readonly = true;
	if (!rc && o.state == BOWIMG_STATE_NONE)
		rc = bow_freemap_list(dev, partition, ctx, err);
	else if (!rc && o.state == BOWIMG_STATE_CHECKPOINT)
		rc = bow_freemap_list(&v.dev, partition, ctx, err);
	else if (!rc)
		rc = bow_wrong_state(o.state, "show the partitions", err);
	bow_opened_release(&o);
	return rc;
}

int bowimg_partitions(const char *path,
		      int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		      struct bowimg_error *err)
{
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_LOOK, &dev, err);

	if (rc)
		return rc;
	rc = list(dev, partition, ctx, err);
	bow_dev_close(dev, NULL); /* only read from: nothing can be lost */
	return rc;
}

/* ---- handles -----------------------------------------------------------------------------------
 */

/* A disk that is read through one of the calls of bowimg.h. */
struct handle {
	struct bow_dev dev; /* must be first */
	bowimg *img;
	bowimg_look *look;
	enum bowimg_side side;
};

static int64_t handle_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off)
{
	const struct handle *h = (const struct handle *)dev;
	int rc = h->img ? bowimg_read(h->img, buf, bytes, off, NULL)
			: bowimg_look_read(h->look, h->side, buf, bytes, off, NULL);

	return rc ? rc : (int64_t)bytes;
}

static const struct bow_dev_ops handle_ops = {.read = handle_read};

static void set_dev(struct handle *h, const struct bow_dev *image, uint64_t size)
{
	h->dev.ops = &handle_ops;
	h->dev.name = image->name;
	h->dev.size = size;
	h->dev.sector_size = image->sector_size;
	h->dev.readonly = true;
}

int bowimg_disk_partitions(bowimg *img,
			   int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			   struct bowimg_error *err)
{
	struct handle h = {.img = img};

	set_dev(&h, bow_engine_device(img), bowimg_size(img));
	return bow_freemap_list(&h.dev, partition, ctx, err);
}

int bowimg_look_partitions(bowimg_look *look, enum bowimg_side side,
			   int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			   struct bowimg_error *err)
{
	struct handle h = {.look = look, .side = side};

	set_dev(&h, bow_look_device(look), bowimg_look_size(look));
	return bow_freemap_list(&h.dev, partition, ctx, err);
}
