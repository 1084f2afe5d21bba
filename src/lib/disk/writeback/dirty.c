/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "lib/disk/writeback/private.h"

/* Multiplicative hashing: the golden ratio, in 64 bits. */
static uint32_t bucket_of(const struct bow_dirty_set *set, uint64_t blk)
{
	return (uint32_t)((blk * 0x9e3779b97f4a7c15u) >> 32) & (set->buckets - 1);
}

int bow_dirty_init(struct bow_dirty_set *set, uint32_t n)
{
	set->n = n;
	for (set->buckets = 64; set->buckets < 2 * n;)
		set->buckets *= 2;
	set->list = malloc(n * sizeof(set->list[0]));
	set->data = malloc((size_t)n * BOW_WRITEBACK_BLK);
	set->bucket = malloc(set->buckets * sizeof(set->bucket[0]));
	if (!set->list || !set->data || !set->bucket)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->buckets; i++)
		set->bucket[i] = n;
	for (uint32_t i = 0; i < n; i++)
		set->list[i] = (struct bow_dirty){.next = i + 1};
	set->clean = 0;
	return 0;
}

void bow_dirty_release(struct bow_dirty_set *set)
{
	free(set->list);
	free(set->data);
	free(set->bucket);
}

struct bow_dirty *bow_dirty_find(const struct bow_dirty_set *set, uint64_t blk)
{
	uint32_t i = set->bucket[bucket_of(set, blk)];

	while (i < set->n && set->list[i].blk != blk)
		i = set->list[i].next;
	return i < set->n ? &set->list[i] : NULL;
}

struct bow_dirty *bow_dirty_add(struct bow_dirty_set *set, uint64_t blk, enum bow_dirty_state state)
{
	uint32_t *bucket = &set->bucket[bucket_of(set, blk)], i = set->clean;

	if (i == set->n)
		return NULL;
	set->clean = set->list[i].next;
	set->list[i] = (struct bow_dirty){.blk = blk, .next = *bucket, .state = state};
	*bucket = i;
	return &set->list[i];
}

void bow_dirty_remove(struct bow_dirty_set *set, struct bow_dirty *d)
{
	uint32_t *at = &set->bucket[bucket_of(set, d->blk)], i = (uint32_t)(d - set->list);

	while (*at != i)
		at = &set->list[*at].next;
	*at = d->next;
	*d = (struct bow_dirty){.next = set->clean};
	set->clean = i;
}

uint8_t *bow_dirty_data(const struct bow_dirty_set *set, const struct bow_dirty *d)
{
	return set->data + (size_t)(d - set->list) * BOW_WRITEBACK_BLK;
}

bool bow_dirty_any(const struct bow_dirty_set *set, uint64_t first, uint64_t end)
{
	if (end - first <= set->n) {
		while (first < end && !bow_dirty_find(set, first))
			first++;
		return first < end;
	}
	for (uint32_t i = 0; i < set->n; i++)
		if (set->list[i].state != BOW_CLEAN && set->list[i].blk >= first &&
		    set->list[i].blk < end)
			return true;
	return false;
}
