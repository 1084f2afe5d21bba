/* SPDX-License-Identifier: MIT */
/* The data of a file of a mounted tree, by its descriptor. All return -errno. */
#ifndef BOW_DIFF_MOUNTED_DATA_H
#define BOW_DIFF_MOUNTED_DATA_H

#include <xxhash.h>

#include "bowimg/diff/mounted/walk.h"

/* The start of data at or after `off` of a file of this size, or the size. */
int64_t bow_tree_next_data(int fd, uint64_t off, uint64_t size);
/* Read all bytes; -EIO if the file is shorter than its size. */
int bow_tree_pread(int fd, void *buf, size_t bytes, uint64_t off);

/* A hash of the data that is not zero, and of its offsets in the file. */
int bow_tree_hash_data(int fd, uint64_t size, XXH3_state_t *h);
/* A hash of the places on the disk. *placed: all data has one, and nothing was written there. */
int bow_tree_hash_places(int fd, const struct bow_changed *changed, XXH3_state_t *h, bool *placed);

#endif
