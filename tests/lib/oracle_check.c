/* SPDX-License-Identifier: MIT */
/* What is compared with the oracle: reads, what a crash left, and both ends of a checkpoint. */
#include "oracle_sector.h"

#include <stdio.h>
#include <string.h>
#include "base/bytes.h"

/* Allowed where nothing was promised. */
static bool is_wild_value(const struct oracle *o, uint32_t i, uint64_t value)
{
	return o->sector[i].any || value == o->zeros ||
	       value == oracle_hash_sector(o->original + (size_t)i * SECTOR);
}

static bool complain(struct oracle *o, const char *what, uint32_t i, const uint8_t *got)
{
	const char *kind = "something else";

	if (bow_is_zero(got, SECTOR))
		kind = "zeros";
	else if (memcmp(got, o->original + (size_t)i * SECTOR, SECTOR) == 0)
		kind = "its original";
	else if (memcmp(got, o->current + (size_t)i * SECTOR, SECTOR) == 0)
		kind = "the current content";
	snprintf(o->why, sizeof(o->why),
		 "%s: %s block %u sector %u holds %s (%u admissible values%s, %s)", what,
		 o->is_free[i / SECTORS_PER_BLOCK] ? "free" : "used", i / SECTORS_PER_BLOCK,
		 i % SECTORS_PER_BLOCK, kind, o->sector[i].count,
		 o->sector[i].wild ? " or wild" : "", o->sector[i].known ? "promised" : "unknown");
	return false;
}

bool oracle_check_read(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	uint8_t sector[SECTOR];
	uint32_t i;

	for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) {
		struct oracle_sector *s = &o->sector[i];

		if (!s->known && !oracle_covers(o, i, off, bytes))
			continue;
		oracle_overlay(o, i, off, data, bytes, sector);
		if (memcmp(sector, o->current + (size_t)i * SECTOR, SECTOR) == 0)
			continue;
		if (s->known)
			return complain(o, "the guest reads wrong data", i, sector);
		if (!oracle_has_value(s, oracle_hash_sector(sector)) &&
		    !is_wild_value(o, i, oracle_hash_sector(sector)))
			return complain(o, "the guest reads somebody else's data", i, sector);
	}
	return true;
}

/* Was anything in the block of sector i asked for since the last flush? */
static bool block_unsettled(const struct oracle *o, uint32_t i)
{
	uint32_t k = i / SECTORS_PER_BLOCK * SECTORS_PER_BLOCK, end = k + SECTORS_PER_BLOCK;

	for (; k < end && k < o->sectors; k++)
		if (o->sector[k].dirty || o->sector[k].count != 1 || !o->sector[k].known)
			return true;
	return false;
}

/* A free block may hold what was parked in it by a batch that the crash took back. */
static bool is_leftover(const struct oracle *o, uint32_t i)
{
	return o->sector[i].wild && o->is_free[i / SECTORS_PER_BLOCK];
}

static bool settle_sector(struct oracle *o, uint32_t i, const uint8_t *got, bool power,
			  bool unsettled)
{
	struct oracle_sector *s = &o->sector[i];
	uint64_t value = oracle_hash_sector(got);
	bool admissible = oracle_has_value(s, value), leftover = is_leftover(o, i) && !admissible;
	bool nothing = leftover || s->any || (s->wild && is_wild_value(o, i, value));
	bool any = nothing && (s->any || !is_wild_value(o, i, value));

	if (!admissible && !nothing && !unsettled)
		return complain(o, "after a crash", i, got);
	memcpy(o->current + (size_t)i * SECTOR, got, SECTOR);
	s->known = !nothing;
	if (power)
		oracle_only_value(s, value);
	else if (!admissible)
		oracle_add_value(o, s, value);
	s->wild = nothing || (s->wild && !power);
	s->any = any;
	return true;
}

bool oracle_settle(struct oracle *o, const uint8_t *bytes, uint64_t off, uint64_t count, bool power,
		   bool torn)
{
	uint32_t i, block = UINT32_MAX;
	bool unsettled = false;

	for (i = oracle_first_of(off); i < oracle_end_of(off, count); i++) {
		/* Asked before its first sector is settled, which would hide the others. */
		if (torn && block != i / SECTORS_PER_BLOCK)
			unsettled = block_unsettled(o, i);
		block = i / SECTORS_PER_BLOCK;
		if (!settle_sector(o, i, bytes + (size_t)i * SECTOR, power, unsettled))
			return false;
	}
	return true;
}

static bool check_size(struct oracle *o, const char *what, uint64_t size)
{
	if (size == o->size)
		return true;
	snprintf(o->why, sizeof(o->why), "%s: the image has %llu bytes, not %llu", what,
		 (unsigned long long)size, (unsigned long long)o->size);
	return false;
}

/* One of the few blocks that the last step of an end on a device may leave as they are. */
static bool in_window(const struct oracle *o, uint32_t i, uint32_t *blocks)
{
	uint32_t block = i / SECTORS_PER_BLOCK;

	if (!o->is_free[block])
		return false;
	if (i % SECTORS_PER_BLOCK == 0 || *blocks == 0)
		++*blocks;
	return *blocks <= o->window;
}

static bool check_originals(struct oracle *o, const uint8_t *bytes, bool free_too, const char *what)
{
	uint32_t i, blocks = 0;

	for (i = 0; i < o->sectors; i++) {
		const uint8_t *got = bytes + (size_t)i * SECTOR;

		if (o->is_free[i / SECTORS_PER_BLOCK] && !free_too)
			continue;
		if (memcmp(got, o->original + (size_t)i * SECTOR, SECTOR) &&
		    !in_window(o, i, &blocks))
			return complain(o, what, i, got);
	}
	return true;
}

bool oracle_check_used(struct oracle *o, const uint8_t *bytes)
{
	return check_originals(o, bytes, false, "a used block was changed");
}

bool oracle_check_rolled_back(struct oracle *o, const uint8_t *bytes, uint64_t size)
{
	return check_size(o, "after a rollback", size) &&
	       check_originals(o, bytes, o->exact, "after a rollback");
}

bool oracle_check_committed(struct oracle *o, const uint8_t *bytes, uint64_t size, bool torn)
{
	uint32_t i, blocks = 0;

	if (!check_size(o, "after a commit", size))
		return false;
	for (i = 0; i < o->sectors; i++) {
		const uint8_t *got = bytes + (size_t)i * SECTOR;

		if (o->sector[i].wild || o->sector[i].any ||
		    oracle_has_value(&o->sector[i], oracle_hash_sector(got)))
			continue;
		if ((torn && block_unsettled(o, i)) || in_window(o, i, &blocks))
			continue;
		return complain(o, "after a commit", i, got);
	}
	return true;
}

bool oracle_check_wiped(struct oracle *o, const uint8_t *bytes)
{
	uint32_t i, blocks = 0;

	for (i = 0; i < o->sectors; i++) {
		const uint8_t *got = bytes + (size_t)i * SECTOR;
		uint64_t value = oracle_hash_sector(got);

		if (o->is_free[i / SECTORS_PER_BLOCK] && !oracle_has_value(&o->sector[i], value) &&
		    !is_wild_value(o, i, value) && !in_window(o, i, &blocks))
			return complain(o, "after a wipe", i, got);
	}
	return true;
}

uint64_t oracle_wrong_before(const struct oracle *o, uint64_t off, const uint8_t *data,
			     uint64_t bytes)
{
	uint64_t i;

	for (i = off; i < off + bytes; i++) {
		bool was_free = o->is_free[i / BLOCK];

		if (was_free ? o->exact && data[i - off] : data[i - off] != o->original[i])
			break;
	}
	return i;
}
