/* SPDX-License-Identifier: MIT */
/* Inside the search for paths: which names are missing (diff_targets.c), known directories. */
#ifndef BOW_FRONTS_DIFF_PATHS_H
#define BOW_FRONTS_DIFF_PATHS_H

#include "fronts/diff_private.h"

#define BOW_TARGETS_NONE UINT32_MAX

/* Inodes whose names are looked for. Filled with zeros it is empty. */
struct bow_targets {
	struct bow_target {
		uint32_t ino;
		uint32_t missing; /* names not found yet */
	} * v;
	size_t n, room;
	/* Of each place, the nearest one at or beyond it where something is missing; see the .c */
	uint32_t *right, *left;
	size_t open; /* with something missing */
};

int bow_targets_add(struct bow_targets *t, uint32_t ino, uint32_t names); /* -ENOMEM */
int bow_targets_seal(struct bow_targets *t); /* after all adding, before the rest; -ENOMEM */
void bow_targets_release(struct bow_targets *t);
bool bow_targets_found(struct bow_targets *t, uint32_t ino); /* is it one? counts the name */
/* How far the nearest number with something missing is; BOW_TARGETS_NONE: nothing is. */
uint32_t bow_targets_distance(struct bow_targets *t, uint32_t ino);

#endif
