/* SPDX-License-Identifier: MIT */
/* The free map of a partitioned disk: what counts as free, and what does not. */
#include <blkid/blkid.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "ext_image.h"
#include "lib/freespace/freemap.h"
#include "mem_dev.h"
#include "signatures.h"
#include "table_image.h"

#define SIZE ((uint64_t)16 << 20)
#define BLOCKS (SIZE / 4096)

/* How often libblkid was asked. */
static unsigned probes;

int blkid_do_safeprobe(blkid_probe pr)
{
	static int (*real)(blkid_probe pr);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "blkid_do_safeprobe");
	probes++;
	return real(pr);
}

struct seen {
	struct bow_bitmap *map;
	struct bow_freemap_info info;
	struct bowimg_partition parts[8];
	unsigned count;
	struct bowimg_error err;
};

static void on_partition(void *ctx, const struct bowimg_partition *p)
{
	struct seen *s = ctx;

	assert_true(s->count < 8);
	s->parts[s->count++] = *p;
}

static int read_disk(struct bowimg_disk *dev, const char *spec, struct seen *s)
{
	const struct bow_freemap_options opts = {
		.free_from = spec, .partition = on_partition, .ctx = s};

	memset(s, 0, sizeof(*s));
	s->map = bow_bitmap_new(bow_div_up(dev->size, 4096));
	return bow_freemap_read(dev, &opts, s->map, &s->info, &s->err);
}

static void read_well(struct bowimg_disk *dev, struct seen *s)
{
	if (read_disk(dev, NULL, s))
		fail_msg("%s", s->err.message);
}

static void release(struct bowimg_disk *dev, struct seen *s)
{
	bow_bitmap_free(s->map);
	bow_disk_close(dev, NULL);
}

/* In sectors, as in the table. */
static void make_swap(struct bowimg_disk *dev, uint64_t start, uint64_t count, const char *magic)
{
	uint8_t *at = mem_dev_bytes(dev) + start * 512;

	bow_put32(at + 1024, 1);
	bow_put32(at + 1028, (uint32_t)(count / 8 - 1));
	memcpy(at + 4086, magic, 10);
}

static void swap_is_free_but_for_its_first_page_and_gaps_are_used(void **state)
{
	/* Neither begins nor ends with a block of the disk; the swap space ends with its page. */
	const uint64_t start = 63, count = 2003, first = bow_div_up(start * 512 + 65536, 4096),
		       end = (start + count / 8 * 8) * 512 / 4096;
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	struct seen s;

	(void)state;
	table_mbr_entry(mem_dev_bytes(dev), 0, 0x82, (uint32_t)start, (uint32_t)count);
	table_mbr_entry(mem_dev_bytes(dev), 1, 0x83, 4096, 4096);
	make_swap(dev, start, count, "SWAPSPACE2");
	read_well(dev, &s);
	assert_int_equal(bow_bitmap_count(s.map), end - first);
	assert_true(bow_bitmap_all(s.map, first, end - first, true));
	assert_string_equal(s.info.source, "swap");
	assert_string_equal(s.info.what, "a disk with 2 partitions (MBR)");
	assert_int_equal(s.count, 2);
	assert_string_equal(s.parts[0].content, "swap");
	assert_int_equal(s.parts[0].free_bytes, (end - first) * 4096);
	assert_string_equal(s.parts[0].why_not, "");
	assert_string_equal(s.parts[1].source, "");
	assert_non_null(strstr(s.parts[1].why_not, "no known file system"));
	release(dev, &s);
}

/* Whatever is asked of a disk, and however often its partitions look at each other. */
static void every_volume_is_probed_once(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	struct bow_freemap_options opts = {0};
	struct bow_contents *contents;
	struct seen s;

	(void)state;
	for (int i = 0; i < 4; i++)
		table_mbr_entry(mem_dev_bytes(dev), i, 0x83, (uint32_t)(i + 1) * 4096, 4096);
	make_swap(dev, 4096, 4096, "SWAPSPACE2");
	make_swap(dev, 8192, 4096, "S1SUSPEND\0");
	btrfs_by_hand(mem_dev_bytes(dev) + 12288 * 512);
	probes = 0;
	read_well(dev, &s);
	assert_int_equal(s.count, 4);
	assert_int_equal(probes, 1 + 4);
	probes = 0;
	assert_int_equal(bow_contents_read(dev, NULL, &contents, NULL), 0);
	opts.contents = contents;
	assert_int_equal(bow_freemap_read(dev, &opts, s.map, &s.info, NULL), 0);
	assert_int_equal(probes, 1 + 4);
	free(contents);
	release(dev, &s);
	dev = mem_dev_new(SIZE, 0);
	make_swap(dev, 0, SIZE / 512, "SWAPSPACE2");
	probes = 0;
	read_well(dev, &s);
	assert_int_equal(probes, 1);
	release(dev, &s);
}

static void what_is_in_partitions_without_a_source_counts_as_used_with_the_reason(void **state)
{
	static const struct {
		const char *content;
		uint64_t off;
		const char *magic;
		size_t bytes;
		const char *why;
	} cases[] = {
		{"swsuspend", 4086, "S1SUSPEND\0", 10, "hibernated"},
		{"crypto_LUKS", 0, "LUKS\xba\xbe\0\1", 8, "encrypted"},
		{"LVM2_member", 536, "LVM2 001", 8, "LVM"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
		uint8_t *at = mem_dev_bytes(dev) + 2048 * 512;
		struct seen s;

		table_mbr_entry(mem_dev_bytes(dev), 0, 0x83, 2048, 8192);
		make_swap(dev, 2048, 8192, "          ");
		memcpy(at + cases[i].off, cases[i].magic, cases[i].bytes);
		if (i == 2) { /* libblkid wants the label's sector and its checksum */
			memcpy(at + 512, "LABELONE", 8);
			bow_put64(at + 520, 1);
		}
		read_well(dev, &s);
		assert_int_equal(s.count, 1);
		if (strcmp(s.parts[0].content, cases[i].content) != 0 ||
		    !strstr(s.parts[0].why_not, cases[i].why))
			fail_msg("%s: %s", s.parts[0].content, s.parts[0].why_not);
		assert_int_equal(bow_bitmap_count(s.map), 0);
		assert_string_equal(s.info.source, "none");
		release(dev, &s);
	}
}

/* A partition that was given to a virtual machine as its disk, and was swap space before. */
static void a_table_inside_a_partition_is_in_use(void **state)
{
	(void)state;
	for (int entries = 0; entries < 2; entries++) {
		struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
		uint8_t *at = mem_dev_bytes(dev) + 2048 * 512;
		struct seen s;

		table_mbr_entry(mem_dev_bytes(dev), 0, 0x82, 2048, 8192);
		make_swap(dev, 2048, 8192, "SWAPSPACE2");
		table_mbr_entry(at, 0, entries ? 0x83 : 0, entries ? 2048 : 0, entries ? 4096 : 0);
		read_well(dev, &s);
		if (entries)
			assert_non_null(strstr(s.parts[0].why_not, "both claim it"));
		else
			assert_string_equal(s.parts[0].why_not, "");
		assert_int_equal(bow_bitmap_count(s.map), entries ? 0 : 1024 - 16);
		release(dev, &s);
	}
}

static void what_a_pool_lays_out_is_in_use_by_the_type_of_its_partition(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	struct seen s;

	(void)state;
	table_mbr_entry(mem_dev_bytes(dev), 0, 0x42, 2048, 8192);
	make_swap(dev, 2048, 8192, "SWAPSPACE2");
	read_well(dev, &s);
	assert_string_equal(s.parts[0].content, "swap");
	assert_non_null(strstr(s.parts[0].why_not, "Windows dynamic disk"));
	assert_int_equal(bow_bitmap_count(s.map), 0);
	release(dev, &s);
}

/* Unlike others, a btrfs that is mounted looks as if it were not. */
static void a_btrfs_beside_a_sleeping_machine_is_in_use(void **state)
{
	(void)state;
	for (int asleep = 0; asleep < 2; asleep++) {
		struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
		struct seen s;
		int rc;

		table_mbr_entry(mem_dev_bytes(dev), 0, 0x82, 2048, 4096);
		table_mbr_entry(mem_dev_bytes(dev), 1, 0x83, 8192, 16384);
		make_swap(dev, 2048, 4096, asleep ? "S1SUSPEND\0" : "SWAPSPACE2");
		btrfs_by_hand(mem_dev_bytes(dev) + 8192 * 512);
		rc = read_disk(dev, NULL, &s);
		assert_int_equal(rc, asleep ? 0 : -EUCLEAN); /* there is no more of it than that */
		if (asleep) {
			assert_string_equal(s.parts[1].content, "btrfs");
			assert_non_null(strstr(s.parts[1].why_not, "hibernated on this disk"));
			assert_int_equal(bow_bitmap_count(s.map), 0);
		}
		release(dev, &s);
	}
}

/* An ext4 of 8 MiB at 4 MiB, and the disk it is on. */
static struct bowimg_disk *ext_on_disk(struct ext_image *x)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0), *fs;

	ext_image_make(x, "-t ext4 -b 1024 -O ^has_journal", 8192);
	fs = ext_image_open(x);
	assert_int_equal(fs->size, 8 << 20);
	assert_int_equal(bow_disk_read(fs, mem_dev_bytes(dev) + (4 << 20), fs->size, 0, NULL), 0);
	bow_disk_close(fs, NULL);
	table_mbr_entry(mem_dev_bytes(dev), 0, 0x82, 2048, 4096);
	table_mbr_entry(mem_dev_bytes(dev), 3, 0x83, 8192, 16384);
	make_swap(dev, 2048, 4096, "SWAPSPACE2");
	return dev;
}

static void the_map_is_the_union_over_the_partitions(void **state)
{
	struct bowimg_disk *dev = ext_on_disk(*state);
	uint32_t block_size;
	uint64_t blocks, wanted = 0;
	struct seen s;
	bool *free_blocks = ext_image_free_blocks(*state, &block_size, &blocks);

	read_well(dev, &s);
	for (uint64_t b = 0; b < blocks; b += 4) {
		bool whole = free_blocks[b] && free_blocks[b + 1] && free_blocks[b + 2] &&
			     free_blocks[b + 3];

		assert_int_equal(bow_bitmap_test(s.map, 1024 + b / 4), whole);
		wanted += whole;
	}
	assert_string_equal(s.info.source, "swap+ext");
	assert_int_equal(s.parts[1].free_bytes, wanted * 4096);
	assert_int_equal(bow_bitmap_count(s.map), wanted + s.parts[0].free_bytes / 4096);
	free(free_blocks);
	release(dev, &s);
}

static void a_file_system_that_is_not_clean_is_refused_wherever_it_is(void **state)
{
	struct bowimg_disk *dev = ext_on_disk(*state);
	struct seen s;

	mem_dev_bytes(dev)[(4 << 20) + 1024 + 58] = 2; /* "has errors" */
	/* Its checksum is wrong now as well; either will do. */
	if (read_disk(dev, NULL, &s) == 0)
		fail_msg("not refused");
	if (bowimg_exit_status(s.err.code) != 6 || !strstr(s.err.message, "partition 4"))
		fail_msg("%d %s", s.err.code, s.err.message);
	release(dev, &s);
}

static void a_file_system_larger_than_its_partition_is_refused(void **state)
{
	struct bowimg_disk *dev = ext_on_disk(*state);
	struct seen s;

	table_mbr_entry(mem_dev_bytes(dev), 3, 0x83, 8192, 16000);
	assert_int_equal(read_disk(dev, NULL, &s), -EUCLEAN);
	assert_non_null(strstr(s.err.message, "partition 4"));
	release(dev, &s);
}

static void a_source_that_is_named_is_asked_about_what_it_knows(void **state)
{
	struct bowimg_disk *dev = ext_on_disk(*state);
	struct seen s;

	memset(mem_dev_bytes(dev) + 2048 * 512, 0, 4096);
	assert_int_equal(read_disk(dev, "ext", &s), 0);
	assert_string_equal(s.info.source, "ext");
	assert_non_null(strstr(s.parts[0].why_not, "no ext2, ext3 or ext4"));
	assert_true(s.parts[1].free_bytes > 0);
	bow_bitmap_free(s.map);
	/* One that does not exist, and one that fits nothing. */
	assert_int_equal(read_disk(dev, "exr", &s), -EOPNOTSUPP);
	assert_non_null(strstr(s.err.message, "there is no source \"exr\""));
	bow_bitmap_free(s.map);
	memset(mem_dev_bytes(dev) + (4 << 20), 0, 4096);
	assert_int_equal(read_disk(dev, "ext", &s), -EOPNOTSUPP);
	release(dev, &s);
}

static void none_needs_no_table_that_makes_sense(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	struct seen s;

	(void)state;
	table_mbr_entry(mem_dev_bytes(dev), 0, 0x83, 2048, 4096);
	table_mbr_entry(mem_dev_bytes(dev), 1, 0x83, 3000, 4096);
	assert_int_equal(read_disk(dev, NULL, &s), -EUCLEAN);
	bow_bitmap_free(s.map);
	assert_int_equal(read_disk(dev, "none", &s), 0);
	assert_int_equal(s.count, 0);
	release(dev, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_volume_is_probed_once),
		cmocka_unit_test(swap_is_free_but_for_its_first_page_and_gaps_are_used),
		cmocka_unit_test(
			what_is_in_partitions_without_a_source_counts_as_used_with_the_reason),
		cmocka_unit_test(a_table_inside_a_partition_is_in_use),
		cmocka_unit_test(what_a_pool_lays_out_is_in_use_by_the_type_of_its_partition),
		cmocka_unit_test(a_btrfs_beside_a_sleeping_machine_is_in_use),
		cmocka_unit_test(the_map_is_the_union_over_the_partitions),
		cmocka_unit_test(a_file_system_that_is_not_clean_is_refused_wherever_it_is),
		cmocka_unit_test(a_file_system_larger_than_its_partition_is_refused),
		cmocka_unit_test(a_source_that_is_named_is_asked_about_what_it_knows),
		cmocka_unit_test(none_needs_no_table_that_makes_sense),
	};

	return cmocka_run_group_tests_name("disk", tests, ext_image_set_up, ext_image_tear_down);
}
