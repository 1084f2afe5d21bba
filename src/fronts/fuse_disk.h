/* SPDX-License-Identifier: MIT */
/* What FUSE files show: an image with an open checkpoint, that as it was, or a volume that is lent
 * out. */
#ifndef BOW_FRONTS_FUSE_DISK_H
#define BOW_FRONTS_FUSE_DISK_H

#include <stdatomic.h>
#include "bowimg.h"

/* One of the three. */
struct bow_fuse_source {
	bowimg *img;
	bowimg_look *look; /* only as it was; or both sides, but of a part, and for reading: */
	uint64_t part_off, part_bytes;
	bowimg_volume *volume;
};

struct bow_fuse_disk {
	struct bow_fuse_source source;
	atomic_bool punched_is_free; /* of a volume: a punched hole is a discard now */
};

uint64_t bow_fuse_disk_size(const struct bow_fuse_disk *disk);
int bow_fuse_disk_read(struct bow_fuse_disk *disk, enum bowimg_side side, void *buf, size_t bytes,
		       uint64_t off, struct bowimg_error *err);
int bow_fuse_disk_write(struct bow_fuse_disk *disk, const void *buf, size_t bytes, uint64_t off,
			unsigned flags, struct bowimg_error *err);
/* `punch`: by a request to punch a hole, not to zero a range. */
int bow_fuse_disk_zero(struct bow_fuse_disk *disk, uint64_t off, uint64_t bytes, bool punch,
		       struct bowimg_error *err);
int bow_fuse_disk_flush(struct bow_fuse_disk *disk, struct bowimg_error *err);

#endif
