/* SPDX-License-Identifier: MIT */
/*
 * The inodes whose names are missing, sorted, and the one nearest to a number. A target that is
 * done points to both its neighbours. Chains of pointers are shortened as they are followed, so
 * that it stays fast however many targets are done.
 */
#include "lib/base/grow.h"
#include "bowimg/diff/names/names.h"

#include <stdlib.h>

int bow_targets_add(struct bow_targets *t, uint32_t ino, uint32_t names)
{
	struct bow_target *v = bow_grow(t->v, t->n, &t->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	t->v = v;
	v[t->n++] = (struct bow_target){ino, names};
	return 0;
}

static int by_ino(const void *a, const void *b)
{
	const uint32_t x = ((const struct bow_target *)a)->ino;
	const uint32_t y = ((const struct bow_target *)b)->ino;

	return x < y ? -1 : x > y;
}

/* Places are 0 to n - 1. In `right` n means "none". `left` is one further along, and 0 means
 * "none".
 */
int bow_targets_seal(struct bow_targets *t)
{
	size_t kept = 0;

	bow_sort(t->v, t->n, sizeof(*t->v), by_ino);
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].missing && (!kept || t->v[kept - 1].ino != t->v[i].ino))
			t->v[kept++] = t->v[i];
	t->n = t->open = kept;
	t->right = calloc(kept + 1, sizeof(*t->right));
	t->left = calloc(kept + 1, sizeof(*t->left));
	if (!t->right || !t->left)
		return -ENOMEM;
	for (size_t i = 0; i <= kept; i++)
		t->right[i] = t->left[i] = (uint32_t)i;
	return 0;
}

void bow_targets_release(struct bow_targets *t)
{
	free(t->v);
	free(t->right);
	free(t->left);
	*t = (struct bow_targets){0};
}

static uint32_t follow(uint32_t *next, uint32_t i)
{
	while (next[i] != i) {
		next[i] = next[next[i]];
		i = next[i];
	}
	return i;
}

/* The first place whose number is not below `ino`. */
static uint32_t place(const struct bow_targets *t, uint32_t ino)
{
	uint32_t low = 0, high = (uint32_t)t->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (t->v[mid].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool bow_targets_found(struct bow_targets *t, uint32_t ino)
{
	const uint32_t i = place(t, ino);

	if (i == t->n || t->v[i].ino != ino)
		return false;
	if (t->v[i].missing && --t->v[i].missing == 0) {
		t->right[i] = i + 1;
		t->left[i + 1] = i;
		t->open--;
	}
	return true;
}

uint32_t bow_targets_distance(struct bow_targets *t, uint32_t ino)
{
	const uint32_t i = place(t, ino);
	const uint32_t after = follow(t->right, i), before = follow(t->left, i);
	uint32_t distance = BOW_TARGETS_NONE;

	if (after < t->n)
		distance = t->v[after].ino - ino;
	if (before > 0 && ino - t->v[before - 1].ino < distance)
		distance = ino - t->v[before - 1].ino;
	return distance;
}
