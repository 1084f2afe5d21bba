/* SPDX-License-Identifier: MIT */
/* The parts of a disk that `diff` reports on: its partitions, or all of it. */
#ifndef BOW_PRINT_PLACES_H
#define BOW_PRINT_PLACES_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

struct bow_place {
	char name[16];	  /* the partition's number; "" if the disk has no partitions */
	char content[32]; /* "ext4", ... or "" */
	bool can_compare; /* its files; found by files.c, as is: */
	struct bowimg_error why_not;
	uint64_t off, bytes;
	uint64_t changed_bytes, was_free_bytes, zeroed_bytes; /* counted by ranges.c */
};

struct bow_places {
	struct bow_place *v;
	size_t n, room;
};

/* What is on the disk of cli->image as it is now: one place, or one for each partition, in
 * ascending order. */
int bow_places_list(struct bow_cli *cli, uint64_t size, struct bow_places *out,
		    struct bowimg_error *err);
/* Keep the one of this name only; false: there is none. */
bool bow_places_keep(struct bow_places *places, const char *name);
void bow_places_free(struct bow_places *places);

#endif
