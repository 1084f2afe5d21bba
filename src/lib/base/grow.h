/* SPDX-License-Identifier: MIT */
/* Arrays that grow, memory that is really there, and text that is kept until all of it goes. */
#ifndef BOW_BASE_GROW_H
#define BOW_BASE_GROW_H

#include <stddef.h>

/*
 * Make room for one more of `each` bytes behind n of them; *room counts elements. Returns the
 * array, which may have moved, or NULL for want of memory: then the old one is still there.
 */
void *bow_grow(void *array, size_t n, size_t *room, size_t each);

/*
 * qsort() and bsearch() for lists that may be empty, and then have no array: the C library's must
 * not be given NULL, not even for nothing.
 */
typedef int bow_order(const void *a, const void *b);
void bow_sort(void *array, size_t n, size_t each, bow_order *order);
void *bow_find(const void *key, const void *array, size_t n, size_t each, bow_order *order);

/* Filled with zeros it is empty. */
struct bow_arena {
	struct bow_arena_piece *newest;
	size_t used, room;
	size_t bytes; /* in all */
};

/* `bytes` bytes for what needs no alignment; NULL for want of memory. */
char *bow_arena_get(struct bow_arena *a, size_t bytes);
char *bow_arena_text(struct bow_arena *a, const char *text);
void bow_arena_release(struct bow_arena *a);

#endif
