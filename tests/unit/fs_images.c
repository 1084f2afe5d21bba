/* SPDX-License-Identifier: MIT */
#include "fs_images.h"

#include <endian.h>
#include <string.h>

#include "lib/base/bytes.h"

static void be16(uint8_t *p, uint16_t v)
{
	bow_put16(p, htobe16(v));
}

static void be32(uint8_t *p, uint32_t v)
{
	bow_put32(p, htobe32(v));
}

static void be64(uint8_t *p, uint64_t v)
{
	bow_put64(p, htobe64(v));
}

/* On little-endian machines bow_put is a plain store, and htobe swaps; on others the reverse. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the builders swap bytes");

void fs_image_xfs_record(uint8_t *disk, uint32_t block, uint32_t cycle, uint32_t operations,
			 uint8_t flags)
{
	uint8_t *p = disk + XFS_LOG + (size_t)block * 512;

	be32(p, 0xfeedbabe);
	be32(p + 4, cycle);
	be32(p + 8, 2);
	be64(p + 16, (uint64_t)cycle << 32 | block);
	be32(p + 40, operations);
	be32(p + 320, 32768);
	be32(p + 512, cycle);
	p[512 + 9] = flags;
}

/* Two groups of 4096 blocks; the log is 16 blocks, from block 16 of the first. */
void fs_image_xfs(uint8_t *disk)
{
	memcpy(disk, "XFSB", 4);
	be32(disk + 4, 4096);
	be64(disk + 8, 8192);
	be64(disk + 48, 16);
	be32(disk + 84, 4096);
	be64(disk + 144, 2 * (100 + 2 + 1));
	be32(disk + 88, 2);
	be32(disk + 96, 16);
	be16(disk + 100, 0xb4a5);
	be16(disk + 102, 512);
	disk[124] = 12;
	be32(disk + 212, 5);
	be32(disk + 216, 3);
	for (size_t group = 0; group < 2; group++) {
		uint8_t *head = disk + group * 4096 * 4096;

		memcpy(head + 512, "XAGF", 4);
		be32(head + 512 + 40, 0);
		be32(head + 512 + 48, 2);
		be32(head + 512 + 52, 100);
		be32(head + 512 + 60, 1);
		be32(head + 1536 + 36, 10);
		be32(head + 1536 + 40, 11);
	}
	fs_image_xfs_record(disk, 0, 1, 1, 0x20);
}

static uint8_t *btrfs_chunk(uint8_t *p, uint64_t bytes, uint64_t type, uint16_t stripes,
			    const uint64_t *places)
{
	bow_put64(p, bytes);
	bow_put64(p + 8, 2);
	bow_put64(p + 16, 65536);
	bow_put64(p + 24, type);
	bow_put16(p + 44, stripes);
	for (uint16_t i = 0; i < stripes; i++) {
		bow_put64(p + 48 + i * 32, 1);
		bow_put64(p + 56 + i * 32, places[i]);
	}
	return p + 48 + stripes * 32;
}

static void btrfs_item(uint8_t *leaf, uint32_t i, uint64_t logical, uint32_t at, uint32_t size)
{
	uint8_t *item = leaf + 101 + i * 25;

	bow_put64(item, 256);
	item[8] = 228;
	bow_put64(item + 9, logical);
	bow_put32(item + 17, at - 101);
	bow_put32(item + 21, size);
}

/* System blocks at 1 and 2 MiB, metadata at 4 and 8 MiB, data in one copy at 16 MiB. */
void fs_image_btrfs(uint8_t *disk)
{
	static const uint64_t system[] = {BTRFS_TREE, 2 << 20}, meta[] = {4 << 20, 8 << 20};
	static const uint64_t data[] = {16 << 20};
	uint8_t *super = disk + 65536, *leaf = disk + BTRFS_TREE;

	memcpy(super + 64, "_BHRfS_M", 8);
	bow_put64(super + 88, 1 << 20); /* the chunk tree's logical place */
	bow_put64(super + 136, 1);
	bow_put32(super + 144, 4096);
	bow_put32(super + 148, 16384);
	bow_put32(super + 160, 17 + 112);
	bow_put64(super + 188, 0x361);
	bow_put64(super + 209, FS_IMAGE_BYTES);
	super[811 + 8] = 228;
	bow_put64(super + 811 + 9, 1 << 20);
	btrfs_chunk(super + 811 + 17, 1 << 20, 0x22, 2, system);
	bow_put64(leaf + 48, 1 << 20);
	bow_put32(leaf + 96, 3);
	btrfs_chunk(leaf + 8000, 1 << 20, 0x22, 2, system);
	btrfs_chunk(leaf + 8200, 1 << 20, 0x24, 2, meta);
	btrfs_chunk(leaf + 8400, 8 << 20, 0x1, 1, data);
	btrfs_item(leaf, 0, 1 << 20, 8000, 112);
	btrfs_item(leaf, 1, 4 << 20, 8200, 112);
	btrfs_item(leaf, 2, 16 << 20, 8400, 80);
}

/* 4 KiB clusters; two tables of 32 sectors after one reserved; clusters 2 to 9 are used. */
void fs_image_fat16(uint8_t *disk)
{
	memcpy(disk + 3, "mkfs.fat", 8);
	bow_put16(disk + 11, 512);
	disk[13] = 8;
	bow_put16(disk + 14, 1);
	disk[16] = 2;
	bow_put16(disk + 17, 512);
	bow_put16(disk + 22, 32);
	bow_put32(disk + 32, FS_IMAGE_BYTES / 512);
	for (size_t copy = 0; copy < 2; copy++)
		memset(disk + 512 + copy * 32 * 512, 0xff, 20);
}

void fs_image_exfat(uint8_t *disk)
{
	memcpy(disk + 3, "EXFAT   ", 8);
	bow_put64(disk + 72, FS_IMAGE_BYTES / 512);
	disk[108] = 9;
	disk[109] = 3;
	disk[110] = 1;
}

/* A record of the table with one attribute, whose bytes after the head are `rest`. */
static uint8_t *ntfs_record(uint8_t *disk, uint32_t number, uint32_t type, uint32_t attr_bytes)
{
	uint8_t *p = disk + NTFS_TABLE + (size_t)number * NTFS_RECORD;

	memcpy(p, "FILE", 4);
	bow_put16(p + 4, 48);
	bow_put16(p + 6, 3);
	bow_put16(p + 20, 56);
	bow_put16(p + 22, 1);
	bow_put32(p + 24, 56 + attr_bytes + 8);
	bow_put32(p + 56, type);
	bow_put32(p + 60, attr_bytes);
	bow_put32(p + 56 + attr_bytes, 0xffffffff);
	return p + 56;
}

static void ntfs_runs(uint8_t *attr, uint64_t bytes, uint8_t clusters, uint16_t place)
{
	attr[8] = 1;
	bow_put16(attr + 32, 64);
	bow_put64(attr + 48, bytes);
	attr[64] = 0x21;
	attr[65] = clusters;
	bow_put16(attr + 66, place);
}

void fs_image_ntfs_file(uint8_t *disk, uint32_t number, uint16_t clusters, uint16_t place)
{
	uint8_t *attr = ntfs_record(disk, number, 0x80, 72);

	ntfs_runs(attr, clusters * 4096ull, 0, 0);
	attr[64] = 0x22;
	bow_put16(attr + 65, clusters);
	bow_put16(attr + 67, place);
}

static void ntfs_mark(uint8_t *disk, uint32_t place, uint32_t clusters)
{
	for (uint32_t i = place; i < place + clusters; i++)
		disk[NTFS_BITMAP + i / 8] |= (uint8_t)(1u << i % 8);
}

/* Clusters of 4 KiB; the table's first 16 records, of which the five that are looked at. */
void fs_image_ntfs(uint8_t *disk)
{
	uint8_t *attr, *page = disk + NTFS_LOG;

	memcpy(disk + 3, "NTFS    ", 8);
	bow_put16(disk + 11, 512);
	disk[13] = 8;
	bow_put64(disk + 40, FS_IMAGE_BYTES / 512 - 1);
	bow_put64(disk + 48, NTFS_TABLE / 4096);
	disk[64] = 0xf6; /* 2 to the 10th */
	ntfs_runs(ntfs_record(disk, 0, 0x80, 72), 16 * NTFS_RECORD, 4, NTFS_TABLE / 4096);
	ntfs_runs(ntfs_record(disk, 2, 0x80, 72), 8192, 2, NTFS_LOG / 4096);
	attr = ntfs_record(disk, 3, 0x70, 40);
	bow_put32(attr + 16, 12);
	bow_put16(attr + 20, 24);
	attr = ntfs_record(disk, 5, 0x90, 72);
	bow_put32(attr + 16, 48);
	bow_put16(attr + 20, 24);
	bow_put32(attr + 24 + 8, 4096);
	bow_put32(attr + 24 + 16, 16);
	bow_put32(attr + 24 + 20, 32);
	bow_put16(attr + 24 + 32 + 8, 16);
	bow_put16(attr + 24 + 32 + 12, 2);
	ntfs_runs(ntfs_record(disk, 6, 0x80, 72), FS_IMAGE_BYTES / 4096 / 8, 1, NTFS_BITMAP / 4096);
	ntfs_mark(disk, NTFS_TABLE / 4096, 4);
	ntfs_mark(disk, NTFS_LOG / 4096, 2);
	ntfs_mark(disk, NTFS_BITMAP / 4096, 1);
	memcpy(page, "RSTR", 4);
	bow_put16(page + 4, 30);
	bow_put16(page + 6, 9);
	bow_put16(page + 24, 48);
	bow_put64(page + 48, 7);
	bow_put16(page + 48 + 12, 0xffff);
}

void fs_image_f2fs_sum(uint8_t *block)
{
	uint32_t crc = 0xf2f52010;

	for (uint32_t i = 0; i < 4092; i++) {
		crc ^= block[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	bow_put32(block + 4092, crc);
}

/* One pack of two blocks. */
void fs_image_f2fs(uint8_t *disk)
{
	uint8_t *super = disk + 1024, *pack = disk + F2FS_PACK;

	bow_put32(super, 0xf2f52010);
	bow_put32(super + 16, 12);
	bow_put32(super + 20, 9);
	bow_put64(super + 36, FS_IMAGE_BYTES / 4096);
	bow_put32(super + 76, F2FS_PACK / 4096);
	bow_put64(pack, 5);
	bow_put32(pack + 132, 1);
	bow_put32(pack + 136, 2);
	bow_put32(pack + 164, 4092);
	fs_image_f2fs_sum(pack);
	memcpy(pack + 4096, pack, 4096);
}

void fs_image_hfsplus(uint8_t *disk)
{
	uint8_t *head = disk + 1024, *info = disk + 8192, *journal = disk + HFS_JOURNAL;

	memcpy(head, "H+", 2);
	be32(head + 4, 0x100 | 0x2000);
	be32(head + 12, 2);
	be32(head + 40, 4096);
	be32(head + 44, FS_IMAGE_BYTES / 4096);
	be32(info, 1);
	be64(info + 36, HFS_JOURNAL);
	be32(journal, 0x4a4e4c78);
	be64(journal + 8, 512);
	be64(journal + 16, 512);
}
