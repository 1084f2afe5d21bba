/* SPDX-License-Identifier: MIT */
/*
 * The header of a log segment. It also holds a copy of the superblock, as far as that stays the
 * same, so that a lost sector 0 can be rebuilt.
 */
#include "lib/format/format.h"

#include <string.h>

#include "lib/base/bytes.h"

#define MAGIC "bowSEG\x1a\n"
#define VERSION 1u

enum offset {
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
	AT_PREV_END = 128,
	AT_CHECKSUM = 496,
};

void bow_segment_encode(const struct bow_segment_header *h, const struct bow_super *sb,
			uint8_t out[BOW_SEGMENT_HEADER_BYTES])
{
	memset(out, 0, BOW_SEGMENT_HEADER_BYTES);
	memcpy(out + AT_MAGIC, MAGIC, 8);
	bow_put32(out + AT_VERSION, VERSION);
	bow_put32(out + AT_SECTOR_SIZE, h->sector_size);
	memcpy(out + AT_UUID, sb->uuid, 16);
	bow_put64(out + AT_START, h->start_blk);
	bow_put32(out + AT_LEN, h->len_blk);
	bow_put32(out + AT_PREV_LEN, h->prev_len_blk);
	bow_put64(out + AT_PREV, h->prev_blk);
	bow_put64(out + AT_FIRST_SEQ, h->first_seq);
	bow_put64(out + AT_PREV_FIRST_SEQ, h->prev_first_seq);
	bow_put64(out + AT_IMAGE_SIZE, sb->image_size);
	bow_put32(out + AT_FLAGS, sb->flags);
	bow_put64(out + AT_LIVE0, sb->live0_blk);
	bow_put64(out + AT_PREPARED, (uint64_t)sb->prepared_at);
	bow_put64(out + AT_FREE_TOTAL, sb->free_total_blk);
	memcpy(out + AT_FREE_SOURCE, sb->free_source, 16);
	bow_put64(out + AT_PREV_END, h->prev_end);
	bow_put64(out + AT_CHECKSUM, bow_hash(out, AT_CHECKSUM, sb->seed));
}

enum bow_decoded bow_segment_decode(const uint8_t in[BOW_SEGMENT_HEADER_BYTES],
				    const struct bow_super *sb, struct bow_segment_header *h)
{
	if (memcmp(in + AT_MAGIC, MAGIC, 8) || memcmp(in + AT_UUID, sb->uuid, 16))
		return BOW_DECODE_FOREIGN;
	if (bow_get64(in + AT_CHECKSUM) != bow_hash(in, AT_CHECKSUM, sb->seed))
		return BOW_DECODE_DAMAGED;
	if (bow_get32(in + AT_VERSION) != VERSION)
		return BOW_DECODE_NEWER;
	h->sector_size = bow_get32(in + AT_SECTOR_SIZE);
	h->start_blk = bow_get64(in + AT_START);
	h->len_blk = bow_get32(in + AT_LEN);
	h->prev_len_blk = bow_get32(in + AT_PREV_LEN);
	h->prev_blk = bow_get64(in + AT_PREV);
	h->first_seq = bow_get64(in + AT_FIRST_SEQ);
	h->prev_first_seq = bow_get64(in + AT_PREV_FIRST_SEQ);
	h->prev_end = bow_get64(in + AT_PREV_END);
	if (h->sector_size != 512 && h->sector_size != 4096)
		return BOW_DECODE_DAMAGED;
	return BOW_DECODE_OK;
}

/* The other flags describe how the image was served when the segment was begun. */
static const uint32_t lasting_flags = BOW_SUPER_EXACT | BOW_SUPER_STORE_TAIL |
				      BOW_SUPER_ON_FULL_TAIL;

/* The copy stands in for a superblock, so it must keep within the limits of one. */
static bool valid(struct bow_super *sb)
{
	uint8_t sector[BOW_SUPER_BYTES];

	bow_super_encode(sb, sector);
	return bow_super_decode(sector, sb) == BOW_DECODE_OK;
}

bool bow_segment_super_copy(const uint8_t in[BOW_SEGMENT_HEADER_BYTES], struct bow_super *out,
			    struct bow_segment_header *h)
{
	struct bow_super sb = {.state = BOW_SUPER_CHECKPOINT};

	bow_super_set_uuid(&sb, in + AT_UUID);
	if (bow_segment_decode(in, &sb, h) != BOW_DECODE_OK)
		return false;
	sb.image_size = bow_get64(in + AT_IMAGE_SIZE);
	sb.flags = bow_get32(in + AT_FLAGS) & lasting_flags;
	sb.live0_blk = bow_get64(in + AT_LIVE0);
	sb.prepared_at = (int64_t)bow_get64(in + AT_PREPARED);
	sb.free_total_blk = bow_get64(in + AT_FREE_TOTAL);
	memcpy(sb.free_source, in + AT_FREE_SOURCE, sizeof(sb.free_source));
	sb.seg_blk = h->start_blk;
	sb.seg_len_blk = h->len_blk;
	sb.seg_first_seq = h->first_seq;
	if (!valid(&sb))
		return false;
	*out = sb;
	return true;
}
