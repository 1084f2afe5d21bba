/* SPDX-License-Identifier: MIT */
/*
 * Are file systems that others read for us clean, and what is marked as used? Here single bytes
 * decide; and any bytes at all must lead to an answer. SEED and ROUNDS in the environment choose
 * the random changes and how many (printed when they fail).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "fs_images.h"
#include "lib/disk/hint.h"
#include "lib/freespace/fs/ntfs_bitmap.h"
#include "lib/freespace/fs/kinds.h"
#include "mem_dev.h"
#include "rng.h"

#define BLOCKS (FS_IMAGE_BYTES / BOWIMG_BLOCK_SIZE)

static const struct kind {
	const char *type;
	void (*build)(uint8_t *disk);
} kinds[] = {
	{"xfs", fs_image_xfs},	       {"btrfs", fs_image_btrfs}, {"vfat", fs_image_fat16},
	{"exfat", fs_image_exfat},     {"ntfs", fs_image_ntfs},	  {"f2fs", fs_image_f2fs},
	{"hfsplus", fs_image_hfsplus},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct image {
	struct bowimg_disk *dev;
	uint8_t *disk;
	const struct bow_fs_kind *kind;
};

static void make(struct image *im, const char *type)
{
	im->dev = mem_dev_new(FS_IMAGE_BYTES, FS_IMAGE_BYTES + (5u << 20));
	assert_non_null(im->dev);
	im->disk = mem_dev_bytes(im->dev);
	im->kind = bow_fs_find(type);
	assert_non_null(im->kind);
	for (size_t i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i].type, type))
			kinds[i].build(im->disk);
}

static void drop(struct image *im)
{
	bow_disk_close(im->dev, NULL);
}

static int check(struct image *im, enum bow_fs_reader reader, struct bowimg_error *err)
{
	struct bow_fs_limits limits = {0};
	int rc = im->kind->check(im->dev, reader, &limits, err);

	/* What it says of its own length is believed by whoever reads the free map. */
	assert_true(rc || (limits.extent > 0 && limits.extent <= im->dev->size));
	return rc;
}

static void clean(struct image *im)
{
	struct bowimg_error err = {0};

	if (check(im, BOW_FS_HELPER, &err))
		fail_msg("%s: %s", im->kind->type, err.message);
}

/* -EUCLEAN, by both readers or by the one that cannot replay. */
static void dirty(struct image *im, int kernel, const char *words)
{
	struct bowimg_error err = {0};

	assert_int_equal(check(im, BOW_FS_HELPER, &err), -EUCLEAN);
	if (!strstr(err.message, words))
		fail_msg("%s: \"%s\" is not in \"%s\"", im->kind->type, words, err.message);
	assert_true(err.hint[0] != '\0');
	assert_int_equal(check(im, BOW_FS_KERNEL, NULL), kernel);
}

static void what_is_clean_is_taken(void **state)
{
	struct image im;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		make(&im, kinds[i].type);
		clean(&im);
		drop(&im);
	}
	assert_null(bow_fs_find("reiserfs"));
}

/* Less than a cluster may be left at the end. */
static void every_kind_tells_how_long_it_is(void **state)
{
	const uint64_t longer = FS_IMAGE_BYTES + (5u << 20);
	struct image im;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct bow_fs_limits limits = {0};

		make(&im, kinds[i].type);
		im.dev->size = longer;
		assert_int_equal(im.kind->check(im.dev, BOW_FS_KERNEL, &limits, NULL), 0);
		if (limits.extent > FS_IMAGE_BYTES || limits.extent < FS_IMAGE_BYTES - (1u << 20))
			fail_msg("%s: %llu", kinds[i].type, (unsigned long long)limits.extent);
		drop(&im);
	}
}

static void a_newer_record_after_the_unmount_makes_an_xfs_dirty(void **state)
{
	struct image im;

	(void)state;
	make(&im, "xfs");
	fs_image_xfs_record(im.disk, 2, 1, 5, 0);
	dirty(&im, 0, "log must be replayed");
	/* Unmounted again, once around the ring. */
	fs_image_xfs_record(im.disk, 0, 2, 1, 0x20);
	clean(&im);
	/* A copy of a header at another place is none. */
	memcpy(im.disk + XFS_LOG + 20 * 512, im.disk + XFS_LOG + 2 * 512, 512);
	clean(&im);
	drop(&im);
}

static void an_xfs_that_needs_repair_or_knows_more_is_refused(void **state)
{
	struct image im;

	(void)state;
	make(&im, "xfs");
	im.disk[219] = 0x13;
	dirty(&im, -EUCLEAN, "need of repair");
	im.disk[219] = 0x83;
	assert_int_equal(check(&im, BOW_FS_HELPER, NULL), -EOPNOTSUPP);
	drop(&im);
}

static void a_btrfs_with_a_log_tree_or_errors_is_refused(void **state)
{
	struct image im;

	(void)state;
	make(&im, "btrfs");
	im.disk[65536 + 96 + 2] = 1;
	dirty(&im, 0, "log tree");
	im.disk[65536 + 96 + 2] = 0;
	im.disk[65536 + 56] = 4;
	dirty(&im, -EUCLEAN, "errors");
	im.disk[65536 + 56] = 0;
	im.disk[65536 + 180] = 8; /* the block group tree */
	assert_int_equal(check(&im, BOW_FS_HELPER, NULL), -EOPNOTSUPP);
	assert_int_equal(check(&im, BOW_FS_KERNEL, NULL), 0);
	drop(&im);
}

static void unsupported(struct image *im, const char *words, const char *hint)
{
	struct bow_fs_limits limits = {0};
	struct bowimg_error err = {0};

	assert_int_equal(im->kind->check(im->dev, BOW_FS_HELPER, &limits, &err), -EOPNOTSUPP);
	if (!strstr(err.message, words) || !strstr(err.hint, hint))
		fail_msg("\"%s\" \"%s\", not \"%s\" \"%s\"", err.message, err.hint, words, hint);
	assert_null(strstr(err.hint, "btrfs check"));
}

/* What a flag of the superblock means decides what helps. */
static void a_btrfs_seed_or_dump_is_no_damage_and_a_conversion_is_to_be_finished(void **state)
{
	struct image im;

	(void)state;
	make(&im, "btrfs");
	im.disk[65536 + 60] = 1;
	unsupported(&im, "seed device", "btrfstune -S 0 " BOW_HINT_DEVICE);
	im.disk[65536 + 60] = 2;
	unsupported(&im, "the metadata alone", BOW_HINT_WITHOUT);
	im.disk[65536 + 60] = 4;
	unsupported(&im, "the metadata alone", BOW_HINT_WITHOUT);
	for (int bit = 3; bit <= 8; bit++) {
		im.disk[65536 + 60] = (uint8_t)(bit < 8 ? 1 << bit : 0);
		im.disk[65536 + 61] = bit == 8;
		if (bit != 5) /* which means nothing */
			dirty(&im, -EUCLEAN, "half converted");
	}
	drop(&im);
}

static void ntfs_is_damaged(struct image *im, const char *words)
{
	struct bowimg_error err = {0};

	assert_int_equal(bow_ntfs_check_files(im->dev, &err), -EUCLEAN);
	if (!strstr(err.message, words))
		fail_msg("\"%s\" is not in \"%s\"", words, err.message);
}

static void an_ntfs_whose_files_use_what_its_bitmap_calls_free_is_found(void **state)
{
	struct image im;

	(void)state;
	make(&im, "ntfs");
	assert_int_equal(bow_ntfs_check_files(im.dev, NULL), 0);
	im.disk[NTFS_BITMAP + NTFS_LOG / 4096 / 8] = 1; /* of the log, the first cluster alone */
	ntfs_is_damaged(&im, "record 2 of its table uses clusters that its bitmap calls free");
	dirty(&im, -EUCLEAN, "record 2 of its table"); /* the file system's own: seen unasked */
	im.disk[NTFS_BITMAP + NTFS_LOG / 4096 / 8] = 3;
	fs_image_ntfs_file(im.disk, 9, 5000, 3000);
	ntfs_is_damaged(&im, "record 9");
	im.disk[NTFS_TABLE + 9 * NTFS_RECORD + 22] = 0; /* a file that was deleted */
	assert_int_equal(bow_ntfs_check_files(im.dev, NULL), 0);
	clean(&im);
	drop(&im);
}

/* Lists that claim more than there is, again and again, would take the time they like. */
static void clusters_that_an_ntfs_uses_twice_or_cannot_have_are_found(void **state)
{
	struct image im;

	(void)state;
	make(&im, "ntfs");
	memset(im.disk + NTFS_BITMAP, 0xff, FS_IMAGE_BYTES / 4096 / 8);
	fs_image_ntfs_file(im.disk, 9, 8000, 100);
	assert_int_equal(bow_ntfs_check_files(im.dev, NULL), 0);
	fs_image_ntfs_file(im.disk, 11, 8000, 100);
	ntfs_is_damaged(&im, "record 11 of its table and others use the same clusters");
	fs_image_ntfs_file(im.disk, 11, 8000, 300);
	ntfs_is_damaged(&im, "record 11 of its table has a malformed list");
	drop(&im);
}

static void a_mounted_or_erroneous_fat_is_refused(void **state)
{
	static const uint8_t entries[][2] = {{0xff, 0x7f}, {0xff, 0xbf}};
	struct image im;

	(void)state;
	make(&im, "vfat");
	for (size_t i = 0; i < 2; i++) {
		memcpy(im.disk + 514, entries[i], 2);
		dirty(&im, -EUCLEAN, i ? "noted errors" : "not cleanly");
	}
	memset(im.disk + 514, 0xff, 2);
	im.disk[37] = 1;
	dirty(&im, -EUCLEAN, "not cleanly");
	im.disk[37] = 2; /* which fsck.fat leaves there */
	dirty(&im, -EUCLEAN, "noted errors");
	drop(&im);
	make(&im, "exfat");
	im.disk[106] = 2;
	dirty(&im, -EUCLEAN, "not cleanly");
	im.disk[106] = 4;
	dirty(&im, -EUCLEAN, "noted errors");
	drop(&im);
}

static void an_ntfs_with_an_open_log_or_a_mark_is_refused(void **state)
{
	struct image im;

	(void)state;
	make(&im, "ntfs");
	im.disk[NTFS_TABLE + 3 * NTFS_RECORD + 56 + 24 + 10] = 1;
	dirty(&im, -EUCLEAN, "to be checked");
	im.disk[NTFS_TABLE + 3 * NTFS_RECORD + 56 + 24 + 10] = 0;
	bow_put16(im.disk + NTFS_LOG + 60, 0);
	dirty(&im, -EUCLEAN, "not cleanly");
	/* The second page is newer, and says closed; then the first is newer. */
	memcpy(im.disk + NTFS_LOG + 4096, im.disk + NTFS_LOG, 4096);
	bow_put64(im.disk + NTFS_LOG + 4096 + 48, 9);
	bow_put16(im.disk + NTFS_LOG + 4096 + 62, 2);
	clean(&im);
	bow_put64(im.disk + NTFS_LOG + 48, 10);
	dirty(&im, -EUCLEAN, "not cleanly");
	memset(im.disk + NTFS_LOG, 0xff, 4096); /* emptied */
	clean(&im);
	drop(&im);
}

/* What they hold of deleted files is in free clusters. Without any, the note may still be there. */
static void an_ntfs_with_shadow_copies_is_told(void **state)
{
	static const uint8_t id[] = {0x6b, 0x87, 0x08, 0x38, 0x76, 0xc1, 0x48, 0x4e,
				     0xb7, 0xae, 0x04, 0x04, 0x6e, 0x6c, 0xc7, 0x52};
	struct bow_fs_limits limits = {0};
	struct image im;

	(void)state;
	make(&im, "ntfs");
	memcpy(im.disk + 0x1e00, id, sizeof(id));
	assert_int_equal(im.kind->check(im.dev, BOW_FS_HELPER, &limits, NULL), 0);
	assert_null(limits.only_exact);
	bow_put64(im.disk + 0x1e00 + 48, 0x40000);
	assert_int_equal(im.kind->check(im.dev, BOW_FS_HELPER, &limits, NULL), 0);
	assert_non_null(strstr(limits.only_exact, "shadow copies"));
	drop(&im);
}

static void f2fs_flags(struct image *im, uint32_t flags)
{
	for (size_t i = 0; i < 2; i++) {
		bow_put32(im->disk + F2FS_PACK + i * 4096 + 132, flags);
		fs_image_f2fs_sum(im->disk + F2FS_PACK + i * 4096);
	}
}

static void an_f2fs_is_as_its_newer_valid_checkpoint_says(void **state)
{
	uint8_t *other;
	struct image im;

	(void)state;
	make(&im, "f2fs");
	f2fs_flags(&im, 0);
	dirty(&im, 0, "not cleanly");
	f2fs_flags(&im, 0x11);
	dirty(&im, -EUCLEAN, "errors");
	/* A newer one, clean; then torn, so that the older counts again. */
	other = im.disk + F2FS_PACK + (2u << 20);
	memcpy(other, im.disk + F2FS_PACK, 8192);
	for (size_t i = 0; i < 2; i++) {
		bow_put64(other + i * 4096, 6);
		bow_put32(other + i * 4096 + 132, 1);
		fs_image_f2fs_sum(other + i * 4096);
	}
	clean(&im);
	other[4096 + 10] ^= 1;
	dirty(&im, -EUCLEAN, "errors");
	im.disk[F2FS_PACK] ^= 1;
	dirty(&im, -EUCLEAN, "no valid checkpoint");
	drop(&im);
}

static void an_hfsplus_that_was_not_unmounted_is_refused(void **state)
{
	struct image im;

	(void)state;
	make(&im, "hfsplus");
	im.disk[1024 + 6] = 0x20;
	dirty(&im, -EUCLEAN, "not cleanly");
	im.disk[1024 + 6] = 0x29;
	dirty(&im, -EUCLEAN, "inconsistent");
	im.disk[1024 + 6] = 0x21;
	im.disk[HFS_JOURNAL + 22] = 4;
	dirty(&im, -EUCLEAN, "journal must be replayed");
	drop(&im);
}

static void what_reaches_beyond_the_image_is_refused(void **state)
{
	struct image im;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		make(&im, kinds[i].type);
		im.dev->size -= 1u << 20;
		dirty(&im, -EUCLEAN, "larger than the image");
		drop(&im);
	}
}

static struct bow_bitmap *all_free(void)
{
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS);

	assert_non_null(map);
	assert_int_equal(bow_bitmap_set(map, 0, BLOCKS), 0);
	return map;
}

static void range_is(const struct bow_bitmap *map, uint64_t off, uint64_t bytes, bool is_free)
{
	assert_true(bow_bitmap_all(map, off / 4096, bytes / 4096, is_free));
}

static void all_of_btrfs_but_single_data_and_the_unallocated_is_marked_used(void **state)
{
	struct bow_bitmap *map = all_free();
	struct bowimg_error err = {0};
	struct image im;

	(void)state;
	make(&im, "btrfs");
	if (im.kind->mark_used(im.dev, 0, map, &err))
		fail_msg("%s", err.message);
	range_is(map, 0, 3 << 20, false);
	range_is(map, 3 << 20, 1 << 20, true);
	range_is(map, 4 << 20, 1 << 20, false);
	range_is(map, 5 << 20, 3 << 20, true);
	range_is(map, 8 << 20, 1 << 20, false);
	range_is(map, 9 << 20, 23 << 20, true);
	bow_bitmap_free(map);
	/* In a partition that begins in the middle of a block, both blocks are touched. */
	map = all_free();
	assert_int_equal(im.kind->mark_used(im.dev, 512, map, NULL), 0);
	range_is(map, 3 << 20, 4096, false);
	range_is(map, (3 << 20) + 4096, (1 << 20) - 4096, true);
	bow_bitmap_free(map);
	drop(&im);
}

static void what_xfs_keeps_and_a_fat_uses_is_marked_used(void **state)
{
	struct bow_bitmap *map = all_free();
	struct bowimg_error err = {0};
	struct image im;

	(void)state;
	make(&im, "xfs");
	assert_int_equal(im.kind->mark_used(im.dev, 0, map, NULL), 0);
	assert_int_equal(bow_bitmap_count(map), BLOCKS - 4);
	range_is(map, 10 * 4096, 2 * 4096, false);
	range_is(map, (4096 + 10) * 4096, 2 * 4096, false);
	im.disk[144 + 7]++;
	assert_int_equal(im.kind->mark_used(im.dev, 0, map, &err), -EUCLEAN);
	assert_non_null(
		strstr(err.message, "206 blocks of the XFS are free by its groups, but 207"));
	assert_non_null(strstr(err.hint, "xfs_repair " BOW_HINT_DEVICE));
	im.disk[101] = 4; /* of another version */
	assert_int_equal(im.kind->mark_used(im.dev, 0, map, &err), 0);
	bow_bitmap_free(map);
	drop(&im);
	map = all_free();
	make(&im, "vfat");
	assert_int_equal(im.kind->mark_used(im.dev, 0, map, NULL), 0);
	/* Tables and root directory end at 97 sectors, in the middle of a block; 8 clusters. */
	range_is(map, 0, 81920, false);
	range_is(map, 86016, FS_IMAGE_BYTES - 86016 - 8192, true);
	bow_bitmap_free(map);
	drop(&im);
}

static void a_fat_whose_chain_leads_to_a_free_cluster_is_refused(void **state)
{
	static const struct {
		uint16_t to;
		int code;
	} links[] = {{9, 0}, {10, -EUCLEAN}, {3000, -EUCLEAN}, {1, 0}, {0xfff7, 0}, {0xffff, 0}};
	struct image im;

	(void)state;
	make(&im, "vfat");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		struct bow_bitmap *map = all_free();
		struct bowimg_error err = {0};

		for (size_t copy = 0; copy < 2; copy++)
			bow_put16(im.disk + 512 + copy * 32 * 512 + 5 * 2, links[i].to);
		assert_int_equal(im.kind->mark_used(im.dev, 0, map, &err), links[i].code);
		assert_true(!links[i].code || strstr(err.message, "free by the table"));
		bow_bitmap_free(map);
	}
	drop(&im);
}

/* One to eight bytes become others, mostly where the structures are. */
static void change(struct image *im, struct rng *rng)
{
	for (uint32_t n = rng_between(rng, 1, 8); n > 0; n--) {
		static const uint32_t ends[] = {512, 2560, 4096, 131072, FS_IMAGE_USED};
		uint32_t at = rng_below(rng, ends[rng_below(rng, 5)]);

		while (rng_chance(rng, 70) && !im->disk[at] && at + 1 < FS_IMAGE_USED)
			at++;
		im->disk[at] = rng_chance(rng, 30) ? 0xff : (uint8_t)rng_next(rng);
	}
}

static void whatever_is_on_the_disk_leads_to_an_answer(void **state)
{
	const char *seed = getenv("SEED"), *rounds = getenv("ROUNDS");
	struct rng rng = {seed ? strtoull(seed, NULL, 0) : 1};
	uint8_t *kept = malloc(FS_IMAGE_USED);
	uint32_t limit = rounds ? (uint32_t)strtoul(rounds, NULL, 0) : 250;
	struct image im;

	(void)state;
	assert_non_null(kept);
	for (size_t i = 0; i < KINDS; i++) {
		make(&im, kinds[i].type);
		memcpy(kept, im.disk, FS_IMAGE_USED);
		for (uint32_t n = 0; n < limit; n++) {
			struct bow_bitmap *map = all_free();
			struct bowimg_error err = {0};

			change(&im, &rng);
			int rc = check(&im, BOW_FS_HELPER, &err);
			assert_true(rc == 0 || rc == -EUCLEAN || rc == -EOPNOTSUPP);
			assert_true(rc == 0 || (err.message[0] && err.hint[0]));
			rc = strcmp(kinds[i].type, "ntfs") ? 0 : bow_ntfs_check_files(im.dev, &err);
			assert_true(rc == 0 || rc == -EUCLEAN || rc == -EOPNOTSUPP);
			rc = im.kind->mark_used ? im.kind->mark_used(im.dev, 0, map, &err) : 0;
			assert_true(rc == 0 || rc == -EUCLEAN || rc == -EOPNOTSUPP);
			bow_bitmap_free(map);
			if (rng_chance(&rng, 50))
				memcpy(im.disk, kept, FS_IMAGE_USED);
		}
		drop(&im);
	}
	free(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_clean_is_taken),
		cmocka_unit_test(every_kind_tells_how_long_it_is),
		cmocka_unit_test(a_newer_record_after_the_unmount_makes_an_xfs_dirty),
		cmocka_unit_test(an_xfs_that_needs_repair_or_knows_more_is_refused),
		cmocka_unit_test(a_btrfs_with_a_log_tree_or_errors_is_refused),
		cmocka_unit_test(
			a_btrfs_seed_or_dump_is_no_damage_and_a_conversion_is_to_be_finished),
		cmocka_unit_test(a_mounted_or_erroneous_fat_is_refused),
		cmocka_unit_test(an_ntfs_with_an_open_log_or_a_mark_is_refused),
		cmocka_unit_test(an_ntfs_with_shadow_copies_is_told),
		cmocka_unit_test(an_f2fs_is_as_its_newer_valid_checkpoint_says),
		cmocka_unit_test(an_hfsplus_that_was_not_unmounted_is_refused),
		cmocka_unit_test(what_reaches_beyond_the_image_is_refused),
		cmocka_unit_test(an_ntfs_whose_files_use_what_its_bitmap_calls_free_is_found),
		cmocka_unit_test(clusters_that_an_ntfs_uses_twice_or_cannot_have_are_found),
		cmocka_unit_test(all_of_btrfs_but_single_data_and_the_unallocated_is_marked_used),
		cmocka_unit_test(what_xfs_keeps_and_a_fat_uses_is_marked_used),
		cmocka_unit_test(a_fat_whose_chain_leads_to_a_free_cluster_is_refused),
		cmocka_unit_test(whatever_is_on_the_disk_leads_to_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
