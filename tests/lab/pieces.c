/* SPDX-License-Identifier: MIT */
#include "pieces.h"

#include "lib/base/bytes.h"
#include "rng.h"

#define MOST 64u
#define SECTOR 512u /* what a power cut leaves whole lies in one piece */
#define LONGEST 12u /* sectors, where pieces may have a block in common */

int pieces_write_many(bowimg_disk *disk, struct bow_write *writes, uint32_t n,
		      struct bowimg_error *err)
{
	struct bowimg_error alone;
	int rc = 0;

	bow_disk_write_many(disk, writes, n, err);
	for (uint32_t i = 0; i < n && !rc; i++)
		rc = writes[i].begun ? writes[i].result : 0;
	for (uint32_t i = 0; i < n; i++) {
		struct bow_write *w = &writes[i];

		if (w->begun)
			continue;
		bow_err_clear(&alone);
		w->result = bow_disk_write(disk, w->buf, w->bytes, w->off, &alone);
		if (w->result && !rc) {
			rc = w->result;
			*err = alone;
		}
	}
	return rc;
}

int pieces_write(bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off, uint64_t seed,
		 struct bowimg_error *err)
{
	struct bow_write half[2][MOST];
	struct rng r = {rng_mix(seed, 0x91ece5)};
	bool shared = rng_chance(&r, 30);
	uint32_t n = 0;
	size_t at = 0, k;
	int rc;

	for (; at < bytes; at += k) {
		k = shared ? rng_between(&r, 1, LONGEST) * SECTOR - (off + at) % SECTOR
			   : BOWIMG_BLOCK_SIZE - (off + at) % BOWIMG_BLOCK_SIZE;
		k = bow_min(k, bytes - at);
		if (n == 2 * MOST - 1)
			k = bytes - at;
		half[n % 2][n / 2] = (struct bow_write){
			.buf = (const uint8_t *)buf + at, .bytes = k, .off = off + at};
		n++;
	}
	rc = pieces_write_many(disk, half[0], (n + 1) / 2, err);
	return rc ? rc : pieces_write_many(disk, half[1], n / 2, err);
}
