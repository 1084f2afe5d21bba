/* SPDX-License-Identifier: MIT */
/* Where libblkid looks, on a device that has no descriptor to give it. */
#ifndef BOW_PROBE_PLACES_H
#define BOW_PROBE_PLACES_H

#include "lib/disk/disk.h"

/*
 * A sparse file in memory, as long as the device, that holds all that decides what libblkid finds,
 * at the same places. Returns its descriptor.
 */
int bow_places_copy(struct bowimg_disk *dev, struct bowimg_error *err);

#endif
