/* SPDX-License-Identifier: MIT */
/* Partition tables: what is read from good ones, and that bad ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/disk/hint.h"
#include "lib/partitions/table.h"
#include "mem_dev.h"
#include "rng.h"
#include "signatures.h"
#include "table_image.h"

#define SIZE ((uint64_t)16 << 20)
#define LAST (SIZE / 512 - 1)

static struct bow_table table;

static const struct table_part three[] = {{2048, 4096, 1}, {16384, 8192, 1}, {8192, 2048, 1}};

static struct bowimg_disk *new_gpt(void)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);

	table_make_gpt(mem_dev_bytes(dev), SIZE, 512, three, 3);
	return dev;
}

static int read_table(struct bowimg_disk *dev, struct bowimg_error *err)
{
	struct bow_probe found;
	int rc = bow_probe_device(dev, &found, err);

	if (!rc)
		rc = bow_table_read(dev, &found, &table, err);
	bow_hint_finish(err, dev, 0, dev->size);
	return rc;
}

static void read_well(struct bowimg_disk *dev, const char *kind, uint32_t count)
{
	struct bowimg_error err = {0};

	if (read_table(dev, &err))
		fail_msg("%s", err.message);
	assert_string_equal(table.kind, kind);
	assert_int_equal(table.count, count);
}

static void is_part(uint32_t i, uint32_t number, uint64_t off, uint64_t bytes)
{
	assert_int_equal(table.parts[i].number, number);
	assert_int_equal(table.parts[i].off, off);
	assert_int_equal(table.parts[i].bytes, bytes);
}

/* Closes the device. */
static void refused(struct bowimg_disk *dev, int code, const char *words)
{
	struct bowimg_error err = {0};
	int rc = read_table(dev, &err);

	if (rc != code || !strstr(err.message, words) || !err.hint[0])
		fail_msg("%d \"%s\" \"%s\", not %d \"%s\"", rc, err.message, err.hint, code, words);
	bow_disk_close(dev, NULL);
}

/* ---- GPT ------------------------------------------------------------------------- */

static void a_gpt_is_read_in_the_order_of_the_disk(void **state)
{
	struct bowimg_disk *dev = new_gpt();

	(void)state;
	read_well(dev, "gpt", 3);
	is_part(0, 1, 2048 * 512, 4096 * 512);
	is_part(1, 3, 8192 * 512, 2048 * 512);
	is_part(2, 2, 16384 * 512, 8192 * 512);
	assert_string_equal(table.parts[2].name, "b");
	assert_string_equal(table.parts[2].type, "11111111-1111-1111-1111-111111111111");
	bow_disk_close(dev, NULL);
}

static void a_gpt_for_sectors_of_4096_bytes(void **state)
{
	const struct table_part parts[] = {{256, 512, 1}, {1024, 1, 1}};
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	struct bowimg_error err = {0};

	(void)state;
	table_make_gpt(mem_dev_bytes(dev), SIZE, 4096, parts, 2);
	dev->sector_size = 4096;
	read_well(dev, "gpt", 2);
	is_part(0, 1, 256 * 4096, 512 * 4096);
	is_part(1, 2, 1024 * 4096, 4096);
	dev->sector_size = 512;
	assert_int_equal(read_table(dev, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.hint, "losetup -f --show --sector-size 4096 memory"));
	refused(dev, -EOPNOTSUPP, "sectors of another size");
	dev = new_gpt();
	dev->sector_size = 4096;
	assert_int_equal(read_table(dev, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.hint, "losetup -f --show --sector-size 512 memory"));
	refused(dev, -EOPNOTSUPP, "sectors of another size");
}

static void without_a_table_there_are_no_partitions(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);

	(void)state;
	read_well(dev, "", 0);
	bow_disk_close(dev, NULL);
	dev = mem_dev_new(700, 0);
	read_well(dev, "", 0);
	bow_disk_close(dev, NULL);
}

static void an_empty_gpt_has_no_partitions(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);

	(void)state;
	table_make_gpt(mem_dev_bytes(dev), SIZE, 512, NULL, 0);
	read_well(dev, "gpt", 0);
	bow_disk_close(dev, NULL);
}

static void damage_to_either_copy_of_a_gpt_is_refused(void **state)
{
	const struct {
		uint64_t off;
		const char *words;
	} cases[] = {
		{512, "first copy"},		      /* signature */
		{512 + 16, "first copy"},	      /* checksum */
		{512 + 57, "first copy"},	      /* covered by it */
		{1024 + 32, "first copy"},	      /* an entry */
		{1024 + 100 * 128 + 5, "first copy"}, /* an unused entry */
		{LAST * 512, "backup"},
		{LAST * 512 + 48, "backup"},
		{(LAST - 32) * 512 + 32, "backup"},
		{(LAST - 1) * 512 + 511, "backup"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bowimg_disk *dev = new_gpt();

		mem_dev_bytes(dev)[cases[i].off] ^= 4;
		refused(dev, -EUCLEAN, cases[i].words);
	}
}

static void copies_that_contradict_each_other_are_refused(void **state)
{
	struct bowimg_disk *dev;

	(void)state;
	for (int change = 0; change < 4; change++) {
		const size_t places[] = {32, 40, 16, 56};
		uint8_t *disk;

		dev = new_gpt();
		disk = mem_dev_bytes(dev);
		table_gpt_entry(disk, 512, LAST, 1)[places[change]] ^= 1;
		table_seal_gpt(disk, SIZE, 512, LAST);
		refused(dev, -EUCLEAN, "differ");
	}
}

static void the_backup_of_a_grown_disk_is_where_the_end_was(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE + (4 << 20), 0);

	(void)state;
	table_make_gpt(mem_dev_bytes(dev), SIZE, 512, three, 3);
	read_well(dev, "gpt", 3);
	mem_dev_bytes(dev)[LAST * 512 + 3] ^= 1;
	refused(dev, -EUCLEAN, "backup");
}

static void a_disk_that_was_cut_has_lost_its_backup(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE - 4096, SIZE);

	(void)state;
	table_make_gpt(mem_dev_bytes(dev), SIZE, 512, three, 3);
	refused(dev, -EUCLEAN, "was it cut");
}

/* In both copies, with right checksums. */
static void refused_with(uint64_t start, uint64_t count, const char *words)
{
	struct table_part parts[] = {{2048, 4096, 1}, {start, count, 1}};
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);

	table_make_gpt(mem_dev_bytes(dev), SIZE, 512, parts, 2);
	refused(dev, -EUCLEAN, words);
}

static void gpt_partitions_that_cannot_be_are_refused(void **state)
{
	(void)state;
	refused_with(6143, 10, "overlap");
	refused_with(100, 2000, "overlap");
	refused_with(3000, 10, "overlap");
	refused_with(2048, 4096, "overlap");
	refused_with(LAST - 100, 200, "beyond the usable part");
	refused_with(LAST + 100, 200, "beyond the usable part");
	refused_with(5, 20, "beyond the usable part");
	refused_with(10000, 0, "");
	refused_with(10000, (uint64_t)0 - 5000, "");
	refused_with(UINT64_MAX / 512, 1000, "");
}

static void a_partition_may_not_lie_over_the_table(void **state)
{
	const struct table_part low = {20, 100, 1};
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	uint8_t *disk = mem_dev_bytes(dev);

	(void)state;
	table_make_gpt(disk, SIZE, 512, &low, 1);
	/* Both copies say that the usable part begins in the middle of the entries. */
	bow_put64(disk + 512 + 40, 10);
	bow_put64(disk + LAST * 512 + 40, 10);
	table_seal_gpt(disk, SIZE, 512, 1);
	table_seal_gpt(disk, SIZE, 512, LAST);
	refused(dev, -EUCLEAN, "first copy and partition 1 overlap");
}

static void two_tables_on_one_disk_are_refused(void **state)
{
	struct bowimg_disk *dev = new_gpt();

	(void)state;
	table_mbr_entry(mem_dev_bytes(dev), 1, 0x83, 2048, 4096);
	refused(dev, -EOPNOTSUPP, "hybrid");
	dev = new_gpt();
	table_mbr_entry(mem_dev_bytes(dev), 0, 0x83, 2048, 4096);
	refused(dev, -EOPNOTSUPP, "know nothing of each other");
	dev = new_gpt();
	memset(mem_dev_bytes(dev), 0, 512);
	refused(dev, -EUCLEAN, "no MBR that protects it");
	dev = mem_dev_new(SIZE, 0);
	table_mbr_entry(mem_dev_bytes(dev), 0, 0xee, 1, LAST);
	refused(dev, -EUCLEAN, "first copy");
}

static void a_file_system_and_a_table_are_not_guessed_between(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);

	(void)state;
	table_mbr_entry(mem_dev_bytes(dev), 0, 0x83, 2048, 4096);
	btrfs_by_hand(mem_dev_bytes(dev));
	refused(dev, -EOPNOTSUPP, "both claim it");
}

static void boot_code_and_the_mark_of_a_boot_sector_are_no_table(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	uint8_t *disk = mem_dev_bytes(dev);

	(void)state;
	memset(disk, 0xfa, 440);
	disk[510] = 0x55;
	disk[511] = 0xaa;
	btrfs_by_hand(disk);
	read_well(dev, "", 0);
	disk[446] = 0x80; /* an entry that is no more than active */
	refused(dev, -EOPNOTSUPP, "both claim it");
}

/* ---- MBR ------------------------------------------------------------------------- */

/* 1: 2048+2048; extended 4096+16384 with links at 4096 (5), 12288 (6), 8192 (7, behind it). */
static struct bowimg_disk *new_mbr(void)
{
	struct bowimg_disk *dev = mem_dev_new(SIZE, 0);
	uint8_t *disk = mem_dev_bytes(dev);

	table_mbr_entry(disk, 0, 0x83, 2048, 2048);
	table_mbr_entry(disk, 2, 0x0f, 4096, 16384);
	table_mbr_entry(disk + 4096 * 512, 0, 0x83, 64, 1000);
	table_mbr_entry(disk + 4096 * 512, 1, 0x05, 8192, 4096);
	table_mbr_entry(disk + 12288 * 512, 0, 0x82, 64, 2000);
	table_mbr_entry(disk + 12288 * 512, 1, 0x05, 4096, 2000);
	table_mbr_entry(disk + 8192 * 512, 0, 0x07, 63, 999);
	return dev;
}

static void logical_partitions_are_found_along_their_chain(void **state)
{
	struct bowimg_disk *dev = new_mbr();

	(void)state;
	read_well(dev, "dos", 4);
	is_part(0, 1, 2048 * 512, 2048 * 512);
	is_part(1, 5, (4096 + 64) * 512, 1000 * 512);
	is_part(2, 7, (8192 + 63) * 512, 999 * 512);
	is_part(3, 6, (12288 + 64) * 512, 2000 * 512);
	assert_string_equal(table.parts[3].type, "0x82");
	bow_disk_close(dev, NULL);
}

/* With entry i of the sector changed to this. */
static void mbr_refused(uint64_t sector, int i, uint8_t type, uint32_t start, uint32_t count,
			const char *words)
{
	struct bowimg_disk *dev = new_mbr();

	table_mbr_entry(mem_dev_bytes(dev) + sector * 512, i, type, start, count);
	refused(dev, -EUCLEAN, words);
}

static void mbr_partitions_that_cannot_be_are_refused(void **state)
{
	(void)state;
	mbr_refused(0, 1, 0x83, 4000, 10, "overlap");
	mbr_refused(0, 1, 0x83, 5000, 10, "overlap");
	mbr_refused(0, 1, 0x83, 2048, 2048, "overlap");
	mbr_refused(0, 1, 0x83, 0, 100, "the partition table and partition 2 overlap");
	mbr_refused(0, 1, 0x83, LAST - 10, 12, "not inside the disk");
	mbr_refused(0, 1, 0x83, UINT32_MAX - 10, 10, "not inside the disk");
	mbr_refused(0, 3, 0x05, 24576, 100, "two extended");
	mbr_refused(4096, 0, 0x83, 64, 8192, "overlap");
	mbr_refused(4096, 0, 0x83, 20000, 10, "not inside the extended partition");
	mbr_refused(4096, 0, 0x83, 64, 4064, "overlap");
}

static void chains_that_cannot_be_are_refused(void **state)
{
	struct bowimg_disk *dev = new_mbr();

	(void)state;
	mem_dev_bytes(dev)[12288 * 512 + 510] = 0;
	refused(dev, -EUCLEAN, "broken");
	/* In circles, back to the first link and to itself. */
	mbr_refused(8192, 1, 0x05, 8192, 100, "does not end");
	mbr_refused(4096, 1, 0x05, 0, 100, "does not end");
	mbr_refused(8192, 1, 0x05, UINT32_MAX, 100, "leaves the disk");
	mbr_refused(8192, 1, 0x05, 20000, 100, "broken");
}

static void a_chain_may_not_leave_the_extended_partition(void **state)
{
	struct bowimg_disk *dev = new_mbr();
	uint8_t *disk = mem_dev_bytes(dev);

	(void)state;
	table_mbr_entry(disk + 8192 * 512, 1, 0x05, 20480, 1000);
	table_mbr_entry(disk + 24576 * 512, 0, 0x83, 1, 10);
	refused(dev, -EUCLEAN, "not inside the extended partition");
}

/* ---- anything -------------------------------------------------------------------- */

static void check_sane(struct bowimg_disk *dev)
{
	for (uint32_t i = 0; i < table.count; i++) {
		const struct bow_part *p = &table.parts[i];

		assert_true(p->bytes > 0 && p->off >= 512 && p->number > 0);
		assert_true(bow_range_ok(p->off, p->bytes, dev->size));
		assert_true(i == 0 || p->off >= p[-1].off + p[-1].bytes);
	}
}

/* Bytes of the table are changed at random; half the time with checksums that are right. */
static void changed_tables_are_refused_or_make_sense(void **state)
{
	static const uint64_t places[] = {
		446, 512, 1024, 4096 * 512 + 446, 12288 * 512 + 446, (LAST - 32) * 512, LAST * 512};
	struct rng rng = {1};
	unsigned read = 0;

	(void)state;
	for (int round = 0; round < 1000; round++) {
		struct bowimg_disk *dev = round % 2 ? new_gpt() : new_mbr();
		uint8_t *disk = mem_dev_bytes(dev);
		struct bowimg_error err = {0};

		for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
			disk[places[rng_below(&rng, 7)] + rng_below(&rng, 96)] =
				(uint8_t)rng_below(&rng, 256);
		if (rng_below(&rng, 2)) {
			table_seal_gpt(disk, SIZE, 512, 1);
			table_seal_gpt(disk, SIZE, 512, LAST);
		}
		if (!read_table(dev, &err)) {
			check_sane(dev);
			read++;
		} else {
			assert_true(err.message[0] && err.hint[0]);
		}
		bow_disk_close(dev, NULL);
	}
	assert_true(read > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_gpt_is_read_in_the_order_of_the_disk),
		cmocka_unit_test(a_gpt_for_sectors_of_4096_bytes),
		cmocka_unit_test(without_a_table_there_are_no_partitions),
		cmocka_unit_test(an_empty_gpt_has_no_partitions),
		cmocka_unit_test(damage_to_either_copy_of_a_gpt_is_refused),
		cmocka_unit_test(copies_that_contradict_each_other_are_refused),
		cmocka_unit_test(the_backup_of_a_grown_disk_is_where_the_end_was),
		cmocka_unit_test(a_disk_that_was_cut_has_lost_its_backup),
		cmocka_unit_test(gpt_partitions_that_cannot_be_are_refused),
		cmocka_unit_test(a_partition_may_not_lie_over_the_table),
		cmocka_unit_test(two_tables_on_one_disk_are_refused),
		cmocka_unit_test(a_file_system_and_a_table_are_not_guessed_between),
		cmocka_unit_test(boot_code_and_the_mark_of_a_boot_sector_are_no_table),
		cmocka_unit_test(logical_partitions_are_found_along_their_chain),
		cmocka_unit_test(mbr_partitions_that_cannot_be_are_refused),
		cmocka_unit_test(chains_that_cannot_be_are_refused),
		cmocka_unit_test(a_chain_may_not_leave_the_extended_partition),
		cmocka_unit_test(changed_tables_are_refused_or_make_sense),
	};

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
