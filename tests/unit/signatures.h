/* SPDX-License-Identifier: MIT */
/*
 * The least that makes libblkid find one thing or another, by the formats' public descriptions and
 * by what blkid(8) takes for it.
 */
#ifndef TESTS_SIGNATURES_H
#define TESTS_SIGNATURES_H

#include <stddef.h>
#include <stdint.h>

#define SIGNATURE_PIECES 5

struct signature {
	const char *type; /* as libblkid calls it */
	struct {
		int64_t at; /* bytes from the start, or, if negative, from the end */
		uint8_t n;
		const char *bytes;
	} pieces[SIGNATURE_PIECES];
	/* Pieces that depend on the size of the place; NULL: none. */
	void (*more)(uint64_t size, void (*put)(void *ctx, uint64_t at, const void *p, size_t n),
		     void *ctx);
	uint64_t min_bytes; /* of the place; libblkid looks for it in no smaller one */
};

extern const struct signature signatures[];
extern const size_t signatures_count;

/* As of version 2.41 libblkid wants more of a btrfs than its name: sectors of some size. */
void btrfs_by_hand(uint8_t *volume);

/* Put all pieces of it into a place of this size. */
void signature_put(const struct signature *s, uint64_t size,
		   void (*put)(void *ctx, uint64_t at, const void *p, size_t n), void *ctx);

#endif
