/* SPDX-License-Identifier: MIT */
/* A checkpoint for tests that care about blocks, not about file systems. */
#ifndef TESTS_FREE_END_H
#define TESTS_FREE_END_H

#include "lib/disk/disk.h"

/* Prepare an image whose blocks from free_from on, to its end, are free. 0 or -errno. */
int prepare_free_end(struct bowimg_disk *dev, uint64_t free_from, enum bowimg_on_full on_full);

#endif
