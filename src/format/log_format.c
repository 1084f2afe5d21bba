/* SPDX-License-Identifier: MIT */
/* Log segments, records and entries. */
#include "format/format.h"

#include <string.h>

#include "base/bytes.h"

#define SEGMENT_MAGIC "bowSEG\x1a\n"
#define SEGMENT_VERSION 1u
#define RECORD_MAGIC 0x43524f42u /* "BORC" */

enum segment_offset {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_SECTOR_SIZE = 12,
	AT_UUID = 16,
	AT_START = 32,
	AT_LEN = 40,
	AT_PREV_LEN = 44,
	AT_PREV = 48,
	AT_FIRST_SEQ = 56,
	AT_PREV_FIRST_SEQ = 64,
	AT_IMAGE_SIZE = 72,
	AT_FLAGS = 80,
	AT_LIVE0 = 88,
	AT_PREPARED = 96,
	AT_FREE_TOTAL = 104,
	AT_FREE_SOURCE = 112,
	AT_CHECKSUM = 496,
};

enum record_offset { AT_REC_MAGIC = 0, AT_REC_COUNT = 4, AT_REC_SEQ = 8, AT_REC_CHECKSUM = 16 };

enum entry_offset {
	AT_TYPE = 0,
	AT_ENTRY_FLAGS = 1,
	AT_COUNT = 4,
	AT_SOURCE = 8,
	AT_DEST = 16,
	AT_HASH = 24,
};

void bow_segment_encode(const struct bow_segment_header *h, const struct bow_super *facts,
			uint8_t out[BOW_SEGMENT_HEADER_BYTES])
{
	memset(out, 0, BOW_SEGMENT_HEADER_BYTES);
	memcpy(out + AT_MAGIC, SEGMENT_MAGIC, 8);
	bow_put32(out + AT_VERSION, SEGMENT_VERSION);
	bow_put32(out + AT_SECTOR_SIZE, h->sector_size);
	memcpy(out + AT_UUID, facts->uuid, 16);
	bow_put64(out + AT_START, h->start_blk);
	bow_put32(out + AT_LEN, h->len_blk);
	bow_put32(out + AT_PREV_LEN, h->prev_len_blk);
	bow_put64(out + AT_PREV, h->prev_blk);
	bow_put64(out + AT_FIRST_SEQ, h->first_seq);
	bow_put64(out + AT_PREV_FIRST_SEQ, h->prev_first_seq);
	bow_put64(out + AT_IMAGE_SIZE, facts->image_size);
	bow_put32(out + AT_FLAGS, facts->flags);
	bow_put64(out + AT_LIVE0, facts->live0_blk);
	bow_put64(out + AT_PREPARED, (uint64_t)facts->prepared_at);
	bow_put64(out + AT_FREE_TOTAL, facts->free_total_blk);
	memcpy(out + AT_FREE_SOURCE, facts->free_source, 16);
	bow_put64(out + AT_CHECKSUM, bow_hash(out, AT_CHECKSUM, facts->seed));
}

enum bow_decoded bow_segment_decode(const uint8_t in[BOW_SEGMENT_HEADER_BYTES],
				    const struct bow_super *sb, struct bow_segment_header *h)
{
	if (memcmp(in + AT_MAGIC, SEGMENT_MAGIC, 8) || memcmp(in + AT_UUID, sb->uuid, 16))
		return BOW_DECODE_FOREIGN;
	if (bow_get64(in + AT_CHECKSUM) != bow_hash(in, AT_CHECKSUM, sb->seed))
		return BOW_DECODE_DAMAGED;
	if (bow_get32(in + AT_VERSION) != SEGMENT_VERSION)
		return BOW_DECODE_NEWER;
	h->sector_size = bow_get32(in + AT_SECTOR_SIZE);
	h->start_blk = bow_get64(in + AT_START);
	h->len_blk = bow_get32(in + AT_LEN);
	h->prev_len_blk = bow_get32(in + AT_PREV_LEN);
	h->prev_blk = bow_get64(in + AT_PREV);
	h->first_seq = bow_get64(in + AT_FIRST_SEQ);
	h->prev_first_seq = bow_get64(in + AT_PREV_FIRST_SEQ);
	if (h->sector_size != 512 && h->sector_size != 4096)
		return BOW_DECODE_DAMAGED;
	return BOW_DECODE_OK;
}

size_t bow_record_bytes(uint32_t n)
{
	return BOW_RECORD_HEADER_BYTES + (size_t)n * BOW_ENTRY_BYTES;
}

size_t bow_record_end(size_t at, uint32_t n, uint32_t sector_size)
{
	return (size_t)bow_div_up(at + bow_record_bytes(n), sector_size) * sector_size;
}

uint32_t bow_record_fit(size_t bytes)
{
	if (bytes < bow_record_bytes(1))
		return 0;
	return (uint32_t)bow_min((bytes - BOW_RECORD_HEADER_BYTES) / BOW_ENTRY_BYTES,
				 BOW_RECORD_MAX_ENTRIES);
}

static void put_entry(uint8_t *p, const struct bow_entry *e)
{
	p[AT_TYPE] = e->type;
	p[AT_ENTRY_FLAGS] = e->flags;
	bow_put32(p + AT_COUNT, e->count_blk);
	bow_put64(p + AT_SOURCE, e->source_blk);
	bow_put64(p + AT_DEST, e->dest_blk);
	bow_put64(p + AT_HASH, e->hash);
}

/*
 * The checksum of a record: its entries, hashed with the hash of the header (checksum field zero)
 * as their seed. So both are covered without joining them in one buffer.
 */
static uint64_t record_hash(const uint8_t *record, uint32_t n, uint64_t seed)
{
	uint8_t header[BOW_RECORD_HEADER_BYTES];

	memcpy(header, record, sizeof(header));
	bow_put64(header + AT_REC_CHECKSUM, 0);
	return bow_hash(record + sizeof(header), (size_t)n * BOW_ENTRY_BYTES,
			bow_hash(header, sizeof(header), seed));
}

void bow_record_encode(uint8_t *out, uint64_t seq, const struct bow_entry *e, uint32_t n,
		       uint64_t seed)
{
	memset(out, 0, bow_record_bytes(n));
	bow_put32(out + AT_REC_MAGIC, RECORD_MAGIC);
	bow_put32(out + AT_REC_COUNT, n);
	bow_put64(out + AT_REC_SEQ, seq);
	for (uint32_t i = 0; i < n; i++)
		put_entry(out + bow_record_bytes(i), &e[i]);
	bow_put64(out + AT_REC_CHECKSUM, record_hash(out, n, seed));
}

bool bow_record_decode(const uint8_t *in, size_t bytes, uint64_t seed, uint64_t *seq, uint32_t *n)
{
	uint32_t count;

	if (bytes < bow_record_bytes(1) || bow_get32(in + AT_REC_MAGIC) != RECORD_MAGIC)
		return false;
	count = bow_get32(in + AT_REC_COUNT);
	if (count < 1 || count > BOW_RECORD_MAX_ENTRIES || bow_record_bytes(count) > bytes)
		return false;
	if (record_hash(in, count, seed) != bow_get64(in + AT_REC_CHECKSUM))
		return false;
	*seq = bow_get64(in + AT_REC_SEQ);
	*n = count;
	return true;
}

uint32_t bow_record_count(const uint8_t *record)
{
	return bow_get32(record + AT_REC_COUNT);
}

void bow_record_entry(const uint8_t *record, uint32_t i, struct bow_entry *e)
{
	const uint8_t *p = record + bow_record_bytes(i);

	e->type = p[AT_TYPE];
	e->flags = p[AT_ENTRY_FLAGS];
	e->count_blk = bow_get32(p + AT_COUNT);
	e->source_blk = bow_get64(p + AT_SOURCE);
	e->dest_blk = bow_get64(p + AT_DEST);
	e->hash = bow_get64(p + AT_HASH);
}

bool bow_parking_ok(const struct bow_super *sb, uint64_t blk, uint64_t count, uint64_t end_blk)
{
	if (blk == 0 || !bow_range_ok(blk, count, end_blk))
		return false;
	return blk >= bow_super_image_blk(sb) || blk + count <= sb->image_size / BOW_BLOCK;
}

static unsigned known_flags(uint8_t type)
{
	if (type == BOW_ENTRY_COPY)
		return BOW_ENTRY_MOVE;
	return type == BOW_ENTRY_ZERO ? BOW_ENTRY_HOLE : 0;
}

static bool copy_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		    const char **why)
{
	if (e->count_blk > BOW_COPY_MAX_BLK)
		*why = "too many blocks in one copy";
	else if (!bow_parking_ok(sb, e->dest_blk, e->count_blk, end_blk))
		*why = "destination outside the image";
	else
		return true;
	return false;
}

static bool map_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		   const char **why)
{
	uint64_t image_blk = bow_super_image_blk(sb);

	if (e->type == BOW_ENTRY_MAP_RUN) {
		*why = "free range outside the image";
		return bow_range_ok(e->source_blk, e->dest_blk, image_blk);
	}
	*why = "piece of the free map outside the image";
	return e->source_blk < image_blk && e->source_blk % BOW_MAP_LEAF_BLK == 0 &&
	       bow_parking_ok(sb, e->dest_blk, 1, end_blk);
}

bool bow_entry_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		  const char **why)
{
	if (e->flags & ~known_flags(e->type)) {
		*why = "unknown flag";
		return false;
	}
	switch (e->type) {
	case BOW_ENTRY_MAP_RUN:
	case BOW_ENTRY_MAP_BITS:
		return map_ok(e, sb, end_blk, why);
	case BOW_ENTRY_COPY:
	case BOW_ENTRY_ZERO:
	case BOW_ENTRY_TAKE:
	case BOW_ENTRY_PROMISE:
	case BOW_ENTRY_LIFT:
		break;
	default:
		*why = "unknown entry type";
		return false;
	}
	*why = "source outside the image";
	if (!bow_range_ok(e->source_blk, e->count_blk, bow_super_image_blk(sb)))
		return false;
	return e->type != BOW_ENTRY_COPY || copy_ok(e, sb, end_blk, why);
}

const char *bow_entry_name(const struct bow_entry *e)
{
	switch (e->type) {
	case BOW_ENTRY_COPY:
		return e->flags & BOW_ENTRY_MOVE ? "move" : "copy";
	case BOW_ENTRY_ZERO:
		return "zero";
	case BOW_ENTRY_TAKE:
		return "take";
	case BOW_ENTRY_PROMISE:
		return "promise";
	case BOW_ENTRY_LIFT:
		return "lift";
	case BOW_ENTRY_MAP_RUN:
		return "map-run";
	case BOW_ENTRY_MAP_BITS:
		return "map-bits";
	}
	return "unknown";
}
