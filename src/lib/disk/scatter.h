/* SPDX-License-Identifier: MIT */
/* Blocks that lie in many places, read or written together. */
#ifndef BOW_DISK_SCATTER_H
#define BOW_DISK_SCATTER_H

#include "lib/disk/disk.h"

#define BOW_SCATTER_MAX 256u /* blocks in one call */

/*
 * Read n blocks of BOWIMG_BLOCK_SIZE bytes, at most BOW_SCATTER_MAX of them: the one with the
 * number blk[i] into block i of buf. Neighbours in both become one request, and as many requests
 * are in flight as the disk is worth. Returns 0 or the first failure; buf is then partly filled.
 */
int bow_disk_read_scattered(struct bowimg_disk *dev, const uint64_t *blk, uint32_t n, void *buf,
			    struct bowimg_error *err);

/* The same for writing; no block is named twice. After a failure some blocks are written. */
int bow_disk_write_scattered(struct bowimg_disk *dev, const uint64_t *blk, uint32_t n,
			     const void *buf, struct bowimg_error *err);

/*
 * Make several writes, in the order of their places and apart from each other, in about the time of
 * one. Those that cannot be made so are not begun; the caller makes each of them by itself, which
 * also tells why. `err` is of the first one that was begun and failed.
 */
void bow_disk_write_many(struct bowimg_disk *dev, struct bow_write *writes, uint32_t n,
			 struct bowimg_error *err);

/* The range is going to be read soon; nothing is known to be wrong with it. */
void bow_disk_will_read(struct bowimg_disk *dev, uint64_t off, uint64_t bytes);

#endif
