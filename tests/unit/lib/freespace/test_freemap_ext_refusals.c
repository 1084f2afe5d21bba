/* SPDX-License-Identifier: MIT */
/* Ext file systems whose word must not be taken, and images that are hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ext2fs/ext2fs.h>

#include "lib/base/bytes.h"
#include "ext_image.h"
#include "lib/freespace/freemap.h"
#include "mem_dev.h"
#include "rng.h"
#include "lib/freespace/fs/kinds.h"

#define SUPER 1024u /* where the superblock is, in bytes */

/* Read the map of a device and expect this error, with these words in the message and the hint. */
static void refused(struct bowimg_disk *dev, int code, const char *message, const char *hint)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	struct bow_freemap_info info;
	struct bowimg_error err = {0};
	int rc = bow_fs_ext4.read(dev, 0, dev->size, map, &info, &err);

	if (rc != code || !strstr(err.message, message) || !strstr(err.hint, hint))
		fail_msg("got %d \"%s\" \"%s\"", rc, err.message, err.hint);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.message, dev->name));
	bow_bitmap_free(map);
}

static void refused_file(struct ext_image *x, int code, const char *message, const char *hint)
{
	struct bowimg_disk *dev = ext_image_open(x);

	refused(dev, code, message, hint);
	assert_int_equal(bow_disk_close(dev, NULL), 0);
}

/* The image in memory, where its bytes can be bent without a tool. */
static struct bowimg_disk *in_memory(struct ext_image *x, const char *options, unsigned kib)
{
	struct bowimg_disk *file, *dev;

	ext_image_make(x, options, kib);
	file = ext_image_open(x);
	dev = mem_dev_new(file->size, 0);
	assert_non_null(dev);
	assert_int_equal(bow_disk_read(file, mem_dev_bytes(dev), file->size, 0, NULL), 0);
	assert_int_equal(bow_disk_close(file, NULL), 0);
	return dev;
}

static void file_systems_that_are_not_clean_are_refused_with_the_tool_that_helps(void **state)
{
	static const struct {
		const char *command, *message, *hint;
	} cases[] = {
		{"feature needs_recovery", "journal", "e2fsck -p "},
		{"ssv state 3", "has errors", "e2fsck -f "},
		{"ssv state 0", "not cleanly unmounted", "e2fsck -p "},
		{"ssv last_orphan 12", "deleted files", "e2fsck -p "},
		{"feature orphan_present", "deleted files", "e2fsck -p "},
	};
	struct ext_image *x = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ext_image_make(x, "-t ext4 -O orphan_file", 16384);
		assert_int_equal(host_run("debugfs -w -R '%s' %s", cases[i].command, x->path), 0);
		refused_file(x, -EUCLEAN, cases[i].message, cases[i].hint);
	}
}

/* Without ext_image_make(): every tool that opens such an image for writing waits for seconds. */
static void a_multi_mount_block_is_obeyed(void **state)
{
	struct ext_image *x = *state;
	struct bowimg_disk *file, *dev;
	struct bowimg_error err;
	struct bow_freemap_info info;
	struct bow_bitmap *map;
	uint8_t *block;

	host_require(host_has_tool("mke2fs"), "mke2fs");
	assert_int_equal(
		host_run("rm -f %s; truncate -s 16M %s && mke2fs -q -t ext4 -b 1024 -O mmp "
			 "%s",
			 x->path, x->path, x->path),
		0);
	file = ext_image_open(x);
	dev = mem_dev_new(file->size, 0);
	bow_disk_read(file, mem_dev_bytes(dev), file->size, 0, NULL);
	bow_disk_close(file, NULL);
	map = bow_bitmap_new(bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	assert_int_equal(bow_fs_ext4.read(dev, 0, dev->size, map, &info, &err), 0);
	bow_bitmap_free(map);
	block = mem_dev_bytes(dev) + bow_get64(mem_dev_bytes(dev) + SUPER +
					       offsetof(struct ext2_super_block, s_mmp_block)) *
					     1024;
	bow_put32(block + offsetof(struct mmp_struct, mmp_seq), 7);
	strcpy((char *)block + offsetof(struct mmp_struct, mmp_nodename), "ho\033st");
	refused(dev, -EBUSY, "mounted on host \"ho?st\"", "unmount it there");
	bow_put32(block + offsetof(struct mmp_struct, mmp_seq), EXT4_MMP_SEQ_FSCK);
	refused(dev, -EBUSY, "being checked", "e2fsck -f ");
	bow_put32(block, 0);
	refused(dev, -EUCLEAN, "multi-mount block", "e2fsck -f ");
	bow_disk_close(dev, NULL);
}

static void wrong_checksums_are_refused(void **state)
{
	struct bowimg_disk *dev = in_memory(*state, "-t ext4 -b 1024 -O metadata_csum", 16384);
	uint8_t *bytes = mem_dev_bytes(dev), *desc = bytes + 2048;
	uint8_t *bitmap = bytes + (uint64_t)bow_get32(desc) * 1024;

	bytes[SUPER + offsetof(struct ext2_super_block, s_volume_name)] ^= 1;
	refused(dev, -EBADMSG, "checksum", "e2fsck -f ");
	bytes[SUPER + offsetof(struct ext2_super_block, s_volume_name)] ^= 1;
	desc[20] ^= 1;
	refused(dev, -EBADMSG, "descriptor of group 0", "e2fsck -f ");
	desc[20] ^= 1;
	bitmap[500] ^= 1;
	refused(dev, -EBADMSG, "bitmap", "e2fsck -f ");
	bow_disk_close(dev, NULL);
}

static void a_bitmap_that_contradicts_its_descriptor_is_refused(void **state)
{
	struct bowimg_disk *dev = in_memory(*state, "-t ext2 -b 1024", 16384);
	uint8_t *bytes = mem_dev_bytes(dev), *desc = bytes + 2048;
	uint8_t *bitmap = bytes + (uint64_t)bow_get32(desc) * 1024;

	bitmap[500] ^= 1;
	refused(dev, -EUCLEAN, "group 0", "e2fsck -f ");
	bitmap[500] ^= 1;
	/* Bits 0 and 1 are the superblock and the descriptors: the count agrees, the claim does
	 * not. */
	bitmap[0] &= 0xfc;
	bow_put16(desc + 12, (uint16_t)(bow_get16(desc + 12) + 2));
	refused(dev, -EUCLEAN, "group 0", "e2fsck -f ");
	bow_disk_close(dev, NULL);
}

/* Clear a block's bit, and tell descriptor and superblock: all counts agree. */
static void free_and_count(uint8_t *bytes, uint32_t block)
{
	const uint32_t group = (block - 1) / 8192, bit = (block - 1) % 8192;
	const size_t free_blocks = offsetof(struct ext2_super_block, s_free_blocks_count);
	uint8_t *desc = bytes + 2048 + (size_t)group * 32, *super = bytes + SUPER;
	uint8_t *bitmap = bytes + (uint64_t)bow_get32(desc) * 1024;

	assert_true(bitmap[bit / 8] >> bit % 8 & 1);
	bitmap[bit / 8] ^= (uint8_t)(1u << bit % 8);
	bow_put16(desc + 12, (uint16_t)(bow_get16(desc + 12) + 1));
	bow_put32(super + free_blocks, bow_get32(super + free_blocks) + 1);
}

/* The first block of an inode, as ext2 has it. */
static uint32_t first_block(const uint8_t *bytes, uint32_t ino)
{
	uint32_t inode_bytes =
		bow_get16(bytes + SUPER + offsetof(struct ext2_super_block, s_inode_size));
	const uint8_t *table = bytes + (uint64_t)bow_get32(bytes + 2048 + 8) * 1024;

	return bow_get32(table + (size_t)(ino - 1) * inode_bytes + 40);
}

/* A bitmap that agrees with all counts, and yet cannot be: what it frees is the file system's own.
 */
static void own_blocks_that_are_called_free_are_refused(void **state)
{
	struct bowimg_disk *dev =
		in_memory(*state, "-t ext3 -b 1024 -O none,has_journal -I 128", 16384);
	uint8_t *bytes = mem_dev_bytes(dev), *desc = bytes + 2048;
	uint8_t *kept = malloc(dev->size);
	const uint32_t own[] = {
		1,		 /* the superblock */
		bow_get32(desc), /* the bitmaps */
		bow_get32(desc + 4),
		bow_get32(desc + 8), /* the inode table, its second block too */
		bow_get32(desc + 8) + 1,
		first_block(bytes, EXT2_ROOT_INO),
		first_block(bytes, EXT2_JOURNAL_INO),
	};

	assert_non_null(kept);
	memcpy(kept, bytes, dev->size);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		free_and_count(bytes, own[i]);
		refused(dev, -EUCLEAN, "by its bitmap", "e2fsck -f ");
		memcpy(bytes, kept, dev->size);
	}
	/* An inode of its own that reaches for all that there is, again and again. */
	bow_put32(bytes + SUPER + offsetof(struct ext2_super_block, s_journal_inum), 1u << 30);
	refused(dev, -EUCLEAN, "one of the file system's own", "e2fsck -f ");
	free(kept);
	bow_disk_close(dev, NULL);
}

static void counts_of_all_groups_that_contradict_the_superblock_are_refused(void **state)
{
	struct bowimg_disk *dev = in_memory(*state, "-t ext2 -b 1024", 16384);
	uint8_t *super = mem_dev_bytes(dev) + SUPER;
	const size_t at = offsetof(struct ext2_super_block, s_free_blocks_count);

	bow_put32(super + at, bow_get32(super + at) - 1);
	refused(dev, -EUCLEAN, "by the superblock", "e2fsck -f ");
	bow_disk_close(dev, NULL);
	dev = in_memory(*state, "-t ext4 -b 1024 -O ^metadata_csum,bigalloc -C 4096", 40000);
	super = mem_dev_bytes(dev) + SUPER;
	bow_put32(super + at, bow_get32(super + at) + 4);
	refused(dev, -EUCLEAN, "clusters are free by the bitmaps", "e2fsck -f ");
	bow_disk_close(dev, NULL);
}

static void free_blocks_behind_the_end_of_a_bitmap_are_refused(void **state)
{
	struct bowimg_disk *dev = in_memory(*state, "-t ext2 -b 1024", 12000);
	uint8_t *bytes = mem_dev_bytes(dev), *last = bytes + 2048 + 32;
	uint8_t *bitmap = bytes + (uint64_t)bow_get32(last) * 1024;

	assert_int_equal(bitmap[1023], 0xff);
	bitmap[1023] = 0x7f;
	refused(dev, -EUCLEAN, "behind its end", "e2fsck -f ");
	bow_disk_close(dev, NULL);
	dev = in_memory(*state, "-t ext2 -b 1024 -g 256", 12000);
	bitmap = mem_dev_bytes(dev) + (uint64_t)bow_get32(mem_dev_bytes(dev) + 2048) * 1024;
	bitmap[32] = 0; /* the first byte that no group of 256 blocks needs */
	refused(dev, -EUCLEAN, "behind its end", "e2fsck -f ");
	bow_disk_close(dev, NULL);
}

static void superblocks_that_do_not_fit_are_refused(void **state)
{
	struct bowimg_disk *dev = in_memory(*state, "-t ext2 -b 1024", 16384);
	static const struct {
		uint32_t at, value;
		int code;
		const char *message;
	} cases[] = {
		{offsetof(struct ext2_super_block, s_magic), 0, -EOPNOTSUPP, "no ext2"},
		{offsetof(struct ext2_super_block, s_blocks_count), 16385, -EUCLEAN, "larger than"},
		{offsetof(struct ext2_super_block, s_blocks_count), 0, -EUCLEAN, "no groups"},
		{offsetof(struct ext2_super_block, s_blocks_per_group), 0, -EUCLEAN, "no groups"},
		{offsetof(struct ext2_super_block, s_inodes_per_group), 0, -EUCLEAN, "no groups"},
		{offsetof(struct ext2_super_block, s_log_block_size), 7, -EUCLEAN, "block size"},
		{offsetof(struct ext2_super_block, s_log_block_size), 77777, -EUCLEAN,
		 "block size"},
		{offsetof(struct ext2_super_block, s_feature_incompat), 1u << 30, -EOPNOTSUPP,
		 "features"},
		{offsetof(struct ext2_super_block, s_feature_ro_compat), 1u << 30, -EOPNOTSUPP,
		 "features"},
		{offsetof(struct ext2_super_block, s_feature_incompat), 8, -EOPNOTSUPP,
		 "journal of another"},
		{offsetof(struct ext2_super_block, s_rev_level), 9, -EOPNOTSUPP, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *field = mem_dev_bytes(dev) + SUPER + cases[i].at;
		uint32_t before = bow_get32(field);

		bow_put32(field, cases[i].value);
		refused(dev, cases[i].code, cases[i].message, "");
		bow_put32(field, before);
	}
	bow_disk_close(dev, NULL);
}

static void too_many_groups_for_the_size_are_refused_before_any_memory_is_asked_for(void **state)
{
	struct bowimg_disk *dev = mem_dev_new((uint64_t)1 << 30, 0);
	uint8_t *super = mem_dev_bytes(dev) + SUPER;

	(void)state;
	bow_put16(super + offsetof(struct ext2_super_block, s_magic), EXT2_SUPER_MAGIC);
	bow_put32(super + offsetof(struct ext2_super_block, s_rev_level), 1);
	bow_put32(super + offsetof(struct ext2_super_block, s_blocks_count), 1u << 20);
	bow_put32(super + offsetof(struct ext2_super_block, s_first_data_block), 1);
	bow_put32(super + offsetof(struct ext2_super_block, s_blocks_per_group), 1);
	bow_put32(super + offsetof(struct ext2_super_block, s_inodes_per_group), 8);
	refused(dev, -EUCLEAN, "too many groups", "e2fsck");
	bow_disk_close(dev, NULL);
}

/* Reads past `limit` fail, as on a disk that is dying. */
struct dying {
	struct bowimg_disk dev;
	struct bowimg_disk *below;
	uint64_t limit;
};

static int64_t dying_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct dying *d = (struct dying *)dev;

	return off >= d->limit ? -EIO : d->below->ops->read(d->below, buf, bytes, off);
}

static void a_read_error_comes_through_libext2fs_with_its_code_and_place(void **state)
{
	static const struct bow_backend_ops ops = {.read = dying_read};
	struct dying d = {.below = in_memory(*state, "-t ext4 -b 1024", 65536)};

	d.dev = (struct bowimg_disk){.ops = &ops, .name = "dying disk", .size = d.below->size};
	for (d.limit = 0; d.limit <= 4096; d.limit += 1024)
		refused(&d.dev, -EIO, "offset", "storage");
	bow_disk_close(d.below, NULL);
}

/* Rubbish anywhere in the metadata: any answer but a crash, a hang, or a block outside. */
static void random_damage_is_survived(void **state)
{
	static const char *const options[] = {
		"-t ext2 -b 1024 -g 1024",
		"-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg -g 1024",
		"-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,bigalloc -C 4096",
		"-t ext4 -b 1024 -O ^metadata_csum,meta_bg,^resize_inode,sparse_super2 -g 512",
	};
	struct rng rng = {20240607};

	for (int round = 0; round < 4000; round++) {
		static struct bowimg_disk *dev;
		struct bow_freemap_info info;
		struct bow_bitmap *map;
		uint8_t saved[4096];

		if (round % 1000 == 0)
			dev = in_memory(*state, options[round / 1000], 8192);
		map = bow_bitmap_new(dev->size / BOWIMG_BLOCK_SIZE);
		memcpy(saved, mem_dev_bytes(dev), sizeof(saved));
		for (uint32_t n = rng_between(&rng, 1, 4); n > 0; n--) {
			uint32_t at = rng_chance(&rng, 70) ? SUPER + rng_below(&rng, 400)
							   : 2048 + rng_below(&rng, 2048);

			mem_dev_bytes(dev)[at] = (uint8_t)rng_next(&rng);
		}
		if (!bow_fs_ext4.read(dev, 0, dev->size, map, &info, NULL))
			assert_false(bow_bitmap_test(map, 0));
		memcpy(mem_dev_bytes(dev), saved, sizeof(saved));
		bow_bitmap_free(map);
		if (round % 1000 == 999)
			bow_disk_close(dev, NULL);
	}
}

#define REFUSAL(test) cmocka_unit_test_setup_teardown(test, ext_image_set_up, ext_image_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REFUSAL(file_systems_that_are_not_clean_are_refused_with_the_tool_that_helps),
		REFUSAL(a_multi_mount_block_is_obeyed),
		REFUSAL(wrong_checksums_are_refused),
		REFUSAL(a_bitmap_that_contradicts_its_descriptor_is_refused),
		REFUSAL(own_blocks_that_are_called_free_are_refused),
		REFUSAL(counts_of_all_groups_that_contradict_the_superblock_are_refused),
		REFUSAL(free_blocks_behind_the_end_of_a_bitmap_are_refused),
		REFUSAL(superblocks_that_do_not_fit_are_refused),
		REFUSAL(too_many_groups_for_the_size_are_refused_before_any_memory_is_asked_for),
		REFUSAL(a_read_error_comes_through_libext2fs_with_its_code_and_place),
		REFUSAL(random_damage_is_survived),
	};

	return cmocka_run_group_tests_name("freemap_ext_refusals", tests, NULL, NULL);
}
