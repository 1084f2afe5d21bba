/* SPDX-License-Identifier: MIT */
/*
 * The restore of the tool that dm-bow came with: entry by entry, newest first, each copied back
 * where it was. Before an entry whose source was read from since the last flush, it flushes, and
 * notes in block 0 how far it is (magic WOB). The real one, by a mistake, does so before each.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "dmbow_gen.h"

struct restorer {
	struct dmbow *g;
	uint8_t *stable; /* the disk at the last flush */
	bool read_from[DMBOW_MAX_BLOCKS];
	uint8_t log[4096];
	uint32_t left; /* entries until the power fails */
	bool lazy;
};

static void flush(struct restorer *r)
{
	memcpy(r->stable, r->g->disk, (size_t)r->g->blocks * r->g->block_size);
}

/* Of what was not flushed each sector is old or new; block 0 is never written without a flush. */
static void power_cut(struct restorer *r)
{
	size_t sector, end = (size_t)r->g->blocks * r->g->block_size / 512;

	for (sector = r->g->block_size / 512; sector < end; sector++)
		if (rng_chance(&r->g->rng, 50))
			memcpy(r->g->disk + sector * 512, r->stable + sector * 512, 512);
}

static void note_progress(struct restorer *r, uint32_t i)
{
	flush(r);
	memcpy(r->log, "WOB", 4);
	bow_put32(r->log + 12, i + 1);
	memcpy(r->g->disk, r->log, r->g->block_size);
	flush(r);
	memset(r->read_from, 0, sizeof(r->read_from));
}

static bool collides(const struct restorer *r, uint32_t source, uint32_t n)
{
	if (!r->lazy || source == 0)
		return true;
	while (n--)
		if (r->read_from[source + n])
			return true;
	return false;
}

static void restore_entry(struct restorer *r, uint32_t i)
{
	const uint8_t *e = r->log + 28 + 24 * (size_t)i;
	uint32_t size = r->g->block_size, sectors = size / 512, n = bow_get32(e + 16) / size;
	uint32_t source = (uint32_t)(bow_get64(e) / sectors);
	uint32_t dest = (uint32_t)(bow_get64(e + 8) / sectors);

	if (collides(r, source, n))
		note_progress(r, i);
	memset(r->read_from + dest, true, n);
	memmove(r->g->disk + (size_t)source * size, r->g->disk + (size_t)dest * size,
		(size_t)n * size);
	if (i == 0) {
		if (bow_get32(r->log + 16) > 0)
			memcpy(r->g->disk, "WOB", 4);
		flush(r);
	}
}

bool dmbow_restore(struct dmbow *g, uint32_t stop_after, bool lazy)
{
	struct restorer r = {.g = g, .stable = g->disk_before, .left = stop_after, .lazy = lazy};
	uint32_t sequence;

	flush(&r);
	do {
		memcpy(r.log, g->disk, g->block_size);
		sequence = bow_get32(r.log + 16);
		for (uint32_t i = bow_get32(r.log + 12); i-- > 0;) {
			if (r.left-- == 0) {
				power_cut(&r);
				return false;
			}
			restore_entry(&r, i);
		}
	} while (sequence > 0);
	return true;
}
