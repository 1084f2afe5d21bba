/* SPDX-License-Identifier: MIT */
/*
 * The log of dm-bow, the kernel's target that bowimg's idea comes from; bowimg-format(5), section
 * "DM-BOW". Numbers on the disk are little endian, places are 512-byte sectors, sizes are bytes. In
 * memory everything is counted in dm-bow's own blocks, of 512 to 4096 bytes.
 */
#ifndef BOW_FORMAT_DMBOW_FORMAT_H
#define BOW_FORMAT_DMBOW_FORMAT_H

#include "format/format.h"

#define BOW_DMBOW_SECTOR 512u
#define BOW_DMBOW_MAX_BLOCK 4096u
#define BOW_DMBOW_HEADER_BYTES 28u
#define BOW_DMBOW_ENTRY_BYTES 24u

struct bow_dmbow_header {
	bool restoring; /* magic WOB: a rollback has begun; `count` entries are left of this block
			 */
	uint32_t block_size;
	uint32_t count;	   /* entries, at least 1 and no more than fit */
	uint32_t sequence; /* log blocks before this one */
	uint64_t sector0;  /* where block 0's live content is, or was before the newest entry */
};

/* DAMAGED: version 1.0 by its magic and version, and impossible otherwise. */
enum bow_decoded bow_dmbow_decode(const uint8_t in[BOW_DMBOW_HEADER_BYTES],
				  struct bow_dmbow_header *h);
void bow_dmbow_encode(const struct bow_dmbow_header *h, uint8_t out[BOW_DMBOW_HEADER_BYTES]);

/* "What was at source is now at dest." */
struct bow_dmbow_entry {
	uint64_t source_blk, dest_blk, count_blk;
	uint32_t checksum; /* of a backup; 0 for block 0's live content */
};

/* How many entries fit into a log block. */
uint32_t bow_dmbow_capacity(uint32_t block_size);

/* Where entry i begins in its log block. */
size_t bow_dmbow_entry_off(uint32_t i);

/*
 * Entry i of a log block. False: it cannot be one on a disk of this many blocks, and *why says what
 * is wrong. Entry 0, and no other, has the source 0.
 */
bool bow_dmbow_entry_decode(const uint8_t *log_block, uint32_t i, uint32_t block_size,
			    uint64_t image_blk, struct bow_dmbow_entry *e, const char **why);
void bow_dmbow_entry_encode(const struct bow_dmbow_entry *e, uint32_t block_size,
			    uint8_t out[BOW_DMBOW_ENTRY_BYTES]);

/* Go on with a checksum; it starts with the low 32 bits of the entry's source block. */
uint32_t bow_dmbow_crc(uint32_t crc, const void *buf, size_t bytes);

#endif
