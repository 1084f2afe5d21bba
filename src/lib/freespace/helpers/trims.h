/* SPDX-License-Identifier: MIT */
/*
 * The sectors that a guest has discarded, and has not written again: they are free.
 *
 * Sectors have 512 bytes here, because file systems with small blocks discard pieces that are not
 * whole blocks of ours but join to such. A discard shrinks inward to sectors, a write widens
 * outward. A write must take back the discard before its data moves, so a sector that the guest
 * wrote is never called free. Only discards count: a request for zeros, whether it may punch holes
 * or not, asks for content. Safe for any number of threads.
 */
#ifndef BOW_FREESPACE_HELPERS_TRIMS_H
#define BOW_FREESPACE_HELPERS_TRIMS_H

#include <pthread.h>
#include "lib/blocks/bitmap.h"

struct bow_trims {
	pthread_mutex_t lock;
	struct bow_bitmap *sectors; /* guarded by lock */
};

/* For a disk of so many bytes. 0 or -ENOMEM; release it also after an error. */
int bow_trims_init(struct bow_trims *trims, uint64_t bytes);
void bow_trims_release(struct bow_trims *trims);

/* The range is inside the disk. Without memory it stays used, which is always right. */
void bow_trims_add(struct bow_trims *trims, uint64_t off, uint64_t bytes);
/* Call it before anything is written there, for parts of sectors, too. -ENOMEM: do not write. */
int bow_trims_take_back(struct bow_trims *trims, uint64_t off, uint64_t bytes);

/* Mark them in *free; the disk begins at byte `off` there. *bytes: the size of all sectors. */
int bow_trims_mark(struct bow_trims *trims, struct bow_bitmap *free, uint64_t image_size,
		   uint64_t off, uint64_t *bytes);

#endif
