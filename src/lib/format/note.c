/* SPDX-License-Identifier: MIT */
/* The note in sectors 1-7 of block 0. Only the UUID differs from one note to another. */
#include "lib/format/format.h"

#include <stdio.h>
#include <string.h>

void bow_note_render(const struct bow_super *sb, char out[BOW_NOTE_BYTES])
{
	char uuid[37];

	bow_uuid_text(sb->uuid, uuid);
	memset(out, 0, BOW_NOTE_BYTES);
	snprintf(out, BOW_NOTE_BYTES,
		 "\nThis disk image has an open bowimg checkpoint (%s).\n"
		 "It is not damaged: its first block is kept elsewhere in the image, so that\n"
		 "nothing mounts or repairs it by accident. Do not write to it, do not run\n"
		 "fsck, fdisk or mkfs on it. Put its path where IMAGE stands:\n"
		 "\n"
		 "  bowimg status IMAGE      what this is, and how much has changed\n"
		 "  bowimg mount IMAGE DIR   use it; all writes can be undone\n"
		 "  bowimg rollback IMAGE    bring everything back as it was\n"
		 "  bowimg commit IMAGE      keep the changes\n"
		 "\n"
		 "Either of the last two makes it an ordinary disk image again.\n",
		 uuid);
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

/* Read a UUID where the note has it, render the note for it, and compare. */
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
