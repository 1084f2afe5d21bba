/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "lib/disk/writeback/private.h"

/* Multiplicative hashing: the golden ratio, in 64 bits. */
static uint32_t bucket_of(const struct bow_dirty_set *set, uint64_t blk)
{
	return (uint32_t)((blk * 0x9e3779b97f4a7c15u) >> 32) & (set->buckets - 1);
}

static void link_in(struct bow_dirty_set *set, uint32_t i)
{
	uint32_t *bucket = &set->bucket[bucket_of(set, set->list[i].blk)];

	set->list[i].next = *bucket;
	*bucket = i;
	set->used++;
}

static void link_clean(struct bow_dirty_set *set, uint32_t i)
{
	set->list[i].next = set->clean;
	set->clean = i;
}

/* Find each block its bucket again. Returns false if some cannot be of this disk. */
static bool link_all(struct bow_dirty_set *set, uint64_t blocks)
{
	bool all = true;

	for (uint32_t i = set->n; i-- > 0;) {
		struct bow_dirty *d = &set->list[i];
		bool owed = bow_store_owes(d);

		if (owed && d->blk < blocks && !bow_dirty_find(set, d->blk)) {
			d->state = BOW_DIRTY;
			link_in(set, i);
			continue;
		}
		all = all && !owed;
		d->state = BOW_CLEAN;
		link_clean(set, i);
	}
	return all;
}

int bow_dirty_init(struct bow_dirty_set *set, const struct bow_writeback_options *opts,
		   uint64_t size, bool *lost)
{
	int rc;

	for (set->buckets = 64; set->buckets < 2 * set->n;)
		set->buckets *= 2;
	set->bucket = malloc(set->buckets * sizeof(set->bucket[0]));
	if (!set->bucket)
		return -ENOMEM;
	rc = bow_store_open(set, opts, size, lost);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < set->buckets; i++)
		set->bucket[i] = set->n;
	set->clean = set->n;
	if (!link_all(set, (size + BOW_WRITEBACK_BLK - 1) / BOW_WRITEBACK_BLK))
		*lost = true;
	return 0;
}

void bow_dirty_release(struct bow_dirty_set *set)
{
	bow_store_release(set);
	free(set->bucket);
}

struct bow_dirty *bow_dirty_find(const struct bow_dirty_set *set, uint64_t blk)
{
	uint32_t i = set->bucket[bucket_of(set, blk)];

	while (i < set->n && set->list[i].blk != blk)
		i = set->list[i].next;
	return i < set->n ? &set->list[i] : NULL;
}

struct bow_dirty *bow_dirty_add(struct bow_dirty_set *set, uint64_t blk)
{
	uint32_t i = set->clean;

	if (i == set->n)
		return NULL;
	set->clean = set->list[i].next;
	bow_store_begin(&set->list[i], blk);
	link_in(set, i);
	return &set->list[i];
}

static void unlink_from_bucket(struct bow_dirty_set *set, const struct bow_dirty *d)
{
	uint32_t *at = &set->bucket[bucket_of(set, d->blk)], i = (uint32_t)(d - set->list);

	while (*at != i)
		at = &set->list[*at].next;
	*at = d->next;
	set->used--;
}

void bow_dirty_remove(struct bow_dirty_set *set, struct bow_dirty *d)
{
	unlink_from_bucket(set, d);
	bow_store_end(d, BOW_CLEAN);
	link_clean(set, (uint32_t)(d - set->list));
}

void bow_dirty_lose(struct bow_dirty_set *set, struct bow_dirty *d)
{
	unlink_from_bucket(set, d);
	bow_store_end(d, BOW_LOST);
}

uint8_t *bow_dirty_data(const struct bow_dirty_set *set, const struct bow_dirty *d)
{
	return set->data + (size_t)(d - set->list) * BOW_WRITEBACK_BLK;
}

bool bow_dirty_any(const struct bow_dirty_set *set, uint64_t first, uint64_t end)
{
	if (!set->used)
		return false;
	if (end - first <= set->n) {
		while (first < end && !bow_dirty_find(set, first))
			first++;
		return first < end;
	}
	for (uint32_t i = 0; i < set->n; i++)
		if (set->list[i].state != BOW_CLEAN && set->list[i].state != BOW_LOST &&
		    set->list[i].blk >= first && set->list[i].blk < end)
			return true;
	return false;
}
