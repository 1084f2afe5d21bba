/* SPDX-License-Identifier: MIT */
/*
 * Which directory has which block. One block of names in many directories, or in many places of
 * one, would be thousands of entries for the price of an extent: it is damage. This is a hash table
 * with a random seed, of 16 bytes for each block of a directory that was read.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/bytes.h"
#include "bowimg/diff/ext/fs.h"

#define ROOM_FIRST 256u

struct bow_ext_owner {
	uint64_t blk; /* 0: nothing here */
	uint32_t ino;
	uint32_t walk; /* the last one that met it */
};

static struct bow_ext_owner *place(const struct bow_ext_owners *o, uint64_t blk)
{
	size_t i = bow_hash(&blk, sizeof(blk), o->seed) & (o->room - 1);

	while (o->v[i].blk && o->v[i].blk != blk)
		i = (i + 1) & (o->room - 1);
	return &o->v[i];
}

/* At most half of the places are taken. */
static int make_room(struct bow_ext_owners *o)
{
	struct bow_ext_owners more = {.room = o->room ? o->room * 2 : ROOM_FIRST, .n = o->n};

	if (o->n < o->room / 2)
		return 0;
	more.v = calloc(more.room, sizeof(*more.v));
	if (!more.v)
		return -ENOMEM;
	if (getrandom(&more.seed, sizeof(more.seed), GRND_NONBLOCK) != sizeof(more.seed))
		more.seed = (uintptr_t)more.v;
	more.walks = o->walks;
	for (size_t i = 0; i < o->room; i++)
		if (o->v[i].blk)
			*place(&more, o->v[i].blk) = o->v[i];
	free(o->v);
	*o = more;
	return 0;
}

int bow_ext_own(struct bow_ext_owners *o, uint64_t blk, uint32_t ino, uint32_t walk)
{
	struct bow_ext_owner *owner;

	if (make_room(o))
		return -ENOMEM;
	owner = place(o, blk);
	if (owner->blk && (owner->ino != ino || owner->walk == walk))
		return -EUCLEAN;
	o->n += !owner->blk;
	*owner = (struct bow_ext_owner){blk, ino, walk};
	return 0;
}

void bow_ext_owners_release(struct bow_ext_owners *o)
{
	free(o->v);
	*o = (struct bow_ext_owners){0};
}
