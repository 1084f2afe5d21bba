/* SPDX-License-Identifier: MIT */
/*
 * An ordered map from runs of blocks to runs of blocks: [start, start + count) maps to value, value
 * + 1, ... It answers where relocated blocks are now. Neighbours that continue each other are one
 * node of 48 bytes. The caller locks.
 */
#ifndef BOW_BLOCKS_RANGEMAP_H
#define BOW_BLOCKS_RANGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bow_rangemap;

struct bow_rangemap *bow_rangemap_new(void);	  /* NULL when memory is out */
void bow_rangemap_free(struct bow_rangemap *map); /* NULL is accepted */

/*
 * Map the run to value, value + 1, ... and forget its earlier mapping. -ENOMEM leaves the map as it
 * was; -EINVAL if start or value would wrap. count 0 does nothing.
 */
int bow_rangemap_set(struct bow_rangemap *map, uint64_t start, uint64_t count, uint64_t value);

/* Forget the run. -ENOMEM (cutting a node in two) leaves the map as it was. */
int bow_rangemap_erase(struct bow_rangemap *map, uint64_t start, uint64_t count);

/*
 * Move what is known about [from, from + count) to [to, to + count) of another map, or of the same
 * one if the two do not overlap; about the first range nothing is known then. A block about which
 * nothing was known counts as mapped to itself. Many runs cost little more than one. On -ENOMEM the
 * second range may have been forgotten, and some blocks of the first may have been mapped to
 * themselves.
 */
int bow_rangemap_hand_over(struct bow_rangemap *map, uint64_t from, struct bow_rangemap *other,
			   uint64_t to, uint64_t count);

static inline int bow_rangemap_move(struct bow_rangemap *map, uint64_t from, uint64_t to,
				    uint64_t count)
{
	return bow_rangemap_hand_over(map, from, map, to, count);
}

/*
 * Returns how many blocks from start, at most count (at least 1), get the same kind of answer:
 * found at consecutive values from *value on, or not found (*value is left alone).
 */
uint64_t bow_rangemap_get(const struct bow_rangemap *map, uint64_t start, uint64_t count,
			  uint64_t *value, bool *found);

/* Returns the number of nodes; 0 means empty. */
size_t bow_rangemap_nodes(const struct bow_rangemap *map);

#endif
