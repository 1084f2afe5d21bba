/* SPDX-License-Identifier: MIT */
/* A write that is made in pieces, as the write-back cache makes it. */
#ifndef TESTS_LAB_PIECES_H
#define TESTS_LAB_PIECES_H

#include "lib/disk/scatter.h"

/* What is not begun together is made alone. Returns the first failure; then some are not made. */
int pieces_write_many(bowimg_disk *disk, struct bow_write *writes, uint32_t n,
		      struct bowimg_error *err);

/*
 * Cut the range into pieces, which the seed decides. Every other one is written in one call, so
 * that they lie apart, and those between them in another one. Returns as above.
 */
int pieces_write(bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off, uint64_t seed,
		 struct bowimg_error *err);

#endif
