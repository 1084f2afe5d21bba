/* SPDX-License-Identifier: MIT */
/* Growing arrays, sorted ones, and an arena for names. */
#include "lib/base/grow.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES 65536u

struct bow_arena_piece {
	struct bow_arena_piece *older;
	char bytes[];
};

void *bow_grow(void *array, size_t n, size_t *room, size_t each)
{
	size_t more = *room < 8 ? 16 : *room + *room / 2;

	if (n < *room)
		return array;
	if (more > SIZE_MAX / each)
		return NULL;
	array = realloc(array, more * each);
	if (array)
		*room = more;
	return array;
}

void bow_sort(void *array, size_t n, size_t each, bow_order *order)
{
	if (n)
		qsort(array, n, each, order);
}

void *bow_find(const void *key, const void *array, size_t n, size_t each, bow_order *order)
{
	return n ? bsearch(key, array, n, each, order) : NULL;
}

char *bow_arena_get(struct bow_arena *a, size_t bytes)
{
	if (!a->newest || bytes > a->room - a->used) {
		size_t room = bytes > PIECE_BYTES ? bytes : PIECE_BYTES;
		struct bow_arena_piece *piece = malloc(sizeof(*piece) + room);

		if (!piece)
			return NULL;
		piece->older = a->newest;
		a->newest = piece;
		a->used = 0;
		a->room = room;
	}
	a->used += bytes;
	a->bytes += bytes;
	return a->newest->bytes + a->used - bytes;
}

char *bow_arena_text(struct bow_arena *a, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = bow_arena_get(a, bytes);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

void bow_arena_release(struct bow_arena *a)
{
	while (a->newest) {
		struct bow_arena_piece *piece = a->newest;

		a->newest = piece->older;
		free(piece);
	}
	*a = (struct bow_arena){0};
}
