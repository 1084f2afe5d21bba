/* SPDX-License-Identifier: MIT */
/*
 * The sparse bitmap. A leaf covers 32768 bits and is either uniform (no memory, all clear or all
 * set) or materialised (an array of words). A leaf that was materialised stays so until the map is
 * freed: bow_bitmap_reserve() promises that later changes need no memory.
 *
 * Every leaf knows how many of its bits are set, so that searches and counts step over uniform
 * parts, materialised or not, without looking at their words.
 */
#include "maps/bitmap.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "maps/bits.h"

#define LEAF_WORDS (BOW_LEAF_BITS / 64)

struct leaf {
	uint64_t *words; /* NULL: uniform, `set` is 0 or the leaf's size */
	uint32_t set;
};

struct bow_bitmap {
	uint64_t bits, count, leaves;
	struct leaf leaf[];
};

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

/* Only the last leaf can be smaller than the others. */
static uint32_t leaf_bits(const struct bow_bitmap *map, uint64_t i)
{
	return (uint32_t)bow_min(BOW_LEAF_BITS, map->bits - i * BOW_LEAF_BITS);
}

static bool leaf_is(const struct bow_bitmap *map, uint64_t i, bool value)
{
	return map->leaf[i].set == (value ? leaf_bits(map, i) : 0);
}

static bool inside(const struct bow_bitmap *map, uint64_t start, uint64_t count)
{
	return start <= map->bits && count <= map->bits - start;
}

struct bow_bitmap *bow_bitmap_new(uint64_t bits)
{
	uint64_t leaves = bow_div_up(bits, BOW_LEAF_BITS);
	struct bow_bitmap *map;

	if (leaves > (SIZE_MAX - sizeof(*map)) / sizeof(struct leaf))
		return NULL;
	map = calloc(1, sizeof(*map) + leaves * sizeof(struct leaf));
	if (map) {
		map->bits = bits;
		map->leaves = leaves;
	}
	return map;
}

void bow_bitmap_free(struct bow_bitmap *map)
{
	if (!map)
		return;
	for (uint64_t i = 0; i < map->leaves; i++)
		free(map->leaf[i].words);
	free(map);
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
	const struct leaf *leaf = &map->leaf[bit / BOW_LEAF_BITS];

	assert(bit < map->bits);
	if (!leaf->words)
		return leaf->set != 0;
	return leaf->words[bit % BOW_LEAF_BITS / 64] >> (bit % 64) & 1;
}

/* Changes no bit, only where they are kept. */
static int materialise(struct bow_bitmap *map, uint64_t i)
{
	struct leaf *leaf = &map->leaf[i];
	uint64_t *words;

	if (leaf->words)
		return 0;
	words = calloc(LEAF_WORDS, sizeof(*words));
	if (!words)
		return -ENOMEM;
	if (leaf->set)
		bow_bits_fill(words, 0, leaf_bits(map, i), true);
	leaf->words = words;
	return 0;
}

static bool needs_words(const struct bow_bitmap *map, struct piece p, bool value)
{
	return !leaf_is(map, p.leaf, value) && (p.lo > 0 || p.hi < leaf_bits(map, p.leaf));
}

static void fill_piece(struct bow_bitmap *map, struct piece p, bool value)
{
	struct leaf *leaf = &map->leaf[p.leaf];
	uint32_t changed;

	if (leaf_is(map, p.leaf, value))
		return;
	changed = leaf->words ? bow_bits_fill(leaf->words, p.lo, p.hi, value) : p.hi - p.lo;
	leaf->set = value ? leaf->set + changed : leaf->set - changed;
	map->count = value ? map->count + changed : map->count - changed;
}

static int fill(struct bow_bitmap *map, uint64_t start, uint64_t count, bool value)
{
	const uint64_t end = start + count;
	struct piece first, last;

	assert(inside(map, start, count));
	if (!count)
		return 0;
	/* Only the ends of a range can cut a leaf in two: get their memory before any change. */
	first = piece_at(start, end);
	last = piece_at(bow_max(start, (end - 1) / BOW_LEAF_BITS * BOW_LEAF_BITS), end);
	if (needs_words(map, first, value) && materialise(map, first.leaf) < 0)
		return -ENOMEM;
	if (needs_words(map, last, value) && materialise(map, last.leaf) < 0)
		return -ENOMEM;
	while (start < end) {
		struct piece p = piece_at(start, end);

		fill_piece(map, p, value);
		start += p.hi - p.lo;
	}
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
	for (uint64_t i = start / BOW_LEAF_BITS; i <= (start + count - 1) / BOW_LEAF_BITS; i++)
		if (materialise(map, i) < 0)
			return -ENOMEM;
	return 0;
}

uint64_t bow_bitmap_next(const struct bow_bitmap *map, uint64_t from, uint64_t end, bool value)
{
	assert(end <= map->bits);
	while (from < end) {
		struct piece p = piece_at(from, end);
		const struct leaf *leaf = &map->leaf[p.leaf];

		if (leaf_is(map, p.leaf, value))
			return from;
		if (leaf->words && !leaf_is(map, p.leaf, !value)) {
			uint32_t hit = bow_bits_next(leaf->words, p.lo, p.hi, value);

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
	uint64_t set = 0;

	assert(inside(map, start, count));
	while (start < end) {
		struct piece p = piece_at(start, end);
		const struct leaf *leaf = &map->leaf[p.leaf];

		if (leaf_is(map, p.leaf, true))
			set += p.hi - p.lo;
		else if (leaf->set)
			set += bow_bits_count(leaf->words, p.lo, p.hi);
		start += p.hi - p.lo;
	}
	return set;
}

static void merge_leaf(struct bow_bitmap *map, const struct bow_bitmap *other, uint64_t i)
{
	struct leaf *to = &map->leaf[i];
	const struct leaf *from = &other->leaf[i];
	const uint32_t before = to->set;

	if (leaf_is(other, i, true)) {
		fill_piece(map, (struct piece){.leaf = i, .hi = leaf_bits(map, i)}, true);
		return;
	}
	for (uint32_t w = 0; w < LEAF_WORDS; w++)
		to->words[w] |= from->words[w];
	to->set = bow_bits_count(to->words, 0, BOW_LEAF_BITS);
	map->count += to->set - before;
}

int bow_bitmap_merge(struct bow_bitmap *map, const struct bow_bitmap *other)
{
	assert(map->bits == other->bits);
	for (uint64_t i = 0; i < map->leaves; i++)
		if (!leaf_is(map, i, true) && !leaf_is(other, i, true) &&
		    !leaf_is(other, i, false) && materialise(map, i) < 0)
			return -ENOMEM;
	for (uint64_t i = 0; i < map->leaves; i++)
		if (!leaf_is(map, i, true) && !leaf_is(other, i, false))
			merge_leaf(map, other, i);
	return 0;
}

static bool leaves_intersect(const struct bow_bitmap *a, const struct bow_bitmap *b, uint64_t i)
{
	if (leaf_is(a, i, false) || leaf_is(b, i, false))
		return false;
	if (leaf_is(a, i, true) || leaf_is(b, i, true))
		return true;
	for (uint32_t w = 0; w < LEAF_WORDS; w++)
		if (a->leaf[i].words[w] & b->leaf[i].words[w])
			return true;
	return false;
}

bool bow_bitmap_intersects(const struct bow_bitmap *a, const struct bow_bitmap *b)
{
	assert(a->bits == b->bits);
	for (uint64_t i = 0; i < a->leaves; i++)
		if (leaves_intersect(a, b, i))
			return true;
	return false;
}

void bow_bitmap_get_leaf(const struct bow_bitmap *map, uint64_t leaf, uint8_t bytes[BOW_LEAF_BYTES])
{
	uint64_t words[LEAF_WORDS] = {0};

	assert(leaf < map->leaves);
	if (map->leaf[leaf].words)
		memcpy(words, map->leaf[leaf].words, sizeof(words));
	else if (map->leaf[leaf].set)
		bow_bits_fill(words, 0, leaf_bits(map, leaf), true);
	for (uint32_t w = 0; w < LEAF_WORDS; w++)
		bow_put64(bytes + w * 8, words[w]);
}

struct bow_bitmap *bow_bitmap_dup(const struct bow_bitmap *map)
{
	struct bow_bitmap *copy = bow_bitmap_new(map->bits);

	if (!copy)
		return NULL;
	for (uint64_t i = 0; i < map->leaves; i++) {
		copy->leaf[i].set = map->leaf[i].set;
		if (!map->leaf[i].words)
			continue;
		if (materialise(copy, i) < 0) {
			bow_bitmap_free(copy);
			return NULL;
		}
		memcpy(copy->leaf[i].words, map->leaf[i].words, BOW_LEAF_BYTES);
	}
	copy->count = map->count;
	return copy;
}
