/* SPDX-License-Identifier: MIT */
/* The two loops over data that run on every backup: is it all zero, and what is its hash. */
#include "lib/base/bytes.h"

#include <xxhash.h>

/*
 * The first bytes are looked at one by one (real data is told from zeros there at once), the rest
 * is compared with itself that many bytes earlier, which lets libc use its widest vectors.
 */
bool bow_is_zero(const void *buf, size_t bytes)
{
	const uint8_t *p = buf;
	const size_t head = 16;

	for (size_t i = 0; i < head && i < bytes; i++)
		if (p[i])
			return false;
	return bytes <= head || memcmp(p, p + head, bytes - head) == 0;
}

uint64_t bow_hash(const void *buf, size_t bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(buf, bytes, seed);
}
