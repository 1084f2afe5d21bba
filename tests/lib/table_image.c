/* SPDX-License-Identifier: MIT */
/* See table_image.h. Layout: 128 entries of 128 bytes behind the header and before the backup. */
#include "table_image.h"

#include <string.h>

#include "lib/base/bytes.h"

#define ENTRIES 128u
#define ENTRY_BYTES 128u

static uint32_t crc32(const uint8_t *p, size_t bytes)
{
	uint32_t crc = UINT32_MAX;

	for (; bytes > 0; bytes--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

void table_mbr_entry(uint8_t *sector, int i, uint8_t type, uint32_t start, uint32_t count)
{
	uint8_t *e = sector + 446 + 16 * i;

	e[4] = type;
	bow_put32(e + 8, start);
	bow_put32(e + 12, count);
	bow_put16(sector + 510, 0xaa55);
}

uint8_t *table_gpt_entry(uint8_t *disk, uint32_t unit, uint64_t header, unsigned i)
{
	return disk + bow_get64(disk + header * unit + 72) * unit + (size_t)i * ENTRY_BYTES;
}

void table_seal_gpt(uint8_t *disk, uint64_t size, uint32_t unit, uint64_t header)
{
	uint8_t *h = disk + header * unit;
	uint64_t entries = bow_get64(h + 72),
		 bytes = (uint64_t)bow_get32(h + 80) * bow_get32(h + 84);
	uint32_t header_bytes = bow_get32(h + 12);

	if (entries < size / unit && bytes <= size - entries * unit)
		bow_put32(h + 88, crc32(disk + entries * unit, bytes));
	bow_put32(h + 16, 0);
	if (header_bytes <= unit)
		bow_put32(h + 16, crc32(h, header_bytes));
}

static void fill_entry(uint8_t *e, const struct table_part *p, unsigned i)
{
	memset(e, p->type ? 0x11 : 0, 16);
	memset(e + 16, 0xa0 + (int)i, 16);
	bow_put64(e + 32, p->start);
	bow_put64(e + 40, p->start + p->count - 1);
	bow_put16(e + 56, (uint16_t)('a' + i));
}

static void make_copy(uint8_t *disk, uint64_t size, uint32_t unit, uint64_t header,
		      const struct table_part *parts, unsigned count)
{
	const uint64_t last = size / unit - 1, room = ENTRIES * ENTRY_BYTES / unit;
	uint8_t *h = disk + header * unit;

	memcpy(h, "EFI PART", 8);
	bow_put32(h + 8, 0x10000);
	bow_put32(h + 12, 92);
	bow_put64(h + 24, header);
	bow_put64(h + 32, header == 1 ? last : 1);
	bow_put64(h + 40, 2 + room);
	bow_put64(h + 48, last - room - 1);
	memset(h + 56, 0x77, 16);
	bow_put64(h + 72, header == 1 ? 2 : last - room);
	bow_put32(h + 80, ENTRIES);
	bow_put32(h + 84, ENTRY_BYTES);
	for (unsigned i = 0; i < count; i++)
		fill_entry(table_gpt_entry(disk, unit, header, i), &parts[i], i);
	table_seal_gpt(disk, size, unit, header);
}

void table_make_gpt(uint8_t *disk, uint64_t size, uint32_t unit, const struct table_part *parts,
		    unsigned count)
{
	table_mbr_entry(disk, 0, 0xee, 1, (uint32_t)(size / unit - 1));
	make_copy(disk, size, unit, 1, parts, count);
	make_copy(disk, size, unit, size / unit - 1, parts, count);
}
