/* SPDX-License-Identifier: MIT */
/* dm-bow's log block: a header of 28 bytes, then entries of 24. */
#include "lib/dmbow/format.h"

#include <zlib.h>

#include "lib/base/bytes.h"

#define MAGIC 0x00574f42u	    /* "BOW\0" */
#define MAGIC_RESTORING 0x00424f57u /* "WOB\0" */
#define VERSION 0x0100u

enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_HEADER_SIZE = 6,
	AT_BLOCK_SIZE = 8,
	AT_COUNT = 12,
	AT_SEQUENCE = 16,
	AT_SECTOR0 = 20,

	AT_SOURCE = 0,
	AT_DEST = 8,
	AT_BYTES = 16,
	AT_CHECKSUM = 20,
};

uint32_t bow_dmbow_capacity(uint32_t block_size)
{
	return (block_size - BOW_DMBOW_HEADER_BYTES) / BOW_DMBOW_ENTRY_BYTES;
}

size_t bow_dmbow_entry_off(uint32_t i)
{
	return BOW_DMBOW_HEADER_BYTES + (size_t)i * BOW_DMBOW_ENTRY_BYTES;
}

static bool block_size_ok(uint32_t n)
{
	return n >= BOW_DMBOW_SECTOR && n <= BOW_DMBOW_MAX_BLOCK && !(n & (n - 1));
}

enum bow_decoded bow_dmbow_decode(const uint8_t in[BOW_DMBOW_HEADER_BYTES],
				  struct bow_dmbow_header *h)
{
	uint32_t magic = bow_get32(in + AT_MAGIC);

	if (magic != MAGIC && magic != MAGIC_RESTORING)
		return BOW_DECODE_FOREIGN;
	if (bow_get16(in + AT_VERSION) != VERSION)
		return BOW_DECODE_NEWER;
	*h = (struct bow_dmbow_header){
		.restoring = magic == MAGIC_RESTORING,
		.block_size = bow_get32(in + AT_BLOCK_SIZE),
		.count = bow_get32(in + AT_COUNT),
		.sequence = bow_get32(in + AT_SEQUENCE),
		.sector0 = bow_get64(in + AT_SECTOR0),
	};
	if (bow_get16(in + AT_HEADER_SIZE) != BOW_DMBOW_HEADER_BYTES ||
	    !block_size_ok(h->block_size) || h->count == 0 ||
	    h->count > bow_dmbow_capacity(h->block_size))
		return BOW_DECODE_DAMAGED;
	return BOW_DECODE_OK;
}

void bow_dmbow_encode(const struct bow_dmbow_header *h, uint8_t out[BOW_DMBOW_HEADER_BYTES])
{
	bow_put32(out + AT_MAGIC, h->restoring ? MAGIC_RESTORING : MAGIC);
	bow_put16(out + AT_VERSION, VERSION);
	bow_put16(out + AT_HEADER_SIZE, BOW_DMBOW_HEADER_BYTES);
	bow_put32(out + AT_BLOCK_SIZE, h->block_size);
	bow_put32(out + AT_COUNT, h->count);
	bow_put32(out + AT_SEQUENCE, h->sequence);
	bow_put64(out + AT_SECTOR0, h->sector0);
}

/* Every number is checked against the disk's size before it is used. */
static const char *what_is_wrong(const struct bow_dmbow_entry *e, uint32_t i, uint64_t image_blk)
{
	uint64_t n = e->count_blk;

	if (!bow_range_ok(e->source_blk, n, image_blk))
		return "its source is outside the disk";
	if (!bow_range_ok(e->dest_blk, n, image_blk))
		return "its destination is outside the disk";
	if (e->dest_blk == 0)
		return "its destination is block 0";
	if ((e->source_blk == 0) != (i == 0) || (i == 0 && n != 1))
		return "block 0 must be the source of the first entry, and of no other";
	if (e->source_blk < e->dest_blk + n && e->dest_blk < e->source_blk + n)
		return "its source and destination overlap";
	return NULL;
}

bool bow_dmbow_entry_decode(const uint8_t *log_block, uint32_t i, uint32_t block_size,
			    uint64_t image_blk, struct bow_dmbow_entry *e, const char **why)
{
	const uint8_t *in = log_block + bow_dmbow_entry_off(i);
	uint64_t source = bow_get64(in + AT_SOURCE), dest = bow_get64(in + AT_DEST);
	uint32_t bytes = bow_get32(in + AT_BYTES), sectors = block_size / BOW_DMBOW_SECTOR;

	if (source % sectors || dest % sectors || bytes % block_size) {
		*why = "it does not consist of whole blocks";
		return false;
	}
	*e = (struct bow_dmbow_entry){source / sectors, dest / sectors, bytes / block_size,
				      bow_get32(in + AT_CHECKSUM)};
	*why = what_is_wrong(e, i, image_blk);
	return !*why;
}

void bow_dmbow_entry_encode(const struct bow_dmbow_entry *e, uint32_t block_size,
			    uint8_t out[BOW_DMBOW_ENTRY_BYTES])
{
	uint32_t sectors = block_size / BOW_DMBOW_SECTOR;

	bow_put64(out + AT_SOURCE, e->source_blk * sectors);
	bow_put64(out + AT_DEST, e->dest_blk * sectors);
	bow_put32(out + AT_BYTES, (uint32_t)(e->count_blk * block_size));
	bow_put32(out + AT_CHECKSUM, e->checksum);
}

/* dm-bow does not invert the value before and after, as zlib does. */
uint32_t bow_dmbow_crc(uint32_t crc, const void *buf, size_t bytes)
{
	return (uint32_t)~crc32_z(~crc & 0xffffffffu, buf, bytes);
}
