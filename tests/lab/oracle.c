/* SPDX-License-Identifier: MIT */
/* What must be true of a disk under a checkpoint: see oracle.h. */
#include "oracle_sector.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "lib/base/bytes.h"

#define HASH_SEED 0x0bac1eu

uint64_t oracle_hash_sector(const uint8_t *bytes)
{
	return bow_hash(bytes, SECTOR, HASH_SEED);
}

uint64_t oracle_hash_of(struct oracle *o, uint32_t i, const uint8_t *bytes)
{
	const uint8_t *current = o->current + (size_t)i * SECTOR;

	if (bytes != current && memcmp(bytes, current, SECTOR) != 0)
		return oracle_hash_sector(bytes);
	if (!o->sector[i].current) {
		o->sector[i].current = oracle_hash_sector(current);
		oracle_changed(o, i);
	}
	return o->sector[i].current;
}

void oracle_changed(struct oracle *o, uint32_t sector)
{
	uint32_t b = sector / SECTORS_PER_BLOCK;

	versions_changed(&o->versions, b, b + 1);
	o->empty[b] = o->calm[b] = false;
}

void oracle_only_value(struct oracle_sector *s, uint64_t value)
{
	s->value[0] = value;
	s->count = 1;
	s->wild = s->any = s->dirty = false;
}

bool oracle_has_value(const struct oracle_sector *s, uint64_t value)
{
	uint32_t i;

	for (i = 0; i < s->count; i++)
		if (s->value[i] == value)
			return true;
	return false;
}

void oracle_add_value(struct oracle *o, struct oracle_sector *s, uint64_t value)
{
	if (oracle_has_value(s, value))
		return;
	assert(s->count < ORACLE_VALUES);
	s->value[s->count++] = value;
	if (s->count > o->fullest)
		o->fullest = s->count;
}

/* The part of [off, off + bytes) in sector i: where it begins in the sector, and how long it is. */
static uint32_t part_of(uint32_t i, uint64_t off, uint64_t bytes, uint32_t *start)
{
	uint64_t low = bow_max(off, (uint64_t)i * SECTOR);
	uint64_t high = bow_min(off + bytes, ((uint64_t)i + 1) * SECTOR);

	*start = (uint32_t)(low % SECTOR);
	return (uint32_t)(high - low);
}

/* True if the range covers all of sector i that lies inside the disk. */
bool oracle_covers(const struct oracle *o, uint32_t i, uint64_t off, uint64_t bytes)
{
	return off <= (uint64_t)i * SECTOR &&
	       off + bytes >= bow_min(((uint64_t)i + 1) * SECTOR, o->size);
}

/* The sectors of a range: for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) */
uint32_t oracle_first_of(uint64_t off)
{
	return (uint32_t)(off / SECTOR);
}

uint32_t oracle_end_of(uint64_t off, uint64_t bytes)
{
	return (uint32_t)bow_div_up(off + bytes, SECTOR);
}

void oracle_overlay(const struct oracle *o, uint32_t i, uint64_t off, const uint8_t *data,
		    uint64_t bytes, uint8_t sector[SECTOR])
{
	uint32_t start, count = part_of(i, off, bytes, &start);

	memcpy(sector, o->current + (size_t)i * SECTOR, SECTOR);
	if (data)
		memcpy(sector + start, data + ((uint64_t)i * SECTOR + start - off), count);
	else
		memset(sector + start, 0, count);
}

void oracle_may_become(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	uint8_t sector[SECTOR];
	uint32_t i;

	for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) {
		assert(o->sector[i].known || oracle_covers(o, i, off, bytes));
		oracle_overlay(o, i, off, data, bytes, sector);
		oracle_add_value(o, &o->sector[i], oracle_hash_sector(sector));
		o->sector[i].dirty = true;
		oracle_changed(o, i);
	}
}

void oracle_became(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	uint32_t i;

	if (data)
		memcpy(o->current + off, data, bytes);
	else
		memset(o->current + off, 0, bytes);
	for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) {
		o->sector[i].known = true;
		o->sector[i].current = 0;
		oracle_changed(o, i);
	}
}

void oracle_may_discard(struct oracle *o, uint64_t off, uint64_t bytes)
{
	uint32_t i;

	for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) {
		o->sector[i].wild = o->sector[i].dirty = true;
		oracle_changed(o, i);
	}
}

void oracle_uncertain(struct oracle *o, uint64_t off, uint64_t bytes)
{
	uint32_t i;

	for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) {
		o->sector[i].known = false;
		oracle_changed(o, i);
	}
}

void oracle_discarded(struct oracle *o, uint64_t off, uint64_t bytes)
{
	oracle_uncertain(o, off, bytes);
}

static void flushed_sector(struct oracle *o, uint32_t i)
{
	struct oracle_sector *s = &o->sector[i];
	bool settles = s->known && (s->count != 1 || s->wild);
	bool forgets = !s->known && s->count > ORACLE_VALUES / 2;

	if (s->dirty || settles || forgets)
		oracle_changed(o, i);
	s->dirty = false;
	if (settles) {
		oracle_only_value(s, oracle_hash_of(o, i, o->current + (size_t)i * SECTOR));
	} else if (forgets) {
		s->any = true;
		s->count = 0;
	}
}

/* What is not known keeps all its values: it may still turn out to be any of them. */
void oracle_flushed_quietly(struct oracle *o, uint64_t off, uint64_t bytes)
{
	uint32_t i;

	for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++)
		if (!o->calm[i / SECTORS_PER_BLOCK] && oracle_covers(o, i, off, bytes))
			flushed_sector(o, i);
}

void oracle_recount(struct oracle *o)
{
	uint32_t i;

	o->fullest = 1;
	for (i = 0; i < o->sectors; i++)
		if (!o->calm[i / SECTORS_PER_BLOCK])
			o->fullest = (uint32_t)bow_max(o->fullest, o->sector[i].count);
}

void oracle_flushed(struct oracle *o, uint64_t off, uint64_t bytes)
{
	oracle_flushed_quietly(o, off, bytes);
	oracle_recount(o);
}
