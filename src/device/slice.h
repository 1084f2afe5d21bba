/* SPDX-License-Identifier: MIT */
/* A part of a device as a read-only device. */
#ifndef BOW_DEVICE_SLICE_H
#define BOW_DEVICE_SLICE_H

#include "device/device.h"

/*
 * [off, off + bytes) of `whole`, which must outlive it and is not closed with it. Its name says
 * where it begins. -EUCLEAN: the range is not inside the whole device.
 */
int bow_dev_slice(struct bow_dev *whole, uint64_t off, uint64_t bytes, struct bow_dev **out,
		  struct bowimg_error *err);

#endif
