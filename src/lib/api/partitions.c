/* SPDX-License-Identifier: MIT */
/* The partitions of an image, and of a disk. */
#include "lib/api/api.h"
#include "lib/freespace/freemap.h"
#include "lib/verbs/operations.h"

int bowimg_partitions(const char *path, const struct bowimg_options *opts,
		      int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		      struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_LOOK, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_partitions_dev(dev, partition, ctx, err);
	bow_disk_close(dev, NULL); /* only read from: nothing can be lost */
	return rc;
}

int bowimg_disk_partitions(bowimg_disk *disk,
			   int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			   struct bowimg_error *err)
{
	return bow_freemap_list(disk, partition, ctx, err);
}
