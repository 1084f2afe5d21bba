/* SPDX-License-Identifier: MIT */
/*
 * What a guest trims, and does not write again: that is free by its own word.
 *
 * Kept are sectors of 512 bytes, since file systems with small blocks trim pieces that are no whole
 * blocks of ours but join to such. A trim shrinks inward to sectors, a write widens outward, and a
 * write must forget the trim before its data moves: a sector that the guest wrote is never called
 * free. Only trims count. A request for zeros, whether it may punch holes or not, asks for content.
 * Any number of threads.
 */
#ifndef BOW_MAPS_TRIMS_H
#define BOW_MAPS_TRIMS_H

#include <pthread.h>
#include "maps/bitmap.h"

struct bow_trims {
	pthread_mutex_t lock;
	struct bow_bitmap *sectors; /* guarded by lock */
};

/* For a disk of so many bytes. 0 or -ENOMEM. Release also after an error. */
int bow_trims_init(struct bow_trims *trims, uint64_t bytes);
void bow_trims_release(struct bow_trims *trims);

/* The range is inside the disk. Without memory it stays in use, which is always right. */
void bow_trims_add(struct bow_trims *trims, uint64_t off, uint64_t bytes);
/* Before anything is written there; pieces of sectors included. 0 or -ENOMEM: do not write. */
int bow_trims_take_back(struct bow_trims *trims, uint64_t off, uint64_t bytes);

/* Mark them in *free, where the disk begins at byte `off`; *bytes: how much it is in sectors. */
int bow_trims_mark(struct bow_trims *trims, struct bow_bitmap *free, uint64_t image_size,
		   uint64_t off, uint64_t *bytes);

#endif
