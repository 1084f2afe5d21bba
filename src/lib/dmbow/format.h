/* SPDX-License-Identifier: MIT */
/*
 * The log of the kernel's dm-bow; bowimg-format(5), section "DM-BOW". On the disk, numbers are
 * little endian, places are 512-byte sectors, sizes are bytes. In memory all counts are in dm-bow's
 * own blocks, of 512 to 4096 bytes.
 */
#ifndef BOW_DMBOW_FORMAT_H
#define BOW_DMBOW_FORMAT_H

#include "lib/format/format.h"

#define BOW_DMBOW_SECTOR 512u
#define BOW_DMBOW_MAX_BLOCK 4096u
#define BOW_DMBOW_HEADER_BYTES 28u
#define BOW_DMBOW_ENTRY_BYTES 24u

struct bow_dmbow_header {
	bool restoring; /* magic WOB: a restore has begun; `count` entries of this block are left */
	uint32_t block_size;
	uint32_t count;	   /* entries, at least 1 and no more than fit */
	uint32_t sequence; /* log blocks before this one */
	uint64_t sector0;  /* place of block 0's live content, now or before the newest entry */
};

/* DAMAGED: magic and version are right, another field is impossible. */
enum bow_decoded bow_dmbow_decode(const uint8_t in[BOW_DMBOW_HEADER_BYTES],
				  struct bow_dmbow_header *h);
void bow_dmbow_encode(const struct bow_dmbow_header *h, uint8_t out[BOW_DMBOW_HEADER_BYTES]);

/* "What was at source is now at dest." */
struct bow_dmbow_entry {
	uint64_t source_blk, dest_blk, count_blk;
	uint32_t checksum; /* of a backup; 0 for block 0's live content */
};

/* Returns how many entries fit into a log block. */
uint32_t bow_dmbow_capacity(uint32_t block_size);

/* Returns the byte where entry i begins in its log block. */
size_t bow_dmbow_entry_off(uint32_t i);

/*
 * Decode entry i of a log block. Returns false if it is impossible on a disk of image_blk blocks;
 * *why says what is wrong. Entry 0, and no other, has the source 0.
 */
bool bow_dmbow_entry_decode(const uint8_t *log_block, uint32_t i, uint32_t block_size,
			    uint64_t image_blk, struct bow_dmbow_entry *e, const char **why);
void bow_dmbow_entry_encode(const struct bow_dmbow_entry *e, uint32_t block_size,
			    uint8_t out[BOW_DMBOW_ENTRY_BYTES]);

/* Continue a checksum; an entry's starts with the low 32 bits of its source block. */
uint32_t bow_dmbow_crc(uint32_t crc, const void *buf, size_t bytes);

#endif
