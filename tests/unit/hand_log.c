/* SPDX-License-Identifier: MIT */
/* See hand_log.h. */
#include "hand_log.h"

#include <assert.h>
#include <string.h>

#include "lib/base/bytes.h"

void hand_log_init(struct hand_log *h, uint32_t sector_size, uint32_t len_blk)
{
	static const uint8_t uuid[16] = {0x62, 0x6f, 0x77, 1};
	int rc;

	memset(h, 0, sizeof(*h));
	h->dev = mem_dev_new((uint64_t)HAND_BLK * BOW_BLOCK, 2ull * HAND_BLK * BOW_BLOCK);
	assert(h->dev);
	h->dev->sector_size = sector_size;
	for (uint64_t b = 0; b < HAND_BLK; b++)
		memset(hand_block(h, b), (int)(b + 1), BOW_BLOCK);
	bow_super_set_uuid(&h->sb, uuid);
	h->sb.state = BOW_SUPER_CHECKPOINT;
	h->sb.image_size = h->dev->size;
	h->sb.live0_blk = HAND_LIVE0;
	h->sb.free_total_blk = HAND_BLK - HAND_FREE;
	h->sb.incompat = BOW_INCOMPAT_GIVE;
	rc = bow_log_init(&h->log, h->dev, &h->sb, sector_size);
	assert(rc == 0);
	(void)rc;
	hand_log_switch(h, HAND_SEGMENT, len_blk);
}

void hand_log_begin(struct hand_log *h, uint32_t sector_size, uint32_t len_blk)
{
	struct bow_entry e[2];

	hand_log_init(h, sector_size, len_blk);
	e[0] = hand_copy(h, 0, HAND_ORIGINAL0, 1, 0);
	e[1] = hand_map_run(HAND_FREE, HAND_BLK - HAND_FREE);
	hand_log_record(h, e, 2);
}

void hand_log_release(struct hand_log *h)
{
	bow_log_release(&h->log);
	bow_disk_close(h->dev, NULL);
}

void hand_log_record(struct hand_log *h, const struct bow_entry *e, uint32_t n)
{
	int rc = bow_log_append(&h->log, e, n, &h->err);

	assert(rc == 0);
	(void)rc;
	bow_log_settle(&h->log);
}

void hand_log_one(struct hand_log *h, struct bow_entry e)
{
	hand_log_record(h, &e, 1);
}

void hand_log_switch(struct hand_log *h, uint64_t start_blk, uint32_t len_blk)
{
	int rc = bow_log_write_segment(&h->log, start_blk, len_blk, &h->err);

	assert(rc == 0);
	(void)rc;
	bow_log_use_segment(&h->log, start_blk, len_blk);
}

uint8_t *hand_block(struct hand_log *h, uint64_t blk)
{
	return mem_dev_bytes(h->dev) + blk * BOW_BLOCK;
}

struct bow_entry hand_entry(struct hand_log *h, uint64_t source, uint64_t dest, uint32_t n,
			    uint8_t flags)
{
	return (struct bow_entry){
		.type = BOW_ENTRY_COPY,
		.flags = flags,
		.count_blk = n,
		.source_blk = source,
		.dest_blk = dest,
		.hash = bow_hash(hand_block(h, source), bow_super_bytes(&h->sb, source, n),
				 h->sb.seed),
	};
}

struct bow_entry hand_copy(struct hand_log *h, uint64_t source, uint64_t dest, uint32_t n,
			   uint8_t flags)
{
	struct bow_entry e = hand_entry(h, source, dest, n, flags);

	memcpy(hand_block(h, dest), hand_block(h, source), (size_t)n * BOW_BLOCK);
	return e;
}

struct bow_entry hand_mark(uint8_t type, uint64_t source, uint32_t n)
{
	return (struct bow_entry){.type = type, .source_blk = source, .count_blk = n};
}

struct bow_entry hand_map_run(uint64_t start, uint64_t n)
{
	return (struct bow_entry){
		.type = BOW_ENTRY_MAP_RUN,
		.source_blk = start,
		.dest_blk = n,
	};
}

void hand_scribble(struct hand_log *h, uint64_t blk, uint64_t n)
{
	memset(hand_block(h, blk), 0xee, n * BOW_BLOCK);
}
