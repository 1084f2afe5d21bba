/* SPDX-License-Identifier: MIT */
/*
 * dm-bow as a model. For each write of the file system, run by run of blocks of one type: used ones
 * are copied to a free place, flush, logged, flush; a backup in the way is moved on likewise; block
 * 0's live content too; only then the data. A full log block is copied first, and names that copy.
 */
#include "dmbow_gen.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

#define HEADER 28u
#define ENTRY 24u

static uint8_t *at(struct dmbow *g, uint32_t blk)
{
	return g->disk + (size_t)blk * g->block_size;
}

/* Bit by bit, reflected, nothing inverted. */
static uint32_t crc(uint32_t sum, const uint8_t *p, size_t n)
{
	for (; n--; p++) {
		sum ^= *p;
		for (int bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
	}
	return sum;
}

static uint32_t count(const struct dmbow *g)
{
	return bow_get32(g->log + 12);
}

/* ---- space ----------------------------------------------------------------------- */

/* A run of free blocks, up to `most`, somewhere; 0: there is none. */
static uint32_t find_free(struct dmbow *g, uint32_t most, uint32_t *blk)
{
	uint32_t start = rng_below(&g->rng, g->blocks), n = 0;

	/* Mostly where it was free last: backups lie side by side. */
	if (rng_chance(&g->rng, 60))
		start = *blk;
	for (uint32_t i = 0; i < g->blocks; i++) {
		uint32_t b = (start + i) % g->blocks;

		if (g->type[b] != DMBOW_FREE)
			continue;
		*blk = b;
		while (n < most && b + n < g->blocks && g->type[b + n] == DMBOW_FREE)
			n++;
		return n;
	}
	return 0;
}

static void set_type(struct dmbow *g, uint32_t blk, uint32_t n, enum dmbow_type type)
{
	memset(g->type + blk, type, n);
}

/* ---- the log --------------------------------------------------------------------- */

static void write_log(struct dmbow *g)
{
	memcpy(g->log_before, at(g, 0), g->block_size);
	memcpy(g->disk_before, g->disk, (size_t)g->blocks * g->block_size);
	memcpy(at(g, 0), g->log, g->block_size);
}

static void put_entry(struct dmbow *g, uint32_t source, uint32_t dest, uint32_t n, uint32_t sum)
{
	uint32_t i = count(g), sectors = g->block_size / 512;
	uint8_t *e = g->log + HEADER + (size_t)ENTRY * i;

	bow_put64(e, (uint64_t)source * sectors);
	bow_put64(e + 8, (uint64_t)dest * sectors);
	bow_put32(e + 16, n * g->block_size);
	bow_put32(e + 20, sum);
	bow_put32(g->log + 12, i + 1);
	g->entries++;
	write_log(g);
}

/* The full log block goes to a free place, and the next one begins by saying where. */
static bool next_log_block(struct dmbow *g)
{
	uint32_t dest = 0;

	if (!find_free(g, 1, &dest))
		return false;
	set_type(g, dest, 1, DMBOW_BACKUP);
	memcpy(at(g, dest), at(g, 0), g->block_size);
	bow_put32(g->log + 12, 0);
	bow_put32(g->log + 16, bow_get32(g->log + 16) + 1);
	g->log_blocks++;
	put_entry(g, 0, dest, 1, crc(0, at(g, dest), g->block_size));
	return true;
}

static bool log_entry(struct dmbow *g, uint32_t source, uint32_t dest, uint32_t n, uint32_t sum)
{
	if (HEADER + ENTRY * (count(g) + 1) > g->block_size && !next_log_block(g))
		return false;
	put_entry(g, source, dest, n, sum);
	return true;
}

/* ---- what is in the way of a write ----------------------------------------------- */

/* Copy up to n blocks to a free place and log it; 0: no space. */
static uint32_t save(struct dmbow *g, uint32_t blk, uint32_t n, enum dmbow_type dest_type)
{
	bool live = dest_type == DMBOW_LIVE0;
	uint32_t dest = g->live_blk, sum;

	n = find_free(g, n, &dest);
	if (!n)
		return 0;
	set_type(g, dest, n, dest_type);
	memcpy(at(g, dest), at(g, blk), (size_t)n * g->block_size);
	sum = live ? 0 : crc(blk, at(g, blk), (size_t)n * g->block_size);
	if (!log_entry(g, blk, dest, n, sum)) {
		/* It is lost to both of them for good. */
		set_type(g, blk, n, DMBOW_INVALID);
		return 0;
	}
	set_type(g, blk, n, DMBOW_CHANGED);
	if (live) {
		g->live_moves++;
		g->live_blk = dest;
		/* In memory now, and on the disk with the next entry. */
		bow_put64(g->log + 20, (uint64_t)dest * (g->block_size / 512));
	}
	return n;
}

static bool make_way(struct dmbow *g, uint32_t blk, uint32_t n)
{
	while (n > 0) {
		enum dmbow_type type = g->type[blk];
		uint32_t run = 1;

		while (run < n && g->type[blk + run] == type)
			run++;
		if (type == DMBOW_INVALID)
			return false;
		if (type == DMBOW_UNCHANGED)
			run = save(g, blk, run, DMBOW_BACKUP);
		else if (type == DMBOW_BACKUP)
			run = save(g, blk, run, DMBOW_BACKUP);
		else if (type == DMBOW_LIVE0)
			run = save(g, blk, 1, DMBOW_LIVE0);
		else
			set_type(g, blk, run, DMBOW_CHANGED);
		if (!run)
			return false;
		g->moves += type == DMBOW_BACKUP;
		blk += run;
		n -= run;
	}
	return true;
}

static void write_block_0(struct dmbow *g)
{
	rng_fill(g->live, g->block_size, ++g->token);
	memcpy(at(g, g->live_blk), g->live, g->block_size);
}

static void write_some(struct dmbow *g)
{
	uint32_t blk = rng_below(&g->rng, g->blocks), most = g->blocks - blk;
	uint32_t n = rng_chance(&g->rng, 80) ? rng_between(&g->rng, 1, 4)
					     : rng_between(&g->rng, 1, 40);

	/* Something of bowimg's... of dm-bow's own is a good target. */
	for (uint32_t i = 0; i < 8 && rng_chance(&g->rng, 50) && g->type[blk] < DMBOW_BACKUP; i++)
		blk = rng_below(&g->rng, g->blocks);
	most = g->blocks - blk;
	n = n < most ? n : most;
	if (blk == 0) {
		write_block_0(g);
		return;
	}
	if (!make_way(g, blk, n)) {
		g->refused++;
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		rng_fill(at(g, blk + i), g->block_size, ++g->token);
}

/* ---- a disk and its checkpoint --------------------------------------------------- */

static void make_content(struct dmbow *g)
{
	uint32_t b = 1, run, free_percent = rng_between(&g->rng, 10, 90);
	uint32_t most_run = rng_chance(&g->rng, 50) ? 12 : 80;

	for (; b < g->blocks; b += run) {
		bool is_free = rng_chance(&g->rng, free_percent);

		run = rng_between(&g->rng, 1, most_run);
		run = run < g->blocks - b ? run : g->blocks - b;
		for (uint32_t i = b; i < b + run; i++) {
			g->used[i] = !is_free;
			g->type[i] = is_free ? DMBOW_FREE : DMBOW_UNCHANGED;
		}
	}
	g->used[0] = true;
	g->type[0] = DMBOW_CHANGED;
	for (b = 0; b < g->blocks; b++) {
		if (b && rng_chance(&g->rng, 10))
			memset(at(g, b), 0, g->block_size);
		else
			rng_fill(at(g, b), g->block_size, ++g->token);
	}
	if (rng_chance(&g->rng, 15))
		memset(at(g, 0), 0, g->block_size); /* its checksum is 0 then */
}

static void begin(struct dmbow *g)
{
	uint32_t live = 0, backup;

	/* Two blocks are needed; a disk without has no checkpoint. */
	g->type[g->blocks - 1] = g->type[g->blocks - 2] = DMBOW_FREE;
	g->used[g->blocks - 1] = g->used[g->blocks - 2] = false;
	memcpy(g->original, g->disk, (size_t)g->blocks * g->block_size);
	memcpy(g->live, g->disk, g->block_size);
	find_free(g, 1, &live);
	set_type(g, live, 1, DMBOW_LIVE0);
	backup = live;
	find_free(g, 1, &backup);
	set_type(g, backup, 1, DMBOW_BACKUP);
	memcpy(at(g, live), at(g, 0), g->block_size);
	memcpy(at(g, backup), at(g, 0), g->block_size);
	g->live_blk = live;
	memset(g->log, 0, sizeof(g->log));
	memcpy(g->log, "BOW\0\0\1\34\0", 8);
	bow_put32(g->log + 8, g->block_size);
	bow_put64(g->log + 20, (uint64_t)live * (g->block_size / 512));
	g->log_blocks = 1;
	put_entry(g, 0, backup, 1, crc(0, at(g, backup), g->block_size));
}

void dmbow_make(struct dmbow *g, uint64_t seed)
{
	static const uint32_t sizes[] = {512, 512, 1024, 2048, 4096};
	uint32_t writes, most;

	g->rng = (struct rng){rng_mix(seed, 0xd3b0)};
	g->token = rng_next(&g->rng);
	g->block_size = sizes[rng_below(&g->rng, 5)];
	most = DMBOW_MAX_BYTES / g->block_size;
	most = most < DMBOW_MAX_BLOCKS ? most : DMBOW_MAX_BLOCKS;
	if (rng_chance(&g->rng, 60))
		most = 200;
	g->blocks = rng_between(&g->rng, 8, most);
	g->entries = g->moves = g->live_moves = g->refused = 0;
	make_content(g);
	begin(g);
	writes = rng_below(&g->rng, rng_chance(&g->rng, 20) ? 2 * g->blocks : g->blocks / 4 + 2);
	for (uint32_t i = 0; i < writes; i++)
		write_some(g);
}

void dmbow_init(struct dmbow *g)
{
	memset(g, 0, sizeof(*g));
	g->disk = malloc(DMBOW_MAX_BYTES);
	g->original = malloc(DMBOW_MAX_BYTES);
	g->disk_before = malloc(DMBOW_MAX_BYTES);
	g->live = malloc(4096);
	if (!g->disk || !g->original || !g->disk_before || !g->live)
		abort();
}

void dmbow_release(struct dmbow *g)
{
	free(g->disk);
	free(g->original);
	free(g->disk_before);
	free(g->live);
}

bool dmbow_tear(struct dmbow *g)
{
	uint32_t sectors = g->block_size / 512;
	uint8_t *now = g->disk_before; /* becomes the disk */

	if (bow_get32(g->log_before + 12) == 0 || memcmp(g->log_before, "BOW", 4))
		return false;
	for (uint32_t s = 0; s < sectors; s++)
		if (rng_chance(&g->rng, 50))
			memcpy(now + 512 * s, g->disk + 512 * s, 512);
	memcpy(g->disk, now, (size_t)g->blocks * g->block_size);
	return true;
}

int dmbow_compare(const struct dmbow *g, const uint8_t *disk)
{
	for (uint32_t b = 0; b < g->blocks; b++) {
		size_t off = (size_t)b * g->block_size;

		if (g->used[b] && memcmp(g->original + off, disk + off, g->block_size))
			return (int)b;
	}
	return -1;
}
