/* SPDX-License-Identifier: MIT */
/*
 * An ordered map from runs of blocks to runs of blocks: [start, start + count) maps to value,
 * value + 1, ... It answers where relocated blocks are now. Neighbours that continue each other are
 * one node of 48 bytes. Thread safety is the caller's.
 */
#ifndef BOW_MAPS_RANGEMAP_H
#define BOW_MAPS_RANGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bow_rangemap;

struct bow_rangemap *bow_rangemap_new(void);	  /* NULL when memory is out */
void bow_rangemap_free(struct bow_rangemap *map); /* NULL is accepted */

/*
 * Map the run to value, value + 1, ...; whatever it was mapped to before is forgotten. -ENOMEM
 * leaves the map as it was; -EINVAL if start or value would wrap. count 0 does nothing.
 */
int bow_rangemap_set(struct bow_rangemap *map, uint64_t start, uint64_t count, uint64_t value);

/* Forget the run. -ENOMEM (cutting a node in two) leaves the map as it was. */
int bow_rangemap_erase(struct bow_rangemap *map, uint64_t start, uint64_t count);

/*
 * How many blocks from start, at most count (which is at least 1), get the same kind of answer:
 * *found and consecutive values from *value, or not found (*value is left alone).
 */
uint64_t bow_rangemap_get(const struct bow_rangemap *map, uint64_t start, uint64_t count,
			  uint64_t *value, bool *found);

/* How many nodes there are; 0 means empty. */
size_t bow_rangemap_nodes(const struct bow_rangemap *map);

#endif
