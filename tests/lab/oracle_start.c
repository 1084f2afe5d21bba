/* SPDX-License-Identifier: MIT */
/* An oracle's making, copying, and the checkpoint that begins: see oracle.h. */
#include "oracle_sector.h"

#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

int oracle_init(struct oracle *o, uint64_t max_size)
{
	uint64_t blocks = bow_div_up(max_size, BLOCK);

	memset(o, 0, sizeof(*o));
	o->original = calloc(blocks, BLOCK);
	o->current = calloc(blocks, BLOCK);
	o->is_free = malloc(blocks * sizeof(bool));
	o->blank = malloc(blocks * sizeof(bool));
	o->empty = malloc(blocks * sizeof(bool));
	o->calm = calloc(blocks, sizeof(bool));
	o->key = malloc(blocks * sizeof(*o->key));
	o->sector = malloc(blocks * SECTORS_PER_BLOCK * sizeof(*o->sector));
	if (!o->original || !o->current || !o->is_free || !o->blank || !o->empty || !o->calm ||
	    !o->key || !o->sector || !versions_init(&o->versions, blocks)) {
		oracle_release(o);
		return -1;
	}
	memset(o->blank, true, blocks * sizeof(bool));
	memset(o->empty, true, blocks * sizeof(bool));
	return 0;
}

void oracle_release(struct oracle *o)
{
	free(o->original);
	free(o->current);
	free(o->is_free);
	free(o->blank);
	free(o->empty);
	free(o->calm);
	free(o->key);
	free(o->sector);
	versions_release(&o->versions);
	oracle_marks_release(o);
}

/* What is known of one block, without its original. */
static void copy_block(struct oracle *dst, const struct oracle *src, uint32_t b)
{
	uint32_t first = b * SECTORS_PER_BLOCK;
	uint32_t n = (uint32_t)bow_min(SECTORS_PER_BLOCK, src->sectors - first);

	if (!dst->empty[b] || !src->empty[b])
		memcpy(dst->current + (size_t)b * BLOCK, src->current + (size_t)b * BLOCK, BLOCK);
	memcpy(dst->sector + first, src->sector + first, n * sizeof(*src->sector));
	oracle_changed(dst, first);
	dst->empty[b] = src->empty[b];
	dst->calm[b] = src->calm[b];
}

/* Another checkpoint's originals. */
static void copy_originals(struct oracle *dst, const struct oracle *src)
{
	size_t b;

	for (b = 0; b < src->blocks; b++)
		if (!dst->blank[b] || !src->blank[b])
			memcpy(dst->original + b * BLOCK, src->original + b * BLOCK, BLOCK);
	memcpy(dst->is_free, src->is_free, src->blocks * sizeof(bool));
	memcpy(dst->blank, src->blank, src->blocks * sizeof(bool));
	memcpy(dst->key, src->key, src->blocks * sizeof(*src->key));
}

void oracle_copy(struct oracle *dst, const struct oracle *src)
{
	struct oracle own = *dst;
	uint64_t b;

	oracle_marks_share(src);
	oracle_marks_release(&own);
	*dst = *src;
	dst->original = own.original;
	dst->current = own.current;
	dst->is_free = own.is_free;
	dst->blank = own.blank;
	dst->empty = own.empty;
	dst->calm = own.calm;
	dst->key = own.key;
	dst->sector = own.sector;
	dst->versions = own.versions;
	if (own.start != src->start)
		copy_originals(dst, src);
	for (b = 0;
	     (b = versions_differ(&dst->versions, &src->versions, b, src->blocks)) < src->blocks;
	     b++)
		copy_block(dst, src, (uint32_t)b);
	versions_copied(&dst->versions, &src->versions);
}

static void start_sector(struct oracle *o, uint32_t i, bool is_free)
{
	struct oracle_sector *s = &o->sector[i];

	s->original = o->blank[i / SECTORS_PER_BLOCK]
			      ? o->zeros
			      : oracle_hash_sector(o->original + (size_t)i * SECTOR);
	s->current = s->original;
	oracle_only_value(s, s->original);
	s->known = !is_free;
	s->wild = !s->known;
}

/* bytes NULL: zeros. */
static void start_content(struct oracle *o, uint32_t b, const uint8_t *bytes)
{
	uint8_t *original = o->original + (size_t)b * BLOCK,
		*current = o->current + (size_t)b * BLOCK;
	size_t n = bow_min(BLOCK, o->size - (uint64_t)b * BLOCK);

	if (bytes) {
		memcpy(original, bytes, n);
		memset(original + n, 0, BLOCK - n);
		memcpy(current, original, BLOCK);
	}
	if (!bytes && !o->blank[b])
		memset(original, 0, BLOCK);
	if (!bytes && !o->empty[b])
		memset(current, 0, BLOCK);
	o->blank[b] = !bytes || bow_is_zero(original, BLOCK);
	o->key[b] = 0;
	if (!o->blank[b])
		memcpy(&o->key[b], original, sizeof(o->key[b]));
}

static void start_block(struct oracle *o, uint32_t b, const uint8_t *bytes, bool is_free)
{
	uint32_t i = b * SECTORS_PER_BLOCK,
		 end = (uint32_t)bow_min(i + SECTORS_PER_BLOCK, o->sectors);

	start_content(o, b, bytes);
	o->is_free[b] = is_free;
	oracle_changed(o, i);
	o->empty[b] = o->calm[b] = o->blank[b];
	for (; i < end; i++)
		start_sector(o, i, is_free);
}

void oracle_start(struct oracle *o, const uint8_t *bytes, const bool *touched, uint64_t size,
		  const bool *is_free, bool exact)
{
	static const uint8_t sector[SECTOR];
	static uint64_t starts;
	uint32_t b;

	/* The last block's sectors are others then. */
	if (o->size != size)
		memset(o->calm, 0, o->blocks * sizeof(bool));
	oracle_marks_release(o);
	o->start = ++starts;
	o->size = size;
	o->blocks = (uint32_t)bow_div_up(size, BLOCK);
	o->sectors = (uint32_t)bow_div_up(size, SECTOR);
	o->exact = exact;
	o->window = 0;
	o->fullest = 1;
	o->zeros = oracle_hash_sector(sector);
	o->why[0] = '\0';
	/* What was blank and calm, and still is zeros, is as it would be made. */
	for (b = 0; b < o->blocks; b++) {
		bool zeros = touched && !touched[b];

		if (!zeros || !o->calm[b] || o->is_free[b] != is_free[b])
			start_block(o, b, zeros ? NULL : bytes + (size_t)b * BLOCK, is_free[b]);
	}
}
