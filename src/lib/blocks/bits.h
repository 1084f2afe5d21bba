/* SPDX-License-Identifier: MIT */
/*
 * The inner loops of the bitmap: ranges of bits inside an array of 64-bit words, bit 0 of word 0
 * first. A range is [lo, hi), is never empty, and lies inside the array.
 */
#ifndef BOW_BLOCKS_BITS_H
#define BOW_BLOCKS_BITS_H

#include <stdbool.h>
#include <stdint.h>

/* Returns the part of word `w` that belongs to [lo, hi); the word must overlap the range. */
static inline uint64_t bow_bits_mask(uint32_t w, uint32_t lo, uint32_t hi)
{
	uint64_t mask = ~(uint64_t)0;

	if (lo > w * 64)
		mask <<= lo - w * 64;
	if (hi < w * 64 + 64)
		mask &= ~(uint64_t)0 >> (w * 64 + 64 - hi);
	return mask;
}

/* Give the range this value. Returns how many bits changed. */
static inline uint32_t bow_bits_fill(uint64_t *words, uint32_t lo, uint32_t hi, bool value)
{
	uint32_t changed = 0;

	for (uint32_t w = lo / 64; w <= (hi - 1) / 64; w++) {
		uint64_t diff = bow_bits_mask(w, lo, hi) & (value ? ~words[w] : words[w]);

		changed += (uint32_t)__builtin_popcountll(diff);
		words[w] ^= diff;
	}
	return changed;
}

static inline uint32_t bow_bits_count(const uint64_t *words, uint32_t lo, uint32_t hi)
{
	uint32_t set = 0;

	for (uint32_t w = lo / 64; w <= (hi - 1) / 64; w++)
		set += (uint32_t)__builtin_popcountll(words[w] & bow_bits_mask(w, lo, hi));
	return set;
}

/* Returns the first bit in the range with this value, or hi. */
static inline uint32_t bow_bits_next(const uint64_t *words, uint32_t lo, uint32_t hi, bool value)
{
	const uint64_t flip = value ? 0 : ~(uint64_t)0;

	for (uint32_t w = lo / 64; w <= (hi - 1) / 64; w++) {
		uint64_t hit = (words[w] ^ flip) & bow_bits_mask(w, lo, hi);

		if (hit)
			return w * 64 + (uint32_t)__builtin_ctzll(hit);
	}
	return hi;
}

#endif
