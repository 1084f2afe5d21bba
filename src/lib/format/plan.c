/* SPDX-License-Identifier: MIT */
/* The plan of the last step of a rollback or commit: ranges to zero, and the footer. */
#include "lib/format/format.h"

#include <string.h>

#include "lib/base/bytes.h"

#define LIST_MAGIC "bowZERO\n"
#define FOOTER_MAGIC "bowTAIL\n"

enum list_offset {
	AT_MAGIC = 0,
	AT_UUID = 8,
	AT_COUNT = 24,
	AT_NEXT = 32,
	AT_RUNS = 64,
	AT_CHECKSUM = 4088,
};

enum footer_offset { AT_IMAGE_SIZE = 8, AT_BLOCK0_HASH = 16 };

_Static_assert(AT_RUNS + BOW_FINISH_RUNS * 16 <= AT_CHECKSUM, "runs reach into the checksum");

void bow_finish_encode(const struct bow_super *sb, const struct bow_run *runs, uint32_t n,
		       uint64_t next_blk, uint8_t out[BOW_BLOCK])
{
	memset(out, 0, BOW_BLOCK);
	memcpy(out + AT_MAGIC, LIST_MAGIC, 8);
	memcpy(out + AT_UUID, sb->uuid, 16);
	bow_put32(out + AT_COUNT, n);
	bow_put64(out + AT_NEXT, next_blk);
	for (uint32_t i = 0; i < n; i++) {
		bow_put64(out + AT_RUNS + i * 16, runs[i].start_blk);
		bow_put64(out + AT_RUNS + i * 16 + 8, runs[i].count_blk);
	}
	bow_put64(out + AT_CHECKSUM, bow_hash(out, AT_CHECKSUM, sb->seed));
}

bool bow_finish_decode(const uint8_t in[BOW_BLOCK], const struct bow_super *sb,
		       struct bow_run runs[BOW_FINISH_RUNS], uint32_t *n, uint64_t *next_blk)
{
	uint32_t count = bow_get32(in + AT_COUNT);

	if (memcmp(in + AT_MAGIC, LIST_MAGIC, 8) || memcmp(in + AT_UUID, sb->uuid, 16) ||
	    bow_get64(in + AT_CHECKSUM) != bow_hash(in, AT_CHECKSUM, sb->seed) ||
	    count > BOW_FINISH_RUNS)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		runs[i].start_blk = bow_get64(in + AT_RUNS + i * 16);
		runs[i].count_blk = bow_get64(in + AT_RUNS + i * 16 + 8);
	}
	*n = count;
	*next_blk = bow_get64(in + AT_NEXT);
	return true;
}

void bow_footer_encode(const struct bow_footer *f, uint8_t out[BOW_BLOCK])
{
	memset(out, 0, BOW_BLOCK);
	memcpy(out + AT_MAGIC, FOOTER_MAGIC, 8);
	bow_put64(out + AT_IMAGE_SIZE, f->image_size);
	bow_put64(out + AT_BLOCK0_HASH, f->block0_hash);
	bow_put64(out + AT_CHECKSUM, bow_hash(out, AT_CHECKSUM, 0));
}

bool bow_footer_decode(const uint8_t in[BOW_BLOCK], struct bow_footer *f)
{
	if (memcmp(in + AT_MAGIC, FOOTER_MAGIC, 8) ||
	    bow_get64(in + AT_CHECKSUM) != bow_hash(in, AT_CHECKSUM, 0))
		return false;
	f->image_size = bow_get64(in + AT_IMAGE_SIZE);
	f->block0_hash = bow_get64(in + AT_BLOCK0_HASH);
	return true;
}
