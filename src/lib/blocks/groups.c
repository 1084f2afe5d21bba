/* SPDX-License-Identifier: MIT */
#include "lib/blocks/groups.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_WORDS (BOW_LEAF_BITS / 64)

const struct bow_leaf bow_group_alike[2] = {{.n = 0}, {.n = 1, .near = {0}}};

int bow_group_grow(struct bow_bitmap *map, uint64_t g)
{
	const uint64_t n = group_leaves(map, g), first = g * GROUP_LEAVES;
	const bool value = group_is(map, g, true);
	struct bow_leaf *leaf;

	if (map->groups[g].leaf)
		return 0;
	leaf = calloc(n, sizeof(*leaf));
	if (!leaf)
		return -ENOMEM;
	for (uint64_t i = 0; value && i < n; i++) {
		leaf[i] = bow_group_alike[true];
		leaf[i].set = leaf_bits(map, first + i);
	}
	map->groups[g].leaf = leaf;
	return 0;
}

struct bow_bitmap *bow_bitmap_new(uint64_t bits)
{
	const uint64_t leaves = bow_div_up(bits, BOW_LEAF_BITS);
	const uint64_t groups = bow_div_up(leaves, GROUP_LEAVES);
	struct bow_bitmap *map;

	if (groups > (SIZE_MAX - sizeof(*map)) / sizeof(struct group))
		return NULL;
	map = calloc(1, sizeof(*map) + groups * sizeof(struct group));
	if (!map)
		return NULL;
	map->bits = bits;
	map->leaves = leaves;
	map->group_count = groups;
	for (uint64_t g = 0; g < groups; g++)
		map->groups[g].uniform[0] = (uint16_t)group_leaves(map, g);
	return map;
}

void bow_group_drop(struct bow_bitmap *map, uint64_t g)
{
	struct bow_leaf *leaf = map->groups[g].leaf;

	for (uint64_t i = 0; leaf && i < group_leaves(map, g); i++)
		bow_leaf_release(&leaf[i]);
	free(leaf);
	map->groups[g].leaf = NULL;
}

void bow_bitmap_free(struct bow_bitmap *map)
{
	if (!map)
		return;
	for (uint64_t g = 0; g < map->group_count; g++)
		bow_group_drop(map, g);
	free(map);
}

void bow_bitmap_get_leaf(const struct bow_bitmap *map, uint64_t leaf, uint8_t bytes[BOW_LEAF_BYTES])
{
	uint64_t words[LEAF_WORDS];

	assert(leaf < map->leaves);
	bow_leaf_words(leaf_at(map, leaf), leaf_bits(map, leaf), words);
	for (uint32_t w = 0; w < LEAF_WORDS; w++)
		bow_put64(bytes + w * 8, words[w]);
}

static int copy_group(struct bow_bitmap *copy, const struct bow_bitmap *map, uint64_t g)
{
	const struct group *from = &map->groups[g];
	struct group *to = &copy->groups[g];
	int rc = from->leaf ? bow_group_grow(copy, g) : 0;

	for (uint64_t i = 0; from->leaf && i < group_leaves(map, g) && !rc; i++)
		rc = bow_leaf_copy(&to->leaf[i], &from->leaf[i]);
	memcpy(to->uniform, from->uniform, sizeof(to->uniform));
	return rc;
}

struct bow_bitmap *bow_bitmap_dup(const struct bow_bitmap *map)
{
	struct bow_bitmap *copy = bow_bitmap_new(map->bits);
	int rc = 0;

	if (!copy)
		return NULL;
	for (uint64_t g = 0; g < map->group_count && !rc; g++)
		rc = copy_group(copy, map, g);
	copy->count = map->count;
	if (!rc)
		return copy;
	bow_bitmap_free(copy);
	return NULL;
}
