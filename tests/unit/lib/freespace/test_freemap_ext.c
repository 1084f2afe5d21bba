/* SPDX-License-Identifier: MIT */
/*
 * The free map of real ext2, ext3 and ext4 file systems of every kind: block by block what dumpe2fs
 * lists, rounded inward; and overwriting all of it with rubbish harms nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "ext_image.h"
#include "lib/freespace/freemap.h"
#include "mem_dev.h"
#include "rng.h"
#include "lib/freespace/fs/kinds.h"

#define BLOCK BOWIMG_BLOCK_SIZE

struct kind {
	const char *options;
	unsigned kib;
	const char *what;
};

static const struct kind kinds[] = {
	{"-t ext2 -b 1024", 20000, "ext2, 1024-byte blocks"},
	{"-t ext2 -b 1024 " EXT_REVISION_0, 9001, "ext2, 1024-byte blocks"},
	{"-t ext2 -b 4096 -O ^sparse_super,^resize_inode", 70002, "ext2, 4096-byte blocks"},
	{"-t ext2 -b 1024 -g 256", 9000, "ext2, 1024-byte blocks"},
	{"-t ext3 -b 2048", 40003, "ext3, 2048-byte blocks"},
	{"-t ext4", 33000, NULL},
	{"-t ext4 -b 1024", 33001, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 4096", 140001, "ext4, 4096-byte blocks"},
	{"-t ext4 -b 8192", 40000, "ext4, 8192-byte blocks"},
	{"-t ext4 -b 65536", 100007, "ext4, 65536-byte blocks"},
	{"-t ext4 -b 1024 -O bigalloc -C 2048", 40000,
	 "ext4, 1024-byte blocks, 2048-byte clusters"},
	{"-t ext4 -b 1024 -O bigalloc -C 16384", 50001,
	 "ext4, 1024-byte blocks, 16384-byte clusters"},
	{"-t ext4 -b 4096 -O bigalloc -C 65536", 60004,
	 "ext4, 4096-byte blocks, 65536-byte clusters"},
	{"-t ext4 -b 1024 -O 64bit,meta_bg,^resize_inode", 33000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 1024 -O ^64bit,^flex_bg", 33000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 1024 -O uninit_bg,^metadata_csum", 33000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 1024 -O ^uninit_bg,^metadata_csum", 33000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 1024 -O ^uninit_bg,^metadata_csum,^flex_bg,^64bit,bigalloc -C 4096", 65536,
	 "ext4, 1024-byte blocks, 4096-byte clusters"},
	{"-t ext4 -b 1024 -O sparse_super2,^resize_inode", 33000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 2048 -E resize=4000000", 50000, "ext4, 2048-byte blocks"},
	{"-t ext4 -b 1024 -O quota,orphan_file", 30000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 1024 -O ^has_journal -G 4 -N 64", 50000, "ext4, 1024-byte blocks"},
	{"-t ext4 -b 4096 -E lazy_itable_init=1,packed_meta_blocks=1", 40000,
	 "ext4, 4096-byte blocks"},
};

static struct bow_bitmap *read_map(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
				   struct bow_freemap_info *info)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(dev->size, BLOCK));
	struct bowimg_error err = {0};

	assert_non_null(map);
	if (bow_fs_ext4.read(dev, off, bytes, map, info, &err))
		fail_msg("%s; %s", err.message, err.hint);
	return map;
}

/* Is image block b inside free blocks of a file system that begins at `off`? */
static bool expected(const bool *is_free, uint32_t size, uint64_t blocks, uint64_t off, uint64_t b,
		     uint64_t image_size)
{
	if (b == 0 || (b + 1) * BLOCK > image_size || b * BLOCK < off)
		return false;
	for (uint64_t at = b * BLOCK - off; at < (b + 1) * BLOCK - off;) {
		if (at / size >= blocks || !is_free[at / size])
			return false;
		at = (at / size + 1) * size;
	}
	return true;
}

static void assert_as_dumpe2fs_says(const struct ext_image *x, struct bowimg_disk *dev,
				    uint64_t off, const struct bow_bitmap *map,
				    const struct bow_freemap_info *info)
{
	uint32_t size;
	uint64_t blocks, free_blocks = 0;
	bool *is_free = ext_image_free_blocks(x, &size, &blocks);

	for (uint64_t b = 0; b < blocks; b++)
		free_blocks += is_free[b];
	assert_int_equal(info->fs_free_bytes, free_blocks * size);
	for (uint64_t b = 0; b < bow_bitmap_bits(map); b++)
		if (bow_bitmap_test(map, b) != expected(is_free, size, blocks, off, b, dev->size))
			fail_msg("block %llu is wrong", (unsigned long long)b);
	assert_true(bow_bitmap_count(map) > 0);
	free(is_free);
}

/* Rubbish into every free block, straight into the file. */
static void scribble(const struct ext_image *x, const struct bow_bitmap *map)
{
	static uint8_t rubbish[64 * BLOCK];
	uint64_t start = 0, count;
	int fd = open(x->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	rng_fill(rubbish, sizeof(rubbish), 42);
	for (; bow_bitmap_next_run(map, &start, &count, bow_bitmap_bits(map)); start += count) {
		ssize_t bytes;

		count = bow_min(count, 64);
		bytes = (ssize_t)(count * BLOCK);
		assert_int_equal(pwrite(fd, rubbish, (size_t)bytes, (off_t)(start * BLOCK)), bytes);
	}
	assert_int_equal(close(fd), 0);
}

static void try_kind(struct ext_image *x, const struct kind *k)
{
	struct bow_freemap_info info;
	struct bow_bitmap *map;
	struct bowimg_disk *dev;

	print_message("mke2fs %s\n", k->options);
	ext_image_make(x, k->options, k->kib);
	dev = ext_image_open(x);
	map = read_map(dev, 0, dev->size, &info);
	assert_string_equal(info.source, "ext");
	if (k->what)
		assert_string_equal(info.what, k->what);
	assert_as_dumpe2fs_says(x, dev, 0, map, &info);
	assert_int_equal(bow_disk_close(dev, NULL), 0);
	scribble(x, map);
	assert_true(ext_image_is_intact(x));
	bow_bitmap_free(map);
}

static void every_kind_of_file_system_is_read_as_dumpe2fs_reads_it(void **state)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		try_kind(*state, &kinds[i]);
}

static void what_is_behind_a_smaller_file_system_counts_as_used(void **state)
{
	struct ext_image *x = *state;
	struct bow_freemap_info info;
	struct bow_bitmap *map;
	struct bowimg_disk *dev;

	ext_image_make(x, "-t ext4 -b 1024", 20001);
	assert_int_equal(host_run("truncate -s 40M %s", x->path), 0);
	dev = ext_image_open(x);
	map = read_map(dev, 0, dev->size, &info);
	assert_as_dumpe2fs_says(x, dev, 0, map, &info);
	assert_true(bow_bitmap_all(map, 20001 / 4, 10240 - 20001 / 4, false));
	bow_bitmap_free(map);
	bow_disk_close(dev, NULL);
}

static void copy_into(struct bowimg_disk *to, uint64_t off, struct bowimg_disk *from)
{
	assert_int_equal(bow_disk_read(from, mem_dev_bytes(to) + off, from->size, 0, NULL), 0);
}

/* Partitions of old disks begin at sector 63: no file system block is aligned with an image block.
 */
static void a_file_system_in_the_middle_of_a_disk_is_read_in_its_place(void **state)
{
	struct ext_image *x = *state;
	const uint64_t off = 63 * 512;
	struct bow_freemap_info info;
	struct bow_bitmap *map;
	struct bowimg_disk *dev, *disk;

	ext_image_make(x, "-t ext4 -b 1024", 20000);
	dev = ext_image_open(x);
	disk = mem_dev_new(off + dev->size + 5000, 0);
	assert_non_null(disk);
	copy_into(disk, off, dev);
	map = read_map(disk, off, dev->size, &info);
	assert_as_dumpe2fs_says(x, disk, off, map, &info);
	bow_bitmap_free(map);
	bow_disk_close(dev, NULL);
	bow_disk_close(disk, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_kind_of_file_system_is_read_as_dumpe2fs_reads_it, ext_image_set_up,
			ext_image_tear_down),
		cmocka_unit_test_setup_teardown(what_is_behind_a_smaller_file_system_counts_as_used,
						ext_image_set_up, ext_image_tear_down),
		cmocka_unit_test_setup_teardown(
			a_file_system_in_the_middle_of_a_disk_is_read_in_its_place,
			ext_image_set_up, ext_image_tear_down),
	};

	return cmocka_run_group_tests_name("freemap_ext", tests, NULL, NULL);
}
