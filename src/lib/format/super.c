/* SPDX-License-Identifier: MIT */
/*
 * The superblock. The checksum sits before the last eight bytes, which stay zero: a
 * hash there could by chance look like the 55 AA of a boot sector.
 */
#include "lib/format/format.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"

#define MAGIC "BOWIMG\x1a\n"
#define VERSION 1u
#define SEED_OF_SEEDS 0x626f77696d670001ull

enum offset {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_COMPAT = 12,
	AT_INCOMPAT = 16,
	AT_STATE = 20,
	AT_IMAGE_SIZE = 24,
	AT_BLOCK_SIZE = 32,
	AT_FLAGS = 36,
	AT_UUID = 40,
	AT_UPDATES = 56,
	AT_LIVE0 = 64,
	AT_SEG = 72,
	AT_SEG_LEN = 80,
	AT_SEG_FIRST_SEQ = 88,
	AT_CLEAN_SEQ = 96,
	AT_MTIME_SEC = 104,
	AT_MTIME_NSEC = 112,
	AT_PREPARED = 120,
	AT_FREE_TOTAL = 128,
	AT_FREE_SOURCE = 136,
	AT_FINISH_LIST = 152,
	AT_FINISH_BLOCK0 = 160,
	AT_FINISH_HASH = 168,
	AT_TARGET = 176,
	AT_CHECKSUM = 496,
};

static const uint32_t known_flags = BOW_SUPER_EXACT | BOW_SUPER_ATTACHED | BOW_SUPER_STORE_TAIL |
				    BOW_SUPER_ON_FULL_TAIL | BOW_SUPER_MTIME | BOW_SUPER_UNDOING |
				    BOW_SUPER_RESTORED;

static const uint32_t known_incompat = BOW_INCOMPAT_GIVE | BOW_INCOMPAT_MARKS;

void bow_super_set_uuid(struct bow_super *sb, const uint8_t uuid[16])
{
	memcpy(sb->uuid, uuid, 16);
	sb->seed = bow_hash(uuid, 16, SEED_OF_SEEDS);
}

void bow_super_encode(const struct bow_super *sb, uint8_t out[BOW_SUPER_BYTES])
{
	memset(out, 0, BOW_SUPER_BYTES);
	memcpy(out + AT_MAGIC, MAGIC, 8);
	bow_put32(out + AT_VERSION, VERSION);
	bow_put32(out + AT_INCOMPAT, sb->incompat);
	bow_put32(out + AT_STATE, sb->state);
	bow_put64(out + AT_IMAGE_SIZE, sb->image_size);
	bow_put32(out + AT_BLOCK_SIZE, BOW_BLOCK);
	bow_put32(out + AT_FLAGS, sb->flags);
	memcpy(out + AT_UUID, sb->uuid, 16);
	bow_put64(out + AT_UPDATES, sb->updates);
	bow_put64(out + AT_LIVE0, sb->live0_blk);
	bow_put64(out + AT_SEG, sb->seg_blk);
	bow_put32(out + AT_SEG_LEN, sb->seg_len_blk);
	bow_put64(out + AT_SEG_FIRST_SEQ, sb->seg_first_seq);
	bow_put64(out + AT_CLEAN_SEQ, sb->clean_seq);
	bow_put64(out + AT_MTIME_SEC, (uint64_t)sb->mtime_sec);
	bow_put32(out + AT_MTIME_NSEC, sb->mtime_nsec);
	bow_put64(out + AT_PREPARED, (uint64_t)sb->prepared_at);
	bow_put64(out + AT_FREE_TOTAL, sb->free_total_blk);
	memcpy(out + AT_FREE_SOURCE, sb->free_source, 16);
	bow_put64(out + AT_FINISH_LIST, sb->finish_list_blk);
	bow_put64(out + AT_FINISH_BLOCK0, sb->finish_block0_blk);
	bow_put64(out + AT_FINISH_HASH, sb->finish_block0_hash);
	bow_put64(out + AT_TARGET, sb->target);
	bow_put64(out + AT_CHECKSUM, bow_hash(out, AT_CHECKSUM, sb->seed));
}

static void read_fields(const uint8_t *in, struct bow_super *sb)
{
	sb->incompat = bow_get32(in + AT_INCOMPAT);
	sb->state = bow_get32(in + AT_STATE);
	sb->image_size = bow_get64(in + AT_IMAGE_SIZE);
	sb->flags = bow_get32(in + AT_FLAGS);
	sb->updates = bow_get64(in + AT_UPDATES);
	sb->live0_blk = bow_get64(in + AT_LIVE0);
	sb->seg_blk = bow_get64(in + AT_SEG);
	sb->seg_len_blk = bow_get32(in + AT_SEG_LEN);
	sb->seg_first_seq = bow_get64(in + AT_SEG_FIRST_SEQ);
	sb->clean_seq = bow_get64(in + AT_CLEAN_SEQ);
	sb->mtime_sec = (int64_t)bow_get64(in + AT_MTIME_SEC);
	sb->mtime_nsec = bow_get32(in + AT_MTIME_NSEC);
	sb->prepared_at = (int64_t)bow_get64(in + AT_PREPARED);
	sb->free_total_blk = bow_get64(in + AT_FREE_TOTAL);
	memcpy(sb->free_source, in + AT_FREE_SOURCE, 16);
	sb->finish_list_blk = bow_get64(in + AT_FINISH_LIST);
	sb->finish_block0_blk = bow_get64(in + AT_FINISH_BLOCK0);
	sb->finish_block0_hash = bow_get64(in + AT_FINISH_HASH);
	sb->target = bow_get64(in + AT_TARGET);
}

static bool printable(const char *text, size_t size)
{
	if (!memchr(text, 0, size))
		return false;
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			return false;
	return true;
}

static bool fields_ok(const struct bow_super *sb)
{
	/* Near the top of the number space, rounding up to blocks would wrap. */
	if (sb->image_size < BOWIMG_MIN_SIZE || sb->image_size > INT64_MAX - 2 * BOW_BLOCK)
		return false;
	if (sb->state < BOW_SUPER_CHECKPOINT || sb->state > BOW_SUPER_FINISHING)
		return false;
	if (sb->seg_len_blk < 1 || sb->seg_len_blk > BOW_SEGMENT_MAX_BLK || !sb->seg_first_seq)
		return false;
	if ((sb->target || sb->flags & BOW_SUPER_RESTORED) &&
	    (sb->state != BOW_SUPER_ROLLING_BACK || !(sb->incompat & BOW_INCOMPAT_MARKS)))
		return false;
	return printable(sb->free_source, sizeof(sb->free_source));
}

/*
 * If only the magic is wrong and the checksum of the rest is right, the magic rotted: the image
 * must not pass for an ordinary one that can be prepared [I6].
 */
static bool lost_its_magic(const uint8_t in[BOW_SUPER_BYTES], uint64_t seed)
{
	uint8_t sector[BOW_SUPER_BYTES];

	memcpy(sector, in, sizeof(sector));
	memcpy(sector + AT_MAGIC, MAGIC, 8);
	return bow_get64(in + AT_CHECKSUM) == bow_hash(sector, AT_CHECKSUM, seed);
}

enum bow_decoded bow_super_decode(const uint8_t in[BOW_SUPER_BYTES], struct bow_super *sb)
{
	struct bow_super s;

	memset(&s, 0, sizeof(s));
	bow_super_set_uuid(&s, in + AT_UUID);
	if (memcmp(in + AT_MAGIC, MAGIC, 8) != 0)
		return lost_its_magic(in, s.seed) ? BOW_DECODE_DAMAGED : BOW_DECODE_FOREIGN;
	if (bow_get64(in + AT_CHECKSUM) != bow_hash(in, AT_CHECKSUM, s.seed))
		return BOW_DECODE_DAMAGED;
	if (bow_get32(in + AT_VERSION) != VERSION ||
	    bow_get32(in + AT_INCOMPAT) & ~known_incompat ||
	    bow_get32(in + AT_BLOCK_SIZE) != BOW_BLOCK)
		return BOW_DECODE_NEWER;
	read_fields(in, &s);
	if (!fields_ok(&s))
		return BOW_DECODE_DAMAGED;
	if (s.flags & ~known_flags)
		return BOW_DECODE_NEWER;
	*sb = s;
	return BOW_DECODE_OK;
}

uint64_t bow_super_image_blk(const struct bow_super *sb)
{
	return bow_div_up(sb->image_size, BOW_BLOCK);
}

size_t bow_super_bytes(const struct bow_super *sb, uint64_t blk, uint64_t count_blk)
{
	uint64_t end = (blk + count_blk) * BOW_BLOCK;

	if (blk < bow_super_image_blk(sb))
		end = bow_min(end, sb->image_size);
	return (size_t)(end - blk * BOW_BLOCK);
}

void bow_uuid_text(const uint8_t u[16], char out[37])
{
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
}
