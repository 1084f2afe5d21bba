/* SPDX-License-Identifier: MIT */
/*
 * What a bitmap is made of: leaves of 32768 bits (leaf.c), in groups of 256. A group whose bits are
 * all alike has no leaves until one of them is to differ, or to be reserved. So 1 PiB of free
 * blocks takes as little memory as 1 PiB of used ones, and reading either touches none.
 */
#ifndef BOW_BLOCKS_GROUPS_H
#define BOW_BLOCKS_GROUPS_H

#include "lib/base/bytes.h"
#include "lib/blocks/bitmap.h"
#include "lib/blocks/leaf.h"

#define GROUP_LEAVES 256u
#define GROUP_BITS ((uint64_t)GROUP_LEAVES * BOW_LEAF_BITS)

/* `uniform`: how many of its leaves are all clear [0] or all set [1]. */
struct group {
	struct bow_leaf *leaf; /* NULL: all of its bits are alike */
	uint16_t uniform[2];
	bool reserved; /* its leaves stay until the map is freed */
};

struct bow_bitmap {
	uint64_t bits, count, leaves, group_count;
	struct group groups[];
};

/* The leaf of a group without leaves, by its value; its `set` is not used. */
extern const struct bow_leaf bow_group_alike[2];

/* Only the last leaf can be smaller than the others. */
static inline uint32_t leaf_bits(const struct bow_bitmap *map, uint64_t i)
{
	return (uint32_t)bow_min(BOW_LEAF_BITS, map->bits - i * BOW_LEAF_BITS);
}

static inline uint64_t group_leaves(const struct bow_bitmap *map, uint64_t g)
{
	return bow_min(GROUP_LEAVES, map->leaves - g * GROUP_LEAVES);
}

static inline uint64_t group_end(const struct bow_bitmap *map, uint64_t g)
{
	return bow_min((g + 1) * GROUP_BITS, map->bits);
}

static inline bool group_is(const struct bow_bitmap *map, uint64_t g, bool value)
{
	return map->groups[g].uniform[value] == group_leaves(map, g);
}

/* Returns where the group that contains `at` ends if all of it has this value, else 0. */
static inline uint64_t group_skip(const struct bow_bitmap *map, uint64_t at, bool value)
{
	uint64_t g = at / GROUP_BITS;

	return group_is(map, g, value) ? group_end(map, g) : 0;
}

static inline const struct bow_leaf *leaf_at(const struct bow_bitmap *map, uint64_t i)
{
	const struct group *g = &map->groups[i / GROUP_LEAVES];

	return g->leaf ? &g->leaf[i % GROUP_LEAVES]
		       : &bow_group_alike[group_is(map, i / GROUP_LEAVES, true)];
}

static inline bool leaf_is(const struct bow_bitmap *map, uint64_t i, bool value)
{
	const struct group *g = &map->groups[i / GROUP_LEAVES];

	if (!g->leaf)
		return group_is(map, i / GROUP_LEAVES, value);
	return g->leaf[i % GROUP_LEAVES].set == (value ? leaf_bits(map, i) : 0);
}

/* For changes; the group has leaves. */
static inline struct bow_leaf *own_leaf(struct bow_bitmap *map, uint64_t i)
{
	return &map->groups[i / GROUP_LEAVES].leaf[i % GROUP_LEAVES];
}

/* Give a group its leaves; its bits stay as they are. 0 or -ENOMEM. */
int bow_group_grow(struct bow_bitmap *map, uint64_t g);
/* Take its leaves away; the caller says what its bits are. */
void bow_group_drop(struct bow_bitmap *map, uint64_t g);

#endif
