/* SPDX-License-Identifier: MIT */
/* The sectors that a partition table begins with. */
#ifndef BOW_PROBE_SECTOR_H
#define BOW_PROBE_SECTOR_H

#include <stdbool.h>
#include <stdint.h>

/* An MBR's four entries: its type (0: unused), and where it begins and how long it is, in sectors.
 */
#define BOW_MBR_GPT 0xee
struct bow_mbr_entry {
	uint8_t type;
	uint32_t start, count;
};
struct bow_mbr_entry bow_mbr_entry(const uint8_t sector[512], int i);
bool bow_mbr_signed(const uint8_t sector[512]);
/* Would the kernel show partitions by this sector of a disk of so many? */
bool bow_mbr_shows_partitions(const uint8_t sector[512], uint64_t sectors);
bool bow_gpt_signed(const uint8_t header[512]);

#endif
