/* SPDX-License-Identifier: MIT */
/* The sectors that a partition table begins with. */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/probe/sector.h"

struct bow_mbr_entry bow_mbr_entry(const uint8_t sector[512], int i)
{
	const uint8_t *e = sector + 446 + 16 * i;

	return (struct bow_mbr_entry){e[4], bow_get32(e + 8), bow_get32(e + 12)};
}

bool bow_mbr_signed(const uint8_t sector[512])
{
	return sector[510] == 0x55 && sector[511] == 0xaa;
}

bool bow_gpt_signed(const uint8_t header[512])
{
	return memcmp(header, "EFI PART", 8) == 0;
}

bool bow_mbr_shows_partitions(const uint8_t sector[512], uint64_t sectors)
{
	bool any = false;

	for (int i = 0; i < 4; i++) {
		struct bow_mbr_entry e = bow_mbr_entry(sector, i);

		if (sector[446 + 16 * i] & 0x7f) /* "active" or not, and nothing else */
			return false;
		any |= e.type && e.count && e.start && e.start < sectors;
	}
	return any && bow_mbr_signed(sector);
}
