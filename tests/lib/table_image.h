/* SPDX-License-Identifier: MIT */
/* Partition tables by hand, right ones and ones that no tool would write. */
#ifndef TESTS_TABLE_IMAGE_H
#define TESTS_TABLE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In sectors, of whatever size the disk's are. */
struct table_part {
	uint64_t start, count;
	uint8_t type; /* MBR; GPT only asks whether it is 0 */
};

/* The i-th of the four entries of an MBR or of a link of the chain, and the signature. */
void table_mbr_entry(uint8_t *sector, int i, uint8_t type, uint32_t start, uint32_t count);

/* Both copies and the protective MBR; the unit is the size of a sector. */
void table_make_gpt(uint8_t *disk, uint64_t size, uint32_t unit, const struct table_part *parts,
		    unsigned count);
/* Where an entry of the copy whose header is in sector `header` lies. */
uint8_t *table_gpt_entry(uint8_t *disk, uint32_t unit, uint64_t header, unsigned i);
/* Make that copy's checksums right again, if the places it names are inside the disk. */
void table_seal_gpt(uint8_t *disk, uint64_t size, uint32_t unit, uint64_t header);

#endif
