/* SPDX-License-Identifier: MIT */
/* A part of a device as a read-only device. */
#ifndef BOW_DISK_PART_H
#define BOW_DISK_PART_H

#include "lib/disk/disk.h"

/*
 * [off, off + bytes) of `whole`, which must outlive the part and is not closed with it. The part's
 * name says where it begins. -EUCLEAN: the range is not inside the whole device.
 */
int bow_disk_part(struct bowimg_disk *whole, uint64_t off, uint64_t bytes, struct bowimg_disk **out,
		  struct bowimg_error *err);

#endif
