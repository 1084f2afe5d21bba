/* SPDX-License-Identifier: MIT */
/*
 * Parts of a device in an anonymous sparse file. libblkid wants a file descriptor, and a device
 * need not have one; what is not copied reads as zeros.
 */
#ifndef BOW_MAPS_SPARSE_H
#define BOW_MAPS_SPARSE_H

#include "device/device.h"

/* A file of `size` bytes, nothing copied yet: a descriptor, or -errno. */
int bow_sparse_new(struct bow_dev *dev, uint64_t size, struct bowimg_error *err);

/* Copy what of [off, off + bytes) lies on the device, to the same place. */
int bow_sparse_copy(struct bow_dev *dev, int fd, uint64_t off, uint64_t bytes,
		    struct bowimg_error *err);

#endif
