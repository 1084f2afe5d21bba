/* SPDX-License-Identifier: MIT */
/* A write-back cache in memory, over a disk whose single writes are slow. */
#ifndef BOW_DISK_WRITEBACK_WRITEBACK_H
#define BOW_DISK_WRITEBACK_WRITEBACK_H

#include "lib/disk/disk.h"

/*
 * A disk over `below` that answers small writes before they are there. Up to `bytes` of memory,
 * taken now, hold what is not written yet; after 50 ms, when half of it is full, or at a flush, all
 * of it is written, many requests at a time. Reads see every write that returned. A flush makes all
 * of these durable, as on any disk; what was not flushed is gone if the process is killed.
 *
 * What could not be written fails the next flush and all writes from then on, and closing the disk.
 * *out owns `below`. -ENOMEM, -EAGAIN: no memory, no thread.
 */
int bow_writeback_new(struct bowimg_disk *below, size_t bytes, struct bowimg_disk **out,
		      struct bowimg_error *err);

#endif
