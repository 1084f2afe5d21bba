/* SPDX-License-Identifier: MIT */
/*
 * Views of an image with an open checkpoint that no process serves: a disk as it is now, from that
 * one others as it was at prepare or at a mark, and which blocks may differ. Nothing is ever
 * written. The image is locked against writers, so the log that was read stays true.
 *
 * The block states say how the disk reads now. At prepare, a used block was what its backup holds,
 * or zeros, or what the image has there: it was never overwritten, or a power cut took its backup
 * before it was overwritten (rule 9). Free blocks were zeros (exact mode), or their content does
 * not matter. The same is true of a mark and the oldest backup made since; but what read as zeros
 * at the mark did so whatever the image had there. A backup is checked when the first of its blocks
 * is read.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/views/views.h"

static void view_info(const struct bowimg_disk *disk, struct bowimg_disk_info *out)
{
	bow_past_info(NULL, &((const struct view *)disk)->cp.sb, out);
}

/* ---- as it was ------------------------------------------------------------------- */

static int before_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	uint8_t *p = buf;
	int64_t k;

	for (; bytes; p += k, off += (uint64_t)k, bytes -= (size_t)k) {
		k = bow_view_read_before((const struct view_before *)disk, p, bytes, off, err);
		if (k < 0)
			return (int)k;
	}
	return 0;
}

static int before_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	(void)err;
	bow_past_release(&((struct view_before *)disk)->past);
	free(disk);
	return 0;
}

static int before_extent(struct bowimg_disk *disk, uint64_t off, bool *zeros, uint64_t *bytes,
			 struct bowimg_error *err)
{
	(void)err;
	*bytes = bow_view_extent_before((const struct view_before *)disk, off, disk->size - off,
					zeros);
	return 0;
}

static void before_info(const struct bowimg_disk *disk, struct bowimg_disk_info *out)
{
	const struct view_before *b = (const struct view_before *)disk;

	bow_past_info(&b->past, &b->view->cp.sb, out);
}

static const struct bow_disk_ops before_ops = {
	.read = before_read, .extent = before_extent, .close = before_close, .info = before_info};

static int view_before(struct bowimg_disk *disk, const char *mark, struct bowimg_disk **out,
		       struct bowimg_error *err)
{
	const struct view *v = (const struct view *)disk;
	struct view_before *b;
	uint32_t epoch;
	int rc = bow_epoch_find(&v->cp, mark, &epoch, err);

	if (rc)
		return rc;
	b = calloc(1, sizeof(*b));
	if (!b)
		return bow_err_errno(err, -ENOMEM, "cannot view the disk as it was");
	b->disk = *disk;
	b->disk.built = &before_ops;
	b->view = v;
	rc = bow_past_load(&b->past, &v->cp, epoch, err);
	if (rc) {
		before_close(&b->disk, NULL);
		return bow_err_wrap(err, rc, "cannot view the disk as it was");
	}
	*out = &b->disk;
	return 0;
}

/* ---- as it is now ---------------------------------------------------------------- */

static int view_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = &((const struct view *)disk)->cp;
	uint8_t *p = buf;
	int64_t k;

	for (; bytes; p += k, off += (uint64_t)k, bytes -= (size_t)k) {
		k = bow_own_read_now(cp, p, bytes, off, err);
		if (k < 0)
			return (int)k;
	}
	return 0;
}

static int view_extent(struct bowimg_disk *disk, uint64_t off, bool *zeros, uint64_t *bytes,
		       struct bowimg_error *err)
{
	(void)err;
	*bytes = bow_view_extent_now((const struct view *)disk, off, disk->size - off, zeros);
	return 0;
}

static void release(struct view *v)
{
	for (uint32_t i = 0; v->backups && i < v->cp.n_epochs; i++)
		bow_backup_index_release(&v->backups[i]);
	free(v->backups);
	bow_checkpoint_release(&v->cp);
	free(v);
}

static int view_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	struct view *v = (struct view *)disk;
	struct bowimg_disk *dev = v->dev;

	release(v);
	return bow_disk_close(dev, err);
}

static const struct bow_disk_ops view_ops = {
	.read = view_read,
	.extent = view_extent,
	.close = view_close,
	.before = view_before,
	.changes = bow_view_changes,
	.info = view_info,
};

/* ---- open ------------------------------------------------------------------------ */

static int find_backups(struct view *v, struct bowimg_error *err)
{
	struct bow_walk w;
	int rc;

	v->backups = calloc(v->cp.n_epochs, sizeof(*v->backups));
	if (!v->backups)
		return bow_err_errno(err, -ENOMEM, "cannot view the image");
	rc = bow_walk_init(&w, v->dev, &v->cp.sb, err);
	if (!rc)
		rc = bow_backup_index_read(v->backups, v->cp.n_epochs, &w, err);
	bow_walk_release(&w);
	return rc;
}

static void show(struct view *v)
{
	v->disk = (struct bowimg_disk){
		.built = &view_ops,
		.name = v->dev->name,
		.size = v->cp.sb.image_size,
		.sector_size = v->dev->sector_size,
		.queue_depth = v->dev->queue_depth,
		.readonly = true,
		.io_hint = v->dev->io_hint,
	};
}

int bow_own_view(struct bow_opened *o, struct bowimg_disk **out, struct bowimg_error *err)
{
	struct view *v;
	int rc;

	if (o->state != BOWIMG_STATE_CHECKPOINT)
		return bow_own_refuse(o, "view", err);
	v = calloc(1, sizeof(*v));
	if (!v)
		return bow_err_errno(err, -ENOMEM, "cannot view the image");
	v->dev = o->dev;
	v->cp = o->cp;
	o->loaded = false; /* the view has it now */
	rc = find_backups(v, err);
	if (rc) {
		release(v);
		return rc;
	}
	show(v);
	*out = &v->disk;
	return 0;
}
