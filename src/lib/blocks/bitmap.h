/* SPDX-License-Identifier: MIT */
/*
 * A bitmap over the blocks of an image that needs memory only where its bits are mixed. A leaf of
 * 32768 bits (128 MiB of image) with few runs stores the runs, any other one 4 KiB of bits. A new 1
 * TiB file system needs a few KiB, a badly fragmented one 32 MiB.
 */
#ifndef BOW_BLOCKS_BITMAP_H
#define BOW_BLOCKS_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define BOW_LEAF_BYTES 4096u
#define BOW_LEAF_BITS (BOW_LEAF_BYTES * 8u)

struct bow_bitmap;

/* All bits are clear. Returns NULL if memory is out. */
struct bow_bitmap *bow_bitmap_new(uint64_t bits);
void bow_bitmap_free(struct bow_bitmap *map); /* NULL is accepted */

uint64_t bow_bitmap_bits(const struct bow_bitmap *map);
uint64_t bow_bitmap_count(const struct bow_bitmap *map); /* bits set; O(1) */
bool bow_bitmap_test(const struct bow_bitmap *map, uint64_t bit);

/*
 * Set or clear [start, start + count), which must lie inside the map. -ENOMEM leaves the map as it
 * was. Cannot fail if bow_bitmap_reserve() was called for the range.
 */
int bow_bitmap_set(struct bow_bitmap *map, uint64_t start, uint64_t count);
int bow_bitmap_clear(struct bow_bitmap *map, uint64_t start, uint64_t count);

/* Allocate the leaves of a range for good, so that changes to it cannot fail. */
int bow_bitmap_reserve(struct bow_bitmap *map, uint64_t start, uint64_t count);

/* Returns the first bit >= from with this value, or `end` if there is none below `end`. */
uint64_t bow_bitmap_next(const struct bow_bitmap *map, uint64_t from, uint64_t end, bool value);

/* True if every bit of the range has this value. */
bool bow_bitmap_all(const struct bow_bitmap *map, uint64_t start, uint64_t count, bool value);

/*
 * Finds the next run of set bits at or after *start, below `end`, and sets *start and *count.
 * Returns false if there is none. In a loop, add count to start each time.
 */
bool bow_bitmap_next_run(const struct bow_bitmap *map, uint64_t *start, uint64_t *count,
			 uint64_t end);

/* Returns how many bits of the range are set. */
uint64_t bow_bitmap_count_range(const struct bow_bitmap *map, uint64_t start, uint64_t count);

/* *map |= other; both have the same size. On -ENOMEM a part of it was merged. */
int bow_bitmap_merge(struct bow_bitmap *map, const struct bow_bitmap *other);

/* True if some bit is set in both. */
bool bow_bitmap_intersects(const struct bow_bitmap *a, const struct bow_bitmap *b);

/* One leaf's bits as bytes, bit 0 of byte 0 first; bits past the end of the map are clear. */
void bow_bitmap_get_leaf(const struct bow_bitmap *map, uint64_t leaf,
			 uint8_t bytes[BOW_LEAF_BYTES]);

/* Returns a copy, or NULL. */
struct bow_bitmap *bow_bitmap_dup(const struct bow_bitmap *map);

#endif
