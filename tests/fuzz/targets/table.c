/* SPDX-License-Identifier: MIT */
/*
 * Partition tables, and the free map of what is in them. The input is a byte of flags, then patches
 * to a disk of zeros: where (in units of 32 bytes), how long (a byte), what.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "lib/freespace/freemap.h"
#include "lib/partitions/table.h"
#include "mem_dev.h"
#include "table_image.h"

#define SIZE ((uint64_t)2 << 20)
#define GRAIN 32u
#define TABLE_4K 1u   /* sectors of 4096 bytes */
#define TABLE_SEAL 2u /* make the checksums of both copies of a GPT right */

static uint32_t unit_of(uint8_t flags)
{
	return flags & TABLE_4K ? 4096 : 512;
}

static void patch(uint8_t *disk, const uint8_t *data, size_t size)
{
	while (size > 3) {
		uint64_t off = (uint64_t)bow_get16(data) * GRAIN;
		size_t bytes = bow_min(bow_min(data[2], size - 3), SIZE - off);

		memcpy(disk + off, data + 3, bytes);
		data += 3 + bytes;
		size -= 3 + bytes;
	}
}

static void check_table(const struct bow_table *table)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct bow_part *p = &table->parts[i];

		if (!p->bytes || p->off < 512 || !bow_range_ok(p->off, p->bytes, SIZE))
			fuzz_die("a partition that cannot be");
		if (i && p->off < p[-1].off + p[-1].bytes)
			fuzz_die("partitions overlap");
	}
}

/* What is free lies in a partition. Without a table this is the sources' business. */
static void check_map(const struct bow_table *table, struct bow_bitmap *map)
{
	for (uint32_t i = 0; i < table->count; i++) {
		uint64_t first = bow_div_up(table->parts[i].off, BOW_BLOCK);
		uint64_t end = (table->parts[i].off + table->parts[i].bytes) / BOW_BLOCK;

		if (first < end)
			bow_bitmap_clear(map, first, end - first);
	}
	if (table->kind[0] && bow_bitmap_count(map))
		fuzz_die("a block outside of every partition is free");
}

static int read_table(struct bowimg_disk *dev, struct bow_table *table, struct bowimg_error *err)
{
	struct bow_probe found;
	int rc = bow_probe_device(dev, &found, err);

	return rc ? rc : bow_table_read(dev, &found, table, err);
}

static void read_disk(struct bowimg_disk *dev, struct bow_table *table)
{
	struct bow_bitmap *map = bow_bitmap_new(SIZE / BOW_BLOCK);
	const struct bow_freemap_options opts = {0};
	struct bow_freemap_info info = {0};
	struct bowimg_error err = {0};

	if (!map)
		abort();
	if (!fuzz_check_error(read_table(dev, table, &err), &err)) {
		check_table(table);
		if (table->kind[0] &&
		    !fuzz_check_error(bow_freemap_read(dev, &opts, map, &info, &err), &err))
			check_map(table, map);
	}
	bow_bitmap_free(map);
}

static void run(const uint8_t *data, size_t size)
{
	struct bow_table *table;
	struct bowimg_disk *dev;

	if (size < 1)
		return;
	dev = mem_dev_new(SIZE, 0);
	table = malloc(sizeof(*table));
	if (!dev || !table)
		abort();
	dev->sector_size = unit_of(data[0]);
	patch(mem_dev_bytes(dev), data + 1, size - 1);
	if (data[0] & TABLE_SEAL) {
		table_seal_gpt(mem_dev_bytes(dev), SIZE, dev->sector_size, 1);
		table_seal_gpt(mem_dev_bytes(dev), SIZE, dev->sector_size,
			       SIZE / dev->sector_size - 1);
	}
	read_disk(dev, table);
	free(table);
	bow_disk_close(dev, NULL);
}

/* As patches: every grain that is not zero. */
static void dump(const uint8_t *disk, uint8_t flags, struct fuzz_buf *out)
{
	fuzz_put(out, &flags, 1);
	for (uint64_t off = 0; off < SIZE; off += GRAIN) {
		uint8_t head[3] = {0, 0, GRAIN};

		if (bow_is_zero(disk + off, GRAIN))
			continue;
		bow_put16(head, (uint16_t)(off / GRAIN));
		fuzz_put(out, head, sizeof(head));
		fuzz_put(out, disk + off, GRAIN);
	}
}

static void make_mbr(uint8_t *disk)
{
	table_mbr_entry(disk, 0, 0x82, 64, 512);
	table_mbr_entry(disk, 1, 0x0f, 1024, 2048);
	table_mbr_entry(disk + 1024 * 512, 0, 0x83, 8, 512);
	table_mbr_entry(disk + 1024 * 512, 1, 0x05, 1024, 512);
	table_mbr_entry(disk + 2048 * 512, 0, 0x83, 8, 256);
	/* A swap in the first. */
	bow_put32(disk + 64 * 512 + 1024, 1);
	bow_put32(disk + 64 * 512 + 1028, 63);
	memcpy(disk + 64 * 512 + 4086, "SWAPSPACE2", 10);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	static const struct table_part parts[] = {{64, 32, 1}, {128, 1, 1}, {100, 8, 1}};
	uint8_t flags = i == 1 ? TABLE_4K | TABLE_SEAL : TABLE_SEAL;
	uint8_t *disk;

	if (i > 2)
		return false;
	disk = calloc(1, SIZE);
	if (!disk)
		abort();
	if (i == 2) {
		make_mbr(disk);
		flags = 0;
	} else {
		table_make_gpt(disk, SIZE, unit_of(flags), parts, 3);
	}
	dump(disk, flags, out);
	free(disk);
	return true;
}

const struct fuzz_target fuzz_table = {"table", run, seed, NULL};
