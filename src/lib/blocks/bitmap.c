/* SPDX-License-Identifier: MIT */
/*
 * The sparse bitmap. Each group counts how many of its leaves are all clear and all set, so
 * searches, counts and changes step over uniform parts 8 million bits at a time: a log that names
 * the same wide range a million times costs no more than one that does not.
 *
 * A leaf that was reserved stays dense until the map is freed: later changes need no memory.
 */
#include "lib/blocks/bitmap.h"

#include <assert.h>
#include <errno.h>

#include "lib/blocks/groups.h"

/* The part of a range that lies in one leaf: its bits [lo, hi). */
struct piece {
	uint64_t leaf;
	uint32_t lo, hi;
};

static struct piece piece_at(uint64_t from, uint64_t end)
{
	struct piece p = {.leaf = from / BOW_LEAF_BITS, .lo = (uint32_t)(from % BOW_LEAF_BITS)};

	p.hi = (uint32_t)bow_min(BOW_LEAF_BITS, end - p.leaf * BOW_LEAF_BITS);
	return p;
}

/* Add (1) or remove (-1) a leaf in its group's counts of uniform leaves. */
static void count_leaf(struct bow_bitmap *map, uint64_t i, int by)
{
	struct group *g = &map->groups[i / GROUP_LEAVES];

	if (leaf_is(map, i, false))
		g->uniform[0] = (uint16_t)(g->uniform[0] + by);
	else if (leaf_is(map, i, true))
		g->uniform[1] = (uint16_t)(g->uniform[1] + by);
}

static bool inside(const struct bow_bitmap *map, uint64_t start, uint64_t count)
{
	return start <= map->bits && count <= map->bits - start;
}

uint64_t bow_bitmap_bits(const struct bow_bitmap *map)
{
	return map->bits;
}

uint64_t bow_bitmap_count(const struct bow_bitmap *map)
{
	return map->count;
}

bool bow_bitmap_test(const struct bow_bitmap *map, uint64_t bit)
{
	assert(bit < map->bits);
	return bow_leaf_test(leaf_at(map, bit / BOW_LEAF_BITS), bit % BOW_LEAF_BITS);
}

static bool covers(const struct bow_bitmap *map, uint64_t g, uint64_t start, uint64_t end)
{
	return start <= g * GROUP_BITS && end >= group_end(map, g);
}

/* True if a group without leaves stays one when [start, end) is filled. */
static bool stays_alike(const struct bow_bitmap *map, uint64_t g, uint64_t start, uint64_t end,
			bool value)
{
	return !map->groups[g].leaf && (group_is(map, g, value) || covers(map, g, start, end));
}

/* Get memory so that filling the part of [start, end) in the leaf of `at` cannot fail. */
static int make_room(struct bow_bitmap *map, uint64_t at, uint64_t start, uint64_t end, bool value)
{
	const struct piece p = piece_at(bow_max(at, start), end);
	const uint32_t bits = leaf_bits(map, p.leaf);

	if (stays_alike(map, at / GROUP_BITS, start, end, value))
		return 0;
	if (bow_group_grow(map, at / GROUP_BITS))
		return -ENOMEM;
	if (leaf_is(map, p.leaf, value) || (p.lo == 0 && p.hi == bits))
		return 0;
	return bow_leaf_make_room(own_leaf(map, p.leaf), bits, 2);
}

static void fill_piece(struct bow_bitmap *map, struct piece p, bool value)
{
	uint32_t changed;

	if (leaf_is(map, p.leaf, value))
		return;
	count_leaf(map, p.leaf, -1);
	changed = bow_leaf_fill(own_leaf(map, p.leaf), leaf_bits(map, p.leaf), p.lo, p.hi, value);
	count_leaf(map, p.leaf, 1);
	map->count = value ? map->count + changed : map->count - changed;
}

/*
 * All of a group: its leaves go, unless they were reserved. Otherwise one bit in each group would
 * make every wide range cost a visit to each leaf, for good.
 */
static void fill_group(struct bow_bitmap *map, uint64_t g, bool value)
{
	const uint64_t start = g * GROUP_BITS, bits = group_end(map, g) - start;

	map->count -= bow_bitmap_count_range(map, start, bits);
	bow_group_drop(map, g);
	map->groups[g].uniform[value] = (uint16_t)group_leaves(map, g);
	map->groups[g].uniform[!value] = 0;
	map->count += value ? bits : 0;
}

/* Fills what lies in the group of `start`, or a leaf of it; returns where that ends. */
static uint64_t fill_some(struct bow_bitmap *map, uint64_t start, uint64_t end, bool value)
{
	const uint64_t g = start / GROUP_BITS;
	const struct piece p = piece_at(start, end);

	if (group_is(map, g, value))
		return group_end(map, g);
	if (covers(map, g, start, end) && !map->groups[g].reserved) {
		fill_group(map, g, value);
		return group_end(map, g);
	}
	fill_piece(map, p, value);
	return start + (p.hi - p.lo);
}

static int fill(struct bow_bitmap *map, uint64_t start, uint64_t count, bool value)
{
	const uint64_t end = start + count;

	assert(inside(map, start, count));
	if (!count)
		return 0;
	/* Only its ends can cut a group or a leaf in two. Get their memory before any change. */
	if (make_room(map, start, start, end, value) ||
	    make_room(map, (end - 1) / BOW_LEAF_BITS * BOW_LEAF_BITS, start, end, value))
		return -ENOMEM;
	while (start < end)
		start = fill_some(map, start, end, value);
	return 0;
}

int bow_bitmap_set(struct bow_bitmap *map, uint64_t start, uint64_t count)
{
	return fill(map, start, count, true);
}

int bow_bitmap_clear(struct bow_bitmap *map, uint64_t start, uint64_t count)
{
	return fill(map, start, count, false);
}

int bow_bitmap_reserve(struct bow_bitmap *map, uint64_t start, uint64_t count)
{
	assert(inside(map, start, count));
	if (!count)
		return 0;
	for (uint64_t i = start / BOW_LEAF_BITS; i <= (start + count - 1) / BOW_LEAF_BITS; i++) {
		if (bow_group_grow(map, i / GROUP_LEAVES) ||
		    bow_leaf_make_dense(own_leaf(map, i), leaf_bits(map, i)))
			return -ENOMEM;
		map->groups[i / GROUP_LEAVES].reserved = true;
	}
	return 0;
}

uint64_t bow_bitmap_next(const struct bow_bitmap *map, uint64_t from, uint64_t end, bool value)
{
	uint64_t skip;

	assert(end <= map->bits);
	while (from < end) {
		struct piece p = piece_at(from, end);

		if (leaf_is(map, p.leaf, value))
			return from;
		skip = group_skip(map, from, !value);
		if (skip) {
			from = skip;
			continue;
		}
		if (!leaf_is(map, p.leaf, !value)) {
			uint32_t hit = bow_leaf_next(leaf_at(map, p.leaf), p.lo, p.hi, value);

			if (hit < p.hi)
				return p.leaf * BOW_LEAF_BITS + hit;
		}
		from += p.hi - p.lo;
	}
	return end;
}

bool bow_bitmap_all(const struct bow_bitmap *map, uint64_t start, uint64_t count, bool value)
{
	assert(inside(map, start, count));
	return bow_bitmap_next(map, start, start + count, !value) == start + count;
}

bool bow_bitmap_next_run(const struct bow_bitmap *map, uint64_t *start, uint64_t *count,
			 uint64_t end)
{
	uint64_t first = bow_bitmap_next(map, *start, end, true);

	if (first >= end)
		return false;
	*start = first;
	*count = bow_bitmap_next(map, first, end, false) - first;
	return true;
}

uint64_t bow_bitmap_count_range(const struct bow_bitmap *map, uint64_t start, uint64_t count)
{
	const uint64_t end = start + count;
	uint64_t set = 0, next;

	assert(inside(map, start, count));
	for (; start < end; start = next) {
		struct piece p = piece_at(start, end);

		next = group_skip(map, start, false);
		if (next)
			continue;
		next = group_skip(map, start, true);
		if (next) {
			set += bow_min(next, end) - start;
			continue;
		}
		next = start + (p.hi - p.lo);
		if (leaf_is(map, p.leaf, true))
			set += p.hi - p.lo;
		else if (!leaf_is(map, p.leaf, false))
			set += bow_leaf_count(leaf_at(map, p.leaf), p.lo, p.hi);
	}
	return set;
}

static int merge_leaf(struct bow_bitmap *map, const struct bow_bitmap *other, uint64_t i)
{
	struct bow_leaf *to = own_leaf(map, i);
	uint32_t before = to->set;

	if (leaf_is(map, i, true) || leaf_is(other, i, false))
		return 0;
	if (leaf_is(other, i, true)) {
		fill_piece(map, (struct piece){.leaf = i, .hi = leaf_bits(map, i)}, true);
		return 0;
	}
	count_leaf(map, i, -1);
	int rc = bow_leaf_merge(to, leaf_at(other, i), leaf_bits(map, i));

	count_leaf(map, i, 1);
	map->count += to->set - before;
	return rc;
}

static int merge_group(struct bow_bitmap *map, const struct bow_bitmap *other, uint64_t g)
{
	const uint64_t first = g * GROUP_LEAVES;
	int rc;

	if (group_is(map, g, true) || group_is(other, g, false))
		return 0;
	if (group_is(other, g, true))
		return fill(map, g * GROUP_BITS, group_end(map, g) - g * GROUP_BITS, true);
	rc = bow_group_grow(map, g);
	for (uint64_t i = 0; i < group_leaves(map, g) && !rc; i++)
		rc = merge_leaf(map, other, first + i);
	return rc;
}

int bow_bitmap_merge(struct bow_bitmap *map, const struct bow_bitmap *other)
{
	int rc = 0;

	assert(map->bits == other->bits);
	for (uint64_t g = 0; g < map->group_count && !rc; g++)
		rc = merge_group(map, other, g);
	return rc;
}

static bool leaves_intersect(const struct bow_bitmap *a, const struct bow_bitmap *b, uint64_t i)
{
	if (leaf_is(a, i, false) || leaf_is(b, i, false))
		return false;
	if (leaf_is(a, i, true) || leaf_is(b, i, true))
		return true;
	return bow_leaf_intersects(leaf_at(a, i), leaf_at(b, i), leaf_bits(a, i));
}

static bool groups_intersect(const struct bow_bitmap *a, const struct bow_bitmap *b, uint64_t g)
{
	if (group_is(a, g, false) || group_is(b, g, false))
		return false;
	for (uint64_t i = 0; i < group_leaves(a, g); i++)
		if (leaves_intersect(a, b, g * GROUP_LEAVES + i))
			return true;
	return false;
}

bool bow_bitmap_intersects(const struct bow_bitmap *a, const struct bow_bitmap *b)
{
	assert(a->bits == b->bits);
	for (uint64_t g = 0; g < a->group_count; g++)
		if (groups_intersect(a, b, g))
			return true;
	return false;
}
