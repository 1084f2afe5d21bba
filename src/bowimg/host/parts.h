/* SPDX-License-Identifier: MIT */
/* The partitions of a served disk, as they were when it was attached. */
#ifndef BOW_HOST_PARTS_H
#define BOW_HOST_PARTS_H

#include "lib/base/err.h"

struct bow_parts {
	uint32_t count;
	struct bowimg_partition list[BOWIMG_PARTITIONS_MAX];
	struct bowimg_error
		err; /* why there is no list; code 0: the list is right, perhaps empty */
};

/* The partitions of a disk. A damaged or ambiguous table is no error here: out->err says so. */
int bow_parts_read(bowimg_disk *disk, struct bow_parts *out, struct bowimg_error *err);

/* For a service on partition `number` (0: the whole disk), which is to be mounted if `mounts`.
 * -ENOENT: there is no such partition. -EOPNOTSUPP: a whole disk with partitions cannot be mounted.
 */
int bow_parts_check(const struct bow_parts *parts, const char *image, unsigned number, bool mounts,
		    struct bowimg_error *err);

/* The same, by an image's name, for a partition of it that is to be mounted. */
int bow_parts_check_image(const char *image, unsigned number, struct bowimg_error *err);

/* The partition of that number, by an image's name; -ENOENT if there is none. */
int bow_parts_find(const char *image, unsigned number, struct bowimg_partition *out,
		   struct bowimg_error *err);

#endif
