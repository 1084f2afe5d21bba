/* SPDX-License-Identifier: MIT */
/* Numbers for the files of both trees, and how a file is found by its number. */
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "bowimg/diff/mounted/walk.h"

static struct bow_number *place_of(const struct bow_numbers *all, uint64_t space, uint64_t ino)
{
	const uint64_t key[2] = {space, ino};
	size_t i = bow_hash(key, sizeof(key), 0) & (all->room - 1);

	while (all->v[i].number && (all->v[i].space != space || all->v[i].ino != ino))
		i = (i + 1) & (all->room - 1);
	return &all->v[i];
}

static bool grow(struct bow_numbers *all)
{
	struct bow_numbers bigger = {.room = all->room ? all->room * 2 : 4096};

	bigger.v = calloc(bigger.room, sizeof(*bigger.v));
	if (!bigger.v)
		return false;
	for (size_t i = 0; i < all->room; i++)
		if (all->v[i].number)
			*place_of(&bigger, all->v[i].space, all->v[i].ino) = all->v[i];
	free(all->v);
	all->v = bigger.v;
	all->room = bigger.room;
	return true;
}

uint32_t bow_numbers_fresh(struct bow_numbers *all)
{
	all->last = all->last < BOW_ROOT_INO ? BOW_ROOT_INO : all->last;
	return all->last / 2 < BOW_TREE_FILES_MAX ? ++all->last : 0;
}

uint32_t bow_numbers_get(struct bow_numbers *all, uint64_t space, uint64_t ino)
{
	struct bow_number *place;
	uint32_t number;

	if (2 * (all->n + 1) > all->room && !grow(all))
		return 0;
	place = place_of(all, space, ino);
	if (place->number)
		return place->number;
	number = bow_numbers_fresh(all);
	if (number) {
		*place = (struct bow_number){space, ino, number};
		all->n++;
	}
	return number;
}

void bow_numbers_release(struct bow_numbers *all)
{
	free(all->v);
	*all = (struct bow_numbers){0};
}

const struct bow_tree_file *bow_tree_find(const struct bow_tree *t, uint32_t number)
{
	const uint32_t i = number < t->room_index ? t->index[number] : 0;

	return i ? &t->files[i - 1] : NULL;
}
