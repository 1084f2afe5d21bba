/* SPDX-License-Identifier: MIT */
/* What is compared with the oracle: reads, what a crash left, and both ends of a checkpoint. */
#include "oracle_sector.h"

#include <stdio.h>
#include <string.h>
#include "lib/base/bytes.h"

/* Allowed where nothing was promised. */
static bool is_wild_value(const struct oracle *o, uint32_t i, uint64_t value)
{
	return o->sector[i].any || value == o->zeros || value == o->sector[i].original;
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

/* Bytes of one block. */
static bool is_current(const struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	return o->empty[off / BLOCK] ? bow_is_zero(data, bytes)
				     : memcmp(data, o->current + off, bytes) == 0;
}

static bool all_current(const struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	uint64_t n;

	for (; bytes > 0; off += n, data += n, bytes -= n) {
		n = bow_min(BLOCK - off % BLOCK, bytes);
		if (!is_current(o, off, data, n))
			return false;
	}
	return true;
}

bool oracle_check_read(struct oracle *o, uint64_t off, const uint8_t *data, uint64_t bytes)
{
	uint8_t sector[SECTOR];
	uint32_t i;

	if (all_current(o, off, data, bytes))
		return true;
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

/* Promised, with one value: that it is read changes nothing. */
static bool is_settled(const struct oracle_sector *s)
{
	return s->known && s->count == 1 && s->value[0] == s->current && !s->wild && !s->any;
}

/* A free block may hold what was parked in it by a batch that the crash took back. */
static bool is_leftover(const struct oracle *o, uint32_t i)
{
	return o->sector[i].wild && o->is_free[i / SECTORS_PER_BLOCK];
}

static bool settle_sector(struct oracle *o, uint32_t i, const uint8_t *got, bool power,
			  bool unsettled)
{
	uint64_t value = oracle_hash_of(o, i, got);

	if (value == o->sector[i].current && is_settled(&o->sector[i]))
		return true;

	struct oracle_sector *s = &o->sector[i], was = *s;
	bool admissible = oracle_has_value(s, value), leftover = is_leftover(o, i) && !admissible;
	bool nothing = leftover || s->any || (s->wild && is_wild_value(o, i, value));
	bool any = nothing && (s->any || !is_wild_value(o, i, value));

	if (!admissible && !nothing && !unsettled)
		return complain(o, "after a crash", i, got);
	if (s->current != value) {
		memcpy(o->current + (size_t)i * SECTOR, got, SECTOR);
		s->current = value;
	}
	s->known = !nothing;
	if (power)
		oracle_only_value(s, value);
	else if (!admissible)
		oracle_add_value(o, s, value);
	s->wild = nothing || (s->wild && !power);
	s->any = any;
	if (memcmp(s, &was, sizeof(was)) != 0)
		oracle_changed(o, i);
	return true;
}

bool oracle_settle(struct oracle *o, const uint8_t *bytes, uint64_t off, uint64_t count, bool power,
		   bool torn)
{
	uint32_t i, block = UINT32_MAX;
	bool unsettled = false;

	for (i = oracle_first_of(off); i < oracle_end_of(off, count); i++) {
		const uint8_t *got = bytes + ((size_t)i * SECTOR - off);

		/* Zeros, which are its one value: nothing becomes known by that. */
		if (o->calm[i / SECTORS_PER_BLOCK] && bow_is_zero(got, SECTOR))
			continue;
		/* Asked before its first sector is settled, which would hide the others. */
		if (torn && block != i / SECTORS_PER_BLOCK)
			unsettled = block_unsettled(o, i);
		block = i / SECTORS_PER_BLOCK;
		if (!settle_sector(o, i, got, power, unsettled))
			return false;
	}
	return true;
}

bool oracle_settle_refused(struct oracle *o, const uint8_t *bytes, uint64_t off, uint64_t count)
{
	bool good = true;
	uint32_t i;

	for (i = oracle_first_of(off); good && i < oracle_end_of(off, count); i++) {
		struct oracle_sector *s = &o->sector[i];
		bool open = s->wild && !s->known;

		good = settle_sector(o, i, bytes + ((size_t)i * SECTOR - off), false, false);
		s->known = s->known && !open;
	}
	return good;
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

static bool is_untouched(const bool *touched, uint32_t block)
{
	return touched && !touched[block];
}

static bool check_originals(struct oracle *o, const uint8_t *bytes, const bool *touched,
			    bool free_too, const char *what)
{
	uint32_t i, blocks = 0;

	for (i = 0; i < o->sectors; i++) {
		const uint8_t *got = bytes + (size_t)i * SECTOR;
		uint32_t b = i / SECTORS_PER_BLOCK;

		if ((o->is_free[b] && !free_too) || (o->blank[b] && is_untouched(touched, b))) {
			i |= SECTORS_PER_BLOCK - 1;
			continue;
		}
		if (memcmp(got, o->original + (size_t)i * SECTOR, SECTOR) &&
		    !in_window(o, i, &blocks))
			return complain(o, what, i, got);
	}
	return true;
}

bool oracle_check_used(struct oracle *o, const uint8_t *bytes, const bool *touched)
{
	return check_originals(o, bytes, touched, false, "a used block was changed");
}

bool oracle_check_rolled_back(struct oracle *o, const uint8_t *bytes, const bool *touched,
			      uint64_t size)
{
	return check_size(o, "after a rollback", size) &&
	       check_originals(o, bytes, touched, o->exact, "after a rollback");
}

/* Calm and untouched: zeros, which are its one value. */
bool oracle_check_committed(struct oracle *o, const uint8_t *bytes, const bool *touched,
			    uint64_t size, bool torn)
{
	uint32_t i, blocks = 0;

	if (!check_size(o, "after a commit", size))
		return false;
	for (i = 0; i < o->sectors; i++) {
		const uint8_t *got = bytes + (size_t)i * SECTOR;
		uint32_t b = i / SECTORS_PER_BLOCK;

		if (o->calm[b] && is_untouched(touched, b)) {
			i |= SECTORS_PER_BLOCK - 1;
			continue;
		}
		if (o->sector[i].wild || o->sector[i].any ||
		    oracle_has_value(&o->sector[i], oracle_hash_of(o, i, got)))
			continue;
		if ((torn && block_unsettled(o, i)) || in_window(o, i, &blocks))
			continue;
		return complain(o, "after a commit", i, got);
	}
	return true;
}

bool oracle_check_wiped(struct oracle *o, const uint8_t *bytes, const bool *touched)
{
	uint32_t i, blocks = 0;

	for (i = 0; i < o->sectors; i++) {
		const uint8_t *got = bytes + (size_t)i * SECTOR;
		uint32_t b = i / SECTORS_PER_BLOCK;

		if (!o->is_free[b] || is_untouched(touched, b)) {
			i |= SECTORS_PER_BLOCK - 1;
			continue;
		}

		uint64_t value = oracle_hash_sector(got);

		if (!oracle_has_value(&o->sector[i], value) && !is_wild_value(o, i, value) &&
		    !in_window(o, i, &blocks))
			return complain(o, "after a wipe", i, got);
	}
	return true;
}

uint64_t oracle_wrong_before(const struct oracle *o, uint64_t off, const uint8_t *data,
			     uint64_t bytes)
{
	uint64_t at, n, k;

	for (at = off; at < off + bytes; at += n) {
		bool was_free = o->is_free[at / BLOCK];
		const uint8_t *got = data + (at - off), *was = o->original + at;

		n = bow_min(BLOCK - at % BLOCK, off + bytes - at);
		if (was_free		   ? !o->exact || bow_is_zero(got, n)
		    : o->blank[at / BLOCK] ? bow_is_zero(got, n)
					   : !memcmp(got, was, n))
			continue;
		for (k = 0; was_free ? !got[k] : got[k] == was[k];)
			k++;
		return at + k;
	}
	return at;
}
