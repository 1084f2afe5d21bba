/* SPDX-License-Identifier: MIT */
/* The data of a file of a mounted tree, by its descriptor. All return -errno. */
#ifndef BOW_FRONTS_TREE_DATA_H
#define BOW_FRONTS_TREE_DATA_H

#include <xxhash.h>

#include "fronts/tree.h"

/* The start of data at or after `off` of a file of this size, or the size. */
int64_t bow_tree_next_data(int fd, uint64_t off, uint64_t size);
/* All of it; a file that is shorter than it says is -EIO. */
int bow_tree_pread(int fd, void *buf, size_t bytes, uint64_t off);

/* The hash is of the data that is not zero, and where in the file. */
int bow_tree_hash_data(int fd, uint64_t size, XXH3_state_t *h);
/* Of where on the disk it is. *placed: that says all, and nothing of it changed. */
int bow_tree_hash_places(int fd, const struct bow_changed *changed, XXH3_state_t *h, bool *placed);

#endif
