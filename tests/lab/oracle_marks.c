/* SPDX-License-Identifier: MIT */
/* What a disk was at its marks: see oracle.h. */
#include "oracle_sector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

/* ---- kept, and shared by the oracles of many timelines --------------------------- */

static void let_go(struct oracle_mark *m)
{
	uint32_t b;

	if (!m || --m->holders > 0)
		return;
	for (b = 0; m->content && b < m->blocks; b++)
		free(m->content[b]);
	free(m->content);
	free(m->pinned);
	free(m->vague);
	free(m);
}

void oracle_marks_release(struct oracle *o)
{
	while (o->marks > 0)
		let_go(o->mark[--o->marks]);
}

void oracle_marks_share(const struct oracle *o)
{
	uint32_t n;

	for (n = 0; n < o->marks; n++)
		o->mark[n]->holders++;
}

static struct oracle_mark *new_mark(const struct oracle *o, const char *name)
{
	struct oracle_mark *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->holders = 1;
	m->blocks = o->blocks;
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->pinned = calloc(m->blocks, 1);
	m->vague = calloc(m->blocks, 1);
	m->content = calloc(m->blocks, sizeof(*m->content));
	if (m->pinned && m->vague && m->content)
		return m;
	let_go(m);
	return NULL;
}

/* ---- made ------------------------------------------------------------------------ */

/* Free, and nothing was ever there but what the checkpoint began with. */
static bool is_virgin(const struct oracle_sector *s)
{
	return s->count == 1 && s->value[0] == s->original && !s->any;
}

static bool note_block(const struct oracle *o, struct oracle_mark *m, uint32_t b,
		       const uint8_t *now)
{
	uint32_t i = b * SECTORS_PER_BLOCK, k;

	for (k = 0; k < SECTORS_PER_BLOCK && i + k < o->sectors; k++)
		if (!o->is_free[b] || o->sector[i + k].known)
			m->pinned[b] |= (uint8_t)(1u << k);
		else if (!is_virgin(&o->sector[i + k]))
			m->vague[b] |= (uint8_t)(1u << k);
	if (!m->pinned[b] || bow_is_zero(now, BLOCK))
		return true;
	m->content[b] = malloc(BLOCK);
	if (m->content[b])
		memcpy(m->content[b], now, BLOCK);
	return m->content[b];
}

bool oracle_mark_made(struct oracle *o, const char *name, const uint8_t *now)
{
	struct oracle_mark *m = o->marks < ORACLE_MARKS ? new_mark(o, name) : NULL;
	uint32_t b;

	for (b = 0; m && b < o->blocks; b++)
		if (!note_block(o, m, b, now + (size_t)b * BLOCK)) {
			let_go(m);
			m = NULL;
		}
	if (m)
		o->mark[o->marks++] = m;
	return m;
}

void oracle_mark_deleted(struct oracle *o, uint32_t n)
{
	let_go(o->mark[n]);
	o->marks--;
	for (; n < o->marks; n++)
		o->mark[n] = o->mark[n + 1];
}

uint32_t oracle_mark_find(const struct oracle *o, const char *name)
{
	uint32_t n = 0;

	while (n < o->marks && strcmp(o->mark[n]->name, name) != 0)
		n++;
	return n;
}

/* ---- gone back to ---------------------------------------------------------------- */

/*
 * What was the guest's is as it was. What was free is zeros if it was written since, or what it has
 * been since prepare; where a crash has left something else, anything.
 */
static void go_back(struct oracle *o, const struct oracle_mark *m, uint32_t b)
{
	uint32_t i = b * SECTORS_PER_BLOCK, k;

	memcpy(o->current + (size_t)b * BLOCK, o->original + (size_t)b * BLOCK, BLOCK);
	for (k = 0; k < SECTORS_PER_BLOCK && i + k < o->sectors; k++) {
		struct oracle_sector *s = &o->sector[i + k];
		uint8_t *now = o->current + ((size_t)i + k) * SECTOR;
		bool any = s->any || m->vague[b] >> k & 1;

		s->known = m->pinned[b] >> k & 1;
		if (s->known && m->content[b])
			memcpy(now, m->content[b] + (size_t)k * SECTOR, SECTOR);
		else if (s->known)
			memset(now, 0, SECTOR);
		s->current = oracle_hash_sector(now);
		oracle_only_value(s, s->current);
		s->wild = !s->known;
		s->any = any && !s->known;
	}
	oracle_changed(o, i);
}

void oracle_went_back(struct oracle *o, uint32_t n)
{
	uint32_t b;

	while (o->marks > n + 1)
		let_go(o->mark[--o->marks]);
	for (b = 0; b < o->blocks; b++)
		if (!o->calm[b])
			go_back(o, o->mark[n], b);
	oracle_recount(o);
}

/* ---- compared -------------------------------------------------------------------- */

static bool is_as_it_was(const struct oracle_mark *m, uint32_t b, uint32_t start,
			 const uint8_t *data, uint64_t bytes)
{
	if (!(m->pinned[b] >> start / SECTOR & 1))
		return true;
	return m->content[b] ? !memcmp(data, m->content[b] + start, bytes)
			     : bow_is_zero(data, bytes);
}

uint64_t oracle_wrong_at(const struct oracle_mark *m, uint64_t off, const uint8_t *data,
			 uint64_t bytes)
{
	uint64_t at, n;

	for (at = off; at < off + bytes; at += n) {
		n = bow_min(SECTOR - at % SECTOR, off + bytes - at);
		if (!is_as_it_was(m, (uint32_t)(at / BLOCK), (uint32_t)(at % BLOCK),
				  data + (at - off), n))
			break;
	}
	return bow_min(at, off + bytes);
}
