/* SPDX-License-Identifier: MIT */
/* The links that came, in the order of their inodes: a sorted list. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"
#include "bowimg/diff/names/names.h"

static int by_name(const void *a, const void *b)
{
	const struct bow_diff_link *x = *(struct bow_diff_link *const *)a;
	const struct bow_diff_link *y = *(struct bow_diff_link *const *)b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->name, y->name);
}

int bow_fresh_collect(const struct bow_diff *d, struct bow_fresh *out, struct bowimg_error *err)
{
	out->v = calloc(d->added.n + d->replaced.n + 1, sizeof(struct bow_diff_link *));
	if (!out->v)
		return bow_diff_no_memory(err);
	for (size_t i = 0; i < d->added.n; i++)
		out->v[out->n++] = &d->added.v[i];
	for (size_t i = 0; i < d->replaced.n; i++)
		out->v[out->n++] = &d->replaced.v[i];
	bow_sort(out->v, out->n, sizeof(struct bow_diff_link *), by_name);
	return 0;
}

/* The place of the first link whose inode is not below this one. */
static size_t find_first(const struct bow_fresh *fresh, uint32_t ino)
{
	size_t low = 0, high = fresh->n;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;

		if (fresh->v[mid]->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t bow_fresh_count(const struct bow_fresh *fresh, uint32_t ino)
{
	const size_t first = find_first(fresh, ino);
	size_t end = first;

	while (end < fresh->n && fresh->v[end]->ino == ino)
		end++;
	return (uint32_t)(end - first);
}

bool bow_fresh_has(const struct bow_fresh *fresh, const struct bow_diff_link *link)
{
	return bow_find(&link, fresh->v, fresh->n, sizeof(struct bow_diff_link *), by_name) != NULL;
}

void bow_fresh_release(struct bow_fresh *fresh)
{
	free(fresh->v);
	*fresh = (struct bow_fresh){0};
}
