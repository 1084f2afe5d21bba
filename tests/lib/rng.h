/* SPDX-License-Identifier: MIT */
/* Seeded random numbers for tests: the same seed gives the same run on every machine. */
#ifndef TESTS_RNG_H
#define TESTS_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rng {
	uint64_t state;
};

/* Two numbers into one; also the step of the generator. */
static inline uint64_t rng_mix(uint64_t a, uint64_t b)
{
	uint64_t z = a + 0x9e3779b97f4a7c15u * (b + 1);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint64_t rng_next(struct rng *r)
{
	r->state += 0x9e3779b97f4a7c15u;
	return rng_mix(r->state, 0);
}

static inline uint32_t rng_below(struct rng *r, uint32_t limit)
{
	return limit ? (uint32_t)(rng_next(r) % limit) : 0;
}

static inline uint32_t rng_between(struct rng *r, uint32_t low, uint32_t high)
{
	return low + rng_below(r, high - low + 1);
}

static inline bool rng_chance(struct rng *r, uint32_t percent)
{
	return rng_below(r, 100) < percent;
}

/* Content that occurs nowhere else: a function of the token alone. */
static inline void rng_fill(uint8_t *buf, size_t bytes, uint64_t token)
{
	struct rng r = {token};

	while (bytes > 0) {
		uint64_t word = rng_next(&r);
		size_t n = bytes < sizeof(word) ? bytes : sizeof(word);

		memcpy(buf, &word, n);
		buf += n;
		bytes -= n;
	}
}

#endif
