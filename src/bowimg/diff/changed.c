/* SPDX-License-Identifier: MIT */
/* The set of changed blocks: sorted ranges, and bits numbered along them. */
#include "bowimg/diff/changed.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"

static int push(struct bow_changed_range **v, size_t *n, size_t *room, uint64_t start, uint64_t end)
{
	struct bow_changed_range *grown;

	if (*n && start <= (*v)[*n - 1].end) {
		(*v)[*n - 1].end = bow_max(end, (*v)[*n - 1].end);
		return 0;
	}
	grown = bow_grow(*v, *n, room, sizeof(**v));
	if (!grown)
		return -ENOMEM;
	*v = grown;
	grown[(*n)++] = (struct bow_changed_range){.start = start, .end = end};
	return 0;
}

int bow_changed_add(struct bow_changed *c, const struct bowimg_change *change)
{
	const uint64_t from = bow_max(change->off, c->off);
	const uint64_t to = bow_min(change->off + change->bytes, c->off + c->bytes);
	const uint64_t size = c->block_size;
	uint64_t start, end;
	int rc;

	if (from >= to)
		return 0;
	rc = push(&c->v, &c->n, &c->room, (from - c->off) / size, bow_div_up(to - c->off, size));
	if (rc || !change->was_free)
		return rc;
	/* A block is in use if a part of it is. */
	start = bow_div_up(from - c->off, size);
	end = (to - c->off) / size;
	return start < end ? push(&c->was_free, &c->n_free, &c->room_free, start, end) : 0;
}

int bow_changed_finish(struct bow_changed *c)
{
	for (size_t i = 0; i < c->n; i++) {
		c->v[i].rank = c->blocks;
		c->blocks += c->v[i].end - c->v[i].start;
	}
	c->open = c->blocks;
	c->settled = calloc(bow_div_up(c->blocks, 64) + 1, sizeof(*c->settled));
	if (!c->settled)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_free; i++)
		bow_changed_settle(c, c->was_free[i].start, c->was_free[i].end);
	return 0;
}

void bow_changed_release(struct bow_changed *c)
{
	free(c->v);
	free(c->was_free);
	free(c->settled);
	*c = (struct bow_changed){0};
}

/* The first range that ends after `from`. */
static size_t find(const struct bow_changed *c, uint64_t from)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->v[mid].end > from)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

uint64_t bow_changed_next(const struct bow_changed *c, uint64_t from, uint64_t end, uint64_t *start)
{
	size_t i = find(c, from);

	if (i == c->n || c->v[i].start >= end || from >= end)
		return 0;
	*start = bow_max(from, c->v[i].start);
	return bow_min(end, c->v[i].end) - *start;
}

static bool is_settled(const struct bow_changed *c, uint64_t rank)
{
	return c->settled[rank / 64] >> rank % 64 & 1;
}

uint64_t bow_changed_next_open(const struct bow_changed *c, uint64_t from, uint64_t end,
			       uint64_t *start)
{
	for (size_t i = find(c, from); i < c->n && c->v[i].start < end; i++) {
		const struct bow_changed_range *r = &c->v[i];
		uint64_t blk = bow_max(from, r->start), to = bow_min(end, r->end), n = 0;

		while (blk < to && is_settled(c, r->rank + blk - r->start))
			blk++;
		while (blk + n < to && !is_settled(c, r->rank + blk + n - r->start))
			n++;
		*start = blk;
		if (n)
			return n;
	}
	return 0;
}

bool bow_changed_settle(struct bow_changed *c, uint64_t start, uint64_t end)
{
	const uint64_t before = c->open;

	for (size_t i = find(c, start); i < c->n && c->v[i].start < end; i++) {
		const struct bow_changed_range *r = &c->v[i];

		for (uint64_t blk = bow_max(start, r->start); blk < bow_min(end, r->end); blk++) {
			const uint64_t rank = r->rank + blk - r->start;

			c->open -= !is_settled(c, rank);
			c->settled[rank / 64] |= UINT64_C(1) << rank % 64;
		}
	}
	return c->open < before;
}
