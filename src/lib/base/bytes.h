/* SPDX-License-Identifier: MIT */
/* Little-endian access to byte buffers, and arithmetic that notices overflow. */
#ifndef BOW_BASE_BYTES_H
#define BOW_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t bow_get16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t bow_get32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t bow_get64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline uint32_t bow_get_be32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t bow_get_be64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void bow_put16(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void bow_put32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void bow_put64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* True if [start, start + count) is not empty, does not wrap, and lies below `limit`. */
static inline bool bow_range_ok(uint64_t start, uint64_t count, uint64_t limit)
{
	return count > 0 && start < limit && count <= limit - start;
}

static inline uint64_t bow_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t bow_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t bow_div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* True if all of the buffer is zero. */
bool bow_is_zero(const void *buf, size_t bytes);

/* xxh3-64 of the buffer, seeded; the seed is the checkpoint's (see format.h). */
uint64_t bow_hash(const void *buf, size_t bytes, uint64_t seed);

/* Do [a, a + an) and [b, b + bn) share anything? Neither may wrap around. */
static inline bool bow_ranges_overlap(uint64_t a, uint64_t an, uint64_t b, uint64_t bn)
{
	return a < b + bn && b < a + an;
}

#endif
