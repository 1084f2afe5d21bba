/* SPDX-License-Identifier: MIT */
/* A window on another disk: a partition, or the file system in it, as a disk of its own. */
#include "lib/disk/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/bytes.h"

struct part {
	struct bowimg_disk disk; /* must be first */
	struct bowimg_disk *whole;
	uint64_t off;
	char name[4096 + 64];
};

static struct part *self(struct bowimg_disk *disk)
{
	return (struct part *)disk;
}

static int part_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	return bow_disk_read(self(disk)->whole, buf, bytes, self(disk)->off + off, err);
}

static int part_write(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		      struct bowimg_error *err)
{
	return bow_disk_write(self(disk)->whole, buf, bytes, self(disk)->off + off, err);
}

static int part_zero(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		     struct bowimg_error *err)
{
	return bow_disk_zero(self(disk)->whole, self(disk)->off + off, bytes, BOW_ZERO_PUNCH, err);
}

static int part_discard(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
			struct bowimg_error *err)
{
	return bow_disk_discard(self(disk)->whole, self(disk)->off + off, bytes, err);
}

static int part_flush(struct bowimg_disk *disk, struct bowimg_error *err)
{
	return bow_disk_flush(self(disk)->whole, err);
}

static int part_extent(struct bowimg_disk *disk, uint64_t off, bool *hole, uint64_t *bytes,
		       struct bowimg_error *err)
{
	int rc = bow_disk_extent(self(disk)->whole, self(disk)->off + off, hole, bytes, err);

	if (!rc)
		*bytes = bow_min(*bytes, disk->size - off);
	return rc;
}

static int part_reopen(struct bowimg_disk *disk, uint64_t *off)
{
	int fd = bow_disk_reopen(self(disk)->whole, off);

	*off += self(disk)->off;
	return fd;
}

static int part_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	(void)err;
	free(disk);
	return 0;
}

static const struct bow_disk_ops part_ops = {
	.read = part_read,
	.write = part_write,
	.zero = part_zero,
	.discard = part_discard,
	.flush = part_flush,
	.extent = part_extent,
	.reopen = part_reopen,
	.close = part_close,
};

int bow_disk_part(struct bowimg_disk *whole, uint64_t off, uint64_t bytes, struct bowimg_disk **out,
		  struct bowimg_error *err)
{
	struct part *p;

	if (!bow_range_ok(off, bytes, whole->size))
		return bow_err(err, -EUCLEAN, "%s: a partition is not inside the disk",
			       whole->name);
	p = calloc(1, sizeof(*p));
	if (!p)
		return bow_err_errno(err, -ENOMEM, "%s: look at a part of it", whole->name);
	p->whole = whole;
	p->off = off;
	snprintf(p->name, sizeof(p->name), "%s (the part at byte %" PRIu64 ")", whole->name, off);
	p->disk = (struct bowimg_disk){
		.built = &part_ops,
		.name = p->name,
		.size = bytes,
		.sector_size = whole->sector_size,
		.queue_depth = whole->queue_depth,
		.readonly = true,
		.io_hint = whole->io_hint,
	};
	*out = &p->disk;
	return 0;
}
