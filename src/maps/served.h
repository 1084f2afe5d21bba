/* SPDX-License-Identifier: MIT */
/*
 * A part of an image, or all of it, served to somebody before there is a checkpoint: to a guest
 * that trims, to the kernel, or to a helper program that only reads. The calls for I/O are in
 * bowimg.h.
 */
#ifndef BOW_MAPS_SERVED_H
#define BOW_MAPS_SERVED_H

#include <stdatomic.h>
#include "device/device.h"
#include "maps/trims.h"

struct bowimg_volume {
	struct bow_dev *dev;
	uint64_t off, bytes;
	bool writable;
	struct bow_trims trims;
	atomic_ullong written; /* bytes, zeros included */
	atomic_bool refused;   /* somebody wanted to write where that may not be */
	atomic_bool failed;    /* a barrier failed: no checkpoint on what may not be there */
};

/* The range is inside dev, which must outlive it. 0 or -ENOMEM; release also after an error. */
int bow_served_init(struct bowimg_volume *vol, struct bow_dev *dev, uint64_t off, uint64_t bytes,
		    bool writable);
void bow_served_release(struct bowimg_volume *vol);

#endif
