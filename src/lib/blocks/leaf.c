/* SPDX-License-Identifier: MIT */
#include "lib/blocks/leaf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/blocks/bitmap.h"
#include "lib/blocks/bits.h"

#define LEAF_WORDS (BOW_LEAF_BITS / 64)

static bool is_dense(const struct bow_leaf *leaf)
{
	return leaf->room == BOW_LEAF_DENSE;
}

static const uint16_t *flips_of(const struct bow_leaf *leaf)
{
	return leaf->room ? leaf->far : leaf->near;
}

/* Returns how many flips are at or before `bit`; the bit is set if that number is odd. */
static uint32_t flips_upto(const struct bow_leaf *leaf, uint32_t bit)
{
	const uint16_t *flips = flips_of(leaf);
	uint32_t lo = 0, hi = leaf->n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (flips[mid] <= bit)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void bow_leaf_release(struct bow_leaf *leaf)
{
	if (leaf->room)
		free(is_dense(leaf) ? (void *)leaf->words : (void *)leaf->far);
	*leaf = (struct bow_leaf){0};
}

void bow_leaf_words(const struct bow_leaf *leaf, uint32_t bits, uint64_t *words)
{
	const uint16_t *flips = flips_of(leaf);

	if (is_dense(leaf)) {
		memcpy(words, leaf->words, BOW_LEAF_BYTES);
		return;
	}
	memset(words, 0, BOW_LEAF_BYTES);
	for (uint32_t i = 0; i < leaf->n; i += 2)
		bow_bits_fill(words, flips[i], i + 1 < leaf->n ? flips[i + 1] : bits, true);
}

int bow_leaf_make_dense(struct bow_leaf *leaf, uint32_t bits)
{
	uint64_t *words;
	uint32_t set = leaf->set;

	if (is_dense(leaf))
		return 0;
	words = malloc(BOW_LEAF_BYTES);
	if (!words)
		return -ENOMEM;
	bow_leaf_words(leaf, bits, words);
	bow_leaf_release(leaf);
	*leaf = (struct bow_leaf){.words = words, .set = set, .room = BOW_LEAF_DENSE};
	return 0;
}

int bow_leaf_make_room(struct bow_leaf *leaf, uint32_t bits, uint32_t more)
{
	uint32_t room = leaf->room ? leaf->room : BOW_LEAF_NEAR;
	uint16_t *far;

	if (is_dense(leaf) || leaf->n + more <= room)
		return 0;
	if (leaf->n + more > BOW_LEAF_FLIPS_MAX)
		return bow_leaf_make_dense(leaf, bits);
	while (room < leaf->n + more)
		room *= 2;
	far = malloc(room * sizeof(*far));
	if (!far)
		return -ENOMEM;
	memcpy(far, flips_of(leaf), leaf->n * sizeof(*far));
	if (leaf->room)
		free(leaf->far);
	leaf->far = far;
	leaf->room = (uint16_t)room;
	return 0;
}

bool bow_leaf_test(const struct bow_leaf *leaf, uint32_t bit)
{
	if (is_dense(leaf))
		return leaf->words[bit / 64] >> (bit % 64) & 1;
	return flips_upto(leaf, bit) & 1;
}

/* Between two flips the value is the same: flips outside [lo, hi) stay, its ends may become two. */
static void fill_flips(struct bow_leaf *leaf, uint32_t bits, uint32_t lo, uint32_t hi, bool value)
{
	uint16_t *flips = leaf->room ? leaf->far : leaf->near, ends[2];
	uint32_t i = lo ? flips_upto(leaf, lo - 1) : 0, j = flips_upto(leaf, hi), n = 0;

	if ((bool)(i & 1) != value)
		ends[n++] = (uint16_t)lo;
	if (hi < bits && (bool)(j & 1) != value)
		ends[n++] = (uint16_t)hi;
	memmove(flips + i + n, flips + j, (leaf->n - j) * sizeof(*flips));
	memcpy(flips + i, ends, n * sizeof(*flips));
	leaf->n = (uint16_t)(leaf->n - j + i + n);
}

static void fill_all(struct bow_leaf *leaf, bool value)
{
	bow_leaf_release(leaf);
	leaf->n = value; /* the one flip is in front of the first bit */
}

uint32_t bow_leaf_fill(struct bow_leaf *leaf, uint32_t bits, uint32_t lo, uint32_t hi, bool value)
{
	uint32_t before = leaf->set, changed;

	if (is_dense(leaf)) {
		changed = bow_bits_fill(leaf->words, lo, hi, value);
	} else {
		changed = bow_leaf_count(leaf, lo, hi);
		changed = value ? hi - lo - changed : changed;
		if (lo == 0 && hi == bits)
			fill_all(leaf, value);
		else if (changed)
			fill_flips(leaf, bits, lo, hi, value);
	}
	leaf->set = value ? before + changed : before - changed;
	return changed;
}

uint32_t bow_leaf_next(const struct bow_leaf *leaf, uint32_t lo, uint32_t hi, bool value)
{
	uint32_t k;

	if (is_dense(leaf))
		return bow_bits_next(leaf->words, lo, hi, value);
	k = flips_upto(leaf, lo);
	if ((bool)(k & 1) == value)
		return lo;
	return k < leaf->n ? (uint32_t)bow_min(flips_of(leaf)[k], hi) : hi;
}

uint32_t bow_leaf_count(const struct bow_leaf *leaf, uint32_t lo, uint32_t hi)
{
	const uint16_t *flips = flips_of(leaf);
	uint32_t set = 0, at = lo;

	if (is_dense(leaf))
		return bow_bits_count(leaf->words, lo, hi);
	for (uint32_t k = flips_upto(leaf, lo); at < hi; k++) {
		uint32_t stop = k < leaf->n ? (uint32_t)bow_min(flips[k], hi) : hi;

		set += k & 1 ? stop - at : 0;
		at = stop;
	}
	return set;
}

static void merge_words(struct bow_leaf *to, const struct bow_leaf *from)
{
	for (uint32_t w = 0; w < LEAF_WORDS; w++)
		to->words[w] |= from->words[w];
	to->set = bow_bits_count(to->words, 0, BOW_LEAF_BITS);
}

int bow_leaf_merge(struct bow_leaf *to, const struct bow_leaf *from, uint32_t bits)
{
	const uint16_t *flips = flips_of(from);

	if (is_dense(from) ? bow_leaf_make_dense(to, bits) : bow_leaf_make_room(to, bits, from->n))
		return -ENOMEM;
	if (is_dense(from)) {
		merge_words(to, from);
		return 0;
	}
	for (uint32_t i = 0; i < from->n; i += 2)
		bow_leaf_fill(to, bits, flips[i], i + 1 < from->n ? flips[i + 1] : bits, true);
	return 0;
}

static bool words_intersect(const uint64_t *a, const uint64_t *b)
{
	for (uint32_t w = 0; w < LEAF_WORDS; w++)
		if (a[w] & b[w])
			return true;
	return false;
}

bool bow_leaf_intersects(const struct bow_leaf *a, const struct bow_leaf *b, uint32_t bits)
{
	const struct bow_leaf *runs = is_dense(a) ? b : a, *other = is_dense(a) ? a : b;
	const uint16_t *flips = flips_of(runs);

	if (is_dense(runs))
		return words_intersect(a->words, b->words);
	for (uint32_t i = 0; i < runs->n; i += 2) {
		uint32_t hi = i + 1 < runs->n ? flips[i + 1] : bits;

		if (bow_leaf_next(other, flips[i], hi, true) < hi)
			return true;
	}
	return false;
}

int bow_leaf_copy(struct bow_leaf *to, const struct bow_leaf *from)
{
	size_t bytes = is_dense(from) ? BOW_LEAF_BYTES : from->room * sizeof(*from->far);
	const void *has = is_dense(from) ? (void *)from->words : (void *)from->far;
	void *copy;

	if (!bytes) {
		*to = *from;
		return 0;
	}
	copy = malloc(bytes);
	if (!copy)
		return -ENOMEM;
	*to = *from;
	to->words = copy; /* or `far`: the same place */
	memcpy(copy, has, bytes);
	return 0;
}
