/* SPDX-License-Identifier: MIT */
/* What tells of a checkpoint besides its superblock: for finding one whose superblock is lost. */
#ifndef BOW_FORMAT_FACTS_H
#define BOW_FORMAT_FACTS_H

#include "format/format.h"

/*
 * Is this the header of a log segment, of whatever checkpoint? Then *facts becomes a superblock in
 * state CHECKPOINT whose newest segment this is: a valid one, as far as bow_super_decode() looks.
 * ATTACHED and MTIME are clear; live0_blk is 0 in a first segment.
 */
bool bow_segment_facts(const uint8_t in[BOW_SEGMENT_HEADER_BYTES], struct bow_super *facts,
		       struct bow_segment_header *h);

/* Are these bytes, sectors 1-7 of block 0, the note of a checkpoint? Then of which one. */
bool bow_note_uuid(const uint8_t note[BOW_NOTE_BYTES], uint8_t uuid[16]);

#endif
