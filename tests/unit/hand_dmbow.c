/* SPDX-License-Identifier: MIT */
/* dm-bow's log written by hand, entry by entry, on a disk in memory. */
#include "hand_dmbow.h"

#include <stdlib.h>
#include <string.h>

#include "rng.h"

uint8_t *hand_dmbow_block(struct hand_dmbow *h, uint64_t blk)
{
	return mem_dev_bytes(h->dev) + blk * h->head.block_size;
}

uint32_t hand_dmbow_sum(struct hand_dmbow *h, uint64_t source, uint64_t at, uint64_t n)
{
	return bow_dmbow_crc((uint32_t)source, hand_dmbow_block(h, at), n * h->head.block_size);
}

void hand_dmbow_entry(struct hand_dmbow *h, uint64_t source, uint64_t dest, uint64_t n,
		      uint32_t sum)
{
	struct bow_dmbow_entry e = {source, dest, n, sum};

	bow_dmbow_entry_encode(&e, h->head.block_size,
			       hand_dmbow_block(h, 0) + bow_dmbow_entry_off(h->head.count++));
	bow_dmbow_encode(&h->head, hand_dmbow_block(h, 0));
}

static void copy(struct hand_dmbow *h, uint64_t source, uint64_t dest, uint64_t n)
{
	memmove(hand_dmbow_block(h, dest), hand_dmbow_block(h, source), n * h->head.block_size);
}

void hand_dmbow_save(struct hand_dmbow *h, uint64_t source, uint64_t dest, uint64_t n)
{
	copy(h, source, dest, n);
	hand_dmbow_entry(h, source, dest, n, hand_dmbow_sum(h, source, dest, n));
}

void hand_dmbow_move_live(struct hand_dmbow *h, uint64_t dest)
{
	uint32_t sectors = h->head.block_size / BOW_DMBOW_SECTOR;
	uint64_t source = h->head.sector0 / sectors;

	copy(h, source, dest, 1);
	hand_dmbow_entry(h, source, dest, 1, 0);
	h->head.sector0 = dest * sectors;
}

void hand_dmbow_next(struct hand_dmbow *h, uint64_t dest)
{
	copy(h, 0, dest, 1);
	h->head.sequence++;
	h->head.count = 0;
	hand_dmbow_entry(h, 0, dest, 1, hand_dmbow_sum(h, 0, dest, 1));
}

void hand_dmbow_scribble(struct hand_dmbow *h, uint64_t blk, uint64_t n)
{
	for (; n--; blk++)
		rng_fill(hand_dmbow_block(h, blk), h->head.block_size, 0xf5 + (blk << 8));
}

bool hand_dmbow_is_original(struct hand_dmbow *h, uint64_t blk)
{
	uint8_t block[BOW_DMBOW_MAX_BLOCK];

	rng_fill(block, h->head.block_size, blk);
	return !memcmp(block, hand_dmbow_block(h, blk), h->head.block_size);
}

void hand_dmbow_begin(struct hand_dmbow *h, uint32_t block_size, uint32_t blocks)
{
	memset(h, 0, sizeof(*h));
	h->blocks = blocks;
	h->head.block_size = block_size;
	h->head.sector0 = HAND_LIVE * (uint64_t)(block_size / BOW_DMBOW_SECTOR);
	h->dev = mem_dev_new((uint64_t)blocks * block_size, (uint64_t)blocks * block_size);
	if (!h->dev)
		abort();
	for (uint64_t b = 0; b < blocks; b++)
		rng_fill(hand_dmbow_block(h, b), block_size, b);
	copy(h, 0, HAND_LIVE, 1);
	copy(h, 0, HAND_BACKUP0, 1);
	memset(hand_dmbow_block(h, 0), 0, block_size);
	hand_dmbow_entry(h, 0, HAND_BACKUP0, 1, hand_dmbow_sum(h, 0, HAND_BACKUP0, 1));
}

void hand_dmbow_release(struct hand_dmbow *h)
{
	bow_disk_close(h->dev, NULL);
}
