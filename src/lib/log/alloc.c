/* SPDX-License-Identifier: MIT */
/* Handing out FREE blocks and tail blocks. The caller locks. */
#include "lib/log/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/base/bytes.h"

#define ZONE_BLK 4096u /* 16 MiB */

void bow_alloc_init(struct bow_alloc *a, struct bow_blocks *blocks, uint64_t tail_next,
		    uint64_t tail_end)
{
	a->blocks = blocks;
	a->zone = (blocks->count - 1) / ZONE_BLK;
	a->next = a->zone * ZONE_BLK;
	a->tail_next = tail_next;
	a->tail_end = bow_max(tail_next, tail_end);
	a->gaps = NULL;
	a->n_gaps = a->next_gap = 0;
	a->gap_blk = 0;
	a->free_blk = bow_bitmap_count(blocks->free) - bow_bitmap_count(blocks->held);
	/*
	 * Taken blocks of the free map are LIVE; other taken blocks are SAVED and do not count
	 * here.
	 */
	for (uint64_t s = 0, n; bow_bitmap_next_run(blocks->taken, &s, &n, blocks->count); s += n)
		a->free_blk -= bow_bitmap_count_range(blocks->free, s, n);
}

static bool find_in_zone(const struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start,
			 uint64_t *n)
{
	uint64_t end = bow_min((a->zone + 1) * ZONE_BLK, a->blocks->count);

	for (*start = a->next; bow_blocks_next_free(a->blocks, start, n, end, most); *start += *n)
		if (*n >= least)
			return true;
	return false;
}

/*
 * Go down zone by zone. At the front of the image, start once more from the end, for blocks that
 * were skipped as too short or given back.
 */
static bool find(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start, uint64_t *n)
{
	uint64_t zones = (a->blocks->count - 1) / ZONE_BLK + 1;

	for (uint64_t tried = 0; tried <= zones; tried++) {
		if (find_in_zone(a, least, most, start, n))
			return true;
		a->zone = a->zone ? a->zone - 1 : zones - 1;
		a->next = a->zone * ZONE_BLK;
	}
	return false;
}

uint64_t bow_alloc_free_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start)
{
	uint64_t s, n;

	if (a->free_blk < least || !find(a, least, most, &s, &n))
		return 0;
	if (bow_bitmap_set(a->blocks->held, s, n))
		return 0;
	a->free_blk -= n;
	a->next = s + n;
	*start = s;
	return n;
}

/* Returns the next run of the tail from *blk on that nothing uses, 0 if there is none. */
static uint64_t next_gap(const struct bow_alloc *a, const struct bow_rangemap *used, uint64_t *blk)
{
	uint64_t run, value;
	bool found;

	for (; *blk < a->tail_next; *blk += run) {
		run = bow_rangemap_get(used, *blk, a->tail_next - *blk, &value, &found);
		if (!found)
			return run;
	}
	return 0;
}

int bow_alloc_find_gaps(struct bow_alloc *a, const struct bow_rangemap *used)
{
	uint64_t blk = a->blocks->count, n;

	if (!used || !bow_rangemap_nodes(used))
		return 0;
	/* One before each run in use at most. */
	a->gaps = calloc(bow_rangemap_nodes(used), sizeof(a->gaps[0]));
	if (!a->gaps)
		return -ENOMEM;
	for (; (n = next_gap(a, used, &blk)) > 0; blk += n) {
		a->gaps[a->n_gaps++] = (struct bow_run){blk, n};
		a->gap_blk += n;
	}
	return 0;
}

void bow_alloc_release(struct bow_alloc *a)
{
	free(a->gaps);
	a->gaps = NULL;
}

uint64_t bow_alloc_tail_left(const struct bow_alloc *a)
{
	return a->tail_end - a->tail_next + a->gap_blk;
}

/* From the first gap that is left; one that is too short is skipped for good. */
static uint64_t gap_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start)
{
	struct bow_run *gap;
	uint64_t n;

	for (; a->next_gap < a->n_gaps; a->next_gap++) {
		gap = &a->gaps[a->next_gap];
		n = bow_min(most, gap->count_blk);
		a->gap_blk -= n < least ? gap->count_blk : n;
		if (!n || n < least)
			continue;
		*start = gap->start_blk;
		gap->start_blk += n;
		gap->count_blk -= n;
		return n;
	}
	return 0;
}

uint64_t bow_alloc_tail_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start)
{
	uint64_t n = most ? gap_run(a, least, most, start) : 0;

	if (n)
		return n;
	n = bow_min(most, a->tail_end - a->tail_next);
	if (n < least || n == 0)
		return 0;
	*start = a->tail_next;
	a->tail_next += n;
	return n;
}

void bow_alloc_take(struct bow_alloc *a, uint64_t start, uint64_t n)
{
	int rc = bow_bitmap_set(a->blocks->taken, start, n);

	assert(rc == 0 && a->free_blk >= n); /* the caller has reserved the leaves */
	(void)rc;
	a->free_blk -= n;
}

void bow_alloc_untake(struct bow_alloc *a, uint64_t start, uint64_t n)
{
	int rc = bow_bitmap_clear(a->blocks->taken, start, n);

	assert(rc == 0);
	(void)rc;
	a->free_blk += n;
}
