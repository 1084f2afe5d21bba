/* SPDX-License-Identifier: MIT */
/* May an ext2/3/4 file system's word about its free blocks be taken? For ext.c alone. */
#ifndef BOW_MAPS_EXT_CHECK_H
#define BOW_MAPS_EXT_CHECK_H

#include "base/ext_super.h"
#include "device/device.h"

/*
 * Before libext2fs sees it: is there a superblock at [off, off + bytes) whose sizes fit the image,
 * so that opening it takes a bounded amount of memory? -EOPNOTSUPP, -EUCLEAN.
 */
int bow_ext_check_super(struct bow_dev *dev, uint64_t off, uint64_t bytes,
			struct bowimg_error *err);

/* Nothing to replay or repair, and nobody else has it: -EUCLEAN, -EBADMSG, -EBUSY. */
int bow_ext_check_clean(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err);

#endif
