/* SPDX-License-Identifier: MIT */
/*
 * A part of an image, or all of it, served before there is a checkpoint: to a guest whose discards
 * are tracked, to the kernel, or to a helper program that only reads. The calls for I/O are in
 * bowimg.h.
 */
#ifndef BOW_FREESPACE_HELPERS_VOLUME_H
#define BOW_FREESPACE_HELPERS_VOLUME_H

#include <stdatomic.h>
#include "lib/disk/disk.h"
#include "lib/freespace/helpers/helper.h"
#include "lib/freespace/helpers/trims.h"

struct bow_volume {
	struct bowimg_disk disk; /* must be first */
	struct bowimg_disk *dev;
	uint64_t off;
	bool writable;
	bool owns_dev; /* closed with it; then a failed flush is an error */
	struct bow_trims trims;
	atomic_ullong written; /* bytes, zeros included */
	atomic_bool refused;   /* a write to a read-only volume was refused */
	atomic_bool failed;    /* a barrier failed: no checkpoint, because data may be lost */
};

/*
 * For [off, off + bytes) of dev, a range that is inside dev; dev must live longer. Ends by
 * bow_disk_close(). NULL: no memory.
 */
struct bow_volume *bow_volume_new(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
				  bool writable);
/* NULL: this disk is not a volume. */
struct bow_volume *bow_volume_of(bowimg_disk *disk);

struct bow_part_of {
	struct bowimg_disk *dev;
	uint64_t off, bytes;
};

/*
 * Run a helper on that part, exposed as a file that cannot be written to: as bow_helper_run(), with
 * which it also sets *end. -EOPNOTSUPP: it cannot be exposed here, and nothing was run.
 */
int bow_volume_run(const struct bowimg_helpers *helpers, const struct bow_part_of *part,
		   const struct bow_helper *h, struct bow_helper_end *end,
		   struct bowimg_error *err);

#endif
