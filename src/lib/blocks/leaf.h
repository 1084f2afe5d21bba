/* SPDX-License-Identifier: MIT */
/*
 * One leaf of a bitmap: up to 32768 bits, kept in the smallest of three forms.
 *
 *	near	at most 4 flips, in the leaf itself: no memory of its own
 *	far	more flips, in an array that doubles
 *	dense	an array of words, for good
 *
 * A flip is a position where the value changes, in ascending order; before the first bit the value
 * is clear. So a run of either value costs 2 or 4 bytes, however long it is. An attacker may choose
 * which bits are mixed, and pays 32 bytes of a log for each change. A leaf becomes an array of
 * words only after more than BOW_LEAF_FLIPS_MAX flips, when its 4 KiB are no more than the attacker
 *has paid.
 */
#ifndef BOW_BLOCKS_LEAF_H
#define BOW_BLOCKS_LEAF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOW_LEAF_NEAR 4u
#define BOW_LEAF_FLIPS_MAX 512u
#define BOW_LEAF_DENSE UINT16_MAX

struct bow_leaf {
	union {
		uint64_t *words;	      /* dense */
		uint16_t *far;		      /* `room` flips, `n` used */
		uint16_t near[BOW_LEAF_NEAR]; /* `n` used */
	};
	uint32_t set; /* bits */
	uint16_t n;
	uint16_t room; /* 0: near; BOW_LEAF_DENSE: dense */
};

/* Release its memory; then it is all clear. */
void bow_leaf_release(struct bow_leaf *leaf);

/* Change the form, but no bit. Both return 0 or -ENOMEM; `bits` is the size of the leaf. */
int bow_leaf_make_dense(struct bow_leaf *leaf, uint32_t bits);
/* Make room for `more` flips. */
int bow_leaf_make_room(struct bow_leaf *leaf, uint32_t bits, uint32_t more);

bool bow_leaf_test(const struct bow_leaf *leaf, uint32_t bit);

/*
 * Give [lo, hi) this value; the range is not empty. There must be room for two more flips, unless
 * the range is the whole leaf. Returns how many bits changed.
 */
uint32_t bow_leaf_fill(struct bow_leaf *leaf, uint32_t bits, uint32_t lo, uint32_t hi, bool value);

/* Returns the first bit in [lo, hi) with this value, or hi. */
uint32_t bow_leaf_next(const struct bow_leaf *leaf, uint32_t lo, uint32_t hi, bool value);

uint32_t bow_leaf_count(const struct bow_leaf *leaf, uint32_t lo, uint32_t hi);

/* *to |= from; both are mixed and have the same size. On -ENOMEM nothing has changed. */
int bow_leaf_merge(struct bow_leaf *to, const struct bow_leaf *from, uint32_t bits);
bool bow_leaf_intersects(const struct bow_leaf *a, const struct bow_leaf *b, uint32_t bits);

int bow_leaf_copy(struct bow_leaf *to, const struct bow_leaf *from); /* *to is fresh; -ENOMEM */

/* Writes LEAF_WORDS words; bits past the end are clear. */
void bow_leaf_words(const struct bow_leaf *leaf, uint32_t bits, uint64_t *words);

#endif
