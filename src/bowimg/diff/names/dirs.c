/* SPDX-License-Identifier: MIT */
/* Known directories of one version: a list, and a hash table of their numbers. */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/grow.h"
#include "bowimg/diff/names/names.h"

#define ROOM_FIRST 1024u

static uint32_t *slot_of(const struct bow_dirs *dirs, uint32_t ino)
{
	size_t i = (ino * UINT32_C(2654435761)) & (dirs->hash_room - 1);

	while (dirs->hash[i] && dirs->v[dirs->hash[i] - 1].ino != ino)
		i = (i + 1) & (dirs->hash_room - 1);
	return &dirs->hash[i];
}

/* At most half of the slots are taken. */
static int make_room(struct bow_dirs *dirs)
{
	const size_t room = dirs->hash_room ? dirs->hash_room * 2 : ROOM_FIRST;
	uint32_t *hash;

	if (2 * (dirs->n + 1) <= dirs->hash_room)
		return 0;
	hash = calloc(room, sizeof(*hash));
	if (!hash)
		return -ENOMEM;
	free(dirs->hash);
	dirs->hash = hash;
	dirs->hash_room = room;
	for (size_t i = 0; i < dirs->n; i++)
		*slot_of(dirs, dirs->v[i].ino) = (uint32_t)i + 1;
	return 0;
}

static int append(struct bow_dirs *dirs, uint32_t ino)
{
	struct bow_dir *v = bow_grow(dirs->v, dirs->n, &dirs->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	dirs->v = v;
	v[dirs->n++] = (struct bow_dir){.ino = ino, .parent = BOW_NO_DIR};
	return 0;
}

int bow_dirs_get(struct bow_dirs *dirs, uint32_t ino, uint32_t *index)
{
	uint32_t *slot;

	if (make_room(dirs))
		return -ENOMEM;
	slot = slot_of(dirs, ino);
	if (!*slot) {
		if (append(dirs, ino))
			return -ENOMEM;
		*slot = (uint32_t)dirs->n;
	}
	*index = *slot - 1;
	return 0;
}

uint32_t bow_dirs_find(const struct bow_dirs *dirs, uint32_t ino)
{
	const uint32_t place = dirs->hash ? *slot_of(dirs, ino) : 0;

	return place ? place - 1 : BOW_NO_DIR;
}

void bow_dirs_release(struct bow_dirs *dirs)
{
	free(dirs->v);
	free(dirs->hash);
	*dirs = (struct bow_dirs){0};
}
