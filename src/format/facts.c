/* SPDX-License-Identifier: MIT */
/* The superblock's facts in a segment header (the rest of it: log_format.c), the UUID in the note.
 */
#include "format/facts.h"

#include <string.h>

#include "base/bytes.h"

enum facts_offset {
	AT_UUID = 16,
	AT_IMAGE_SIZE = 72,
	AT_FLAGS = 80,
	AT_LIVE0 = 88,
	AT_PREPARED = 96,
	AT_FREE_TOTAL = 104,
	AT_FREE_SOURCE = 112,
};

/* How the image was served when the segment was begun says nothing about now. */
static const uint32_t lasting_flags = BOW_SUPER_EXACT | BOW_SUPER_STORE_TAIL |
				      BOW_SUPER_ON_FULL_TAIL;

/* Whoever takes the facts for a superblock's gets the limits of a superblock. */
static bool valid(struct bow_super *sb)
{
	uint8_t sector[BOW_SUPER_BYTES];

	bow_super_encode(sb, sector);
	return bow_super_decode(sector, sb) == BOW_DECODE_OK;
}

bool bow_segment_facts(const uint8_t in[BOW_SEGMENT_HEADER_BYTES], struct bow_super *facts,
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
	*facts = sb;
	return true;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void parse_uuid(const char *text, uint8_t uuid[16])
{
	int digits = 0;

	memset(uuid, 0, 16);
	for (; *text && digits < 32; text++)
		if (nibble(*text) >= 0) {
			uuid[digits / 2] = (uint8_t)(uuid[digits / 2] << 4 | nibble(*text));
			digits++;
		}
}

/* Only the UUID differs from note to note: read one at its place, and see if that gives this note.
 */
bool bow_note_uuid(const uint8_t note[BOW_NOTE_BYTES], uint8_t uuid[16])
{
	struct bow_super sb = {0};
	char expected[BOW_NOTE_BYTES], text[37];
	size_t at;

	bow_uuid_text(sb.uuid, text);
	bow_note_render(&sb, expected);
	at = (size_t)(strstr(expected, text) - expected);
	memcpy(text, note + at, 36);
	parse_uuid(text, sb.uuid);
	bow_note_render(&sb, expected);
	if (memcmp(expected, note, BOW_NOTE_BYTES))
		return false;
	memcpy(uuid, sb.uuid, 16);
	return true;
}
