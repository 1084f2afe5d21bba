/* SPDX-License-Identifier: MIT */
/* What is on a device, and which source the free map then comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "host.h"
#include "lib/freespace/freemap.h"
#include "mem_dev.h"
#include "signatures.h"
#include "table_image.h"
#include "lib/probe/probe.h"

#define PATH_BYTES (HOST_PATH_BYTES + 16)

struct place {
	char dir[HOST_PATH_BYTES], disk[PATH_BYTES], file[PATH_BYTES];
};

static struct bowimg_disk *open_disk(const struct place *p)
{
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;

	if (bow_disk_open_file(p->disk, BOW_OPEN_LOOK, NULL, &dev, &err))
		fail_msg("%s", err.message);
	return dev;
}

static int read_free_map(struct bowimg_disk *dev, const char *spec, struct bow_freemap_info *info,
			 uint64_t *blocks, struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	const struct bow_freemap_options opts = {.free_from = spec};
	int rc = bow_freemap_read(dev, &opts, map, info, err);

	*blocks = bow_bitmap_count(map);
	bow_bitmap_free(map);
	return rc;
}

static void refused(struct bowimg_disk *dev, const char *spec, const char *message,
		    const char *hint)
{
	struct bow_freemap_info info;
	struct bowimg_error err = {0};
	uint64_t blocks;
	int rc = read_free_map(dev, spec, &info, &blocks, &err);

	if (rc != -EOPNOTSUPP || !strstr(err.message, message) || !strstr(err.hint, hint))
		fail_msg("%d \"%s\" \"%s\"", rc, err.message, err.hint);
	assert_int_equal(blocks, 0);
}

static void refused_disk(const struct place *p, const char *message, const char *hint)
{
	struct bowimg_disk *dev = open_disk(p);

	refused(dev, NULL, message, hint);
	bow_disk_close(dev, NULL);
}

/* 0: made; otherwise the tool is missing, and the case is left out. */
static bool make(const struct place *p, const char *tool, const char *options, const char *size)
{
	host_run("rm -f %s; truncate -s %s %s", p->disk, size, p->disk);
	host_require(host_has_tool(tool), tool);
	return host_run("%s %s %s", tool, options, p->disk) == 0;
}

static void found(const struct place *p, const char *type, const char *pttype)
{
	struct bowimg_disk *dev = open_disk(p);
	struct bow_probe probe;
	struct bowimg_error err = {0};

	if (bow_probe_device(dev, &probe, &err))
		fail_msg("%s", err.message);
	assert_string_equal(probe.type, type);
	assert_string_equal(probe.pttype, pttype);
	bow_disk_close(dev, NULL);
}

static void file_systems_are_recognised_and_the_unknown_ones_refused_by_name(void **state)
{
	static const struct {
		const char *tool, *options, *size, *type;
	} cases[] = {
		{"mke2fs", "-q -t ext2", "8M", "ext2"},	 {"mke2fs", "-q -t ext3", "32M", "ext3"},
		{"mke2fs", "-q -t ext4", "32M", "ext4"}, {"mkfs.xfs", "-q", "400M", "xfs"},
		{"mkfs.btrfs", "-q", "200M", "btrfs"},	 {"mkfs.vfat", "", "64M", "vfat"},
		{"mkswap", "", "64M", "swap"},		 {"mkfs.minix", "", "8M", "minix"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(make(*state, cases[i].tool, cases[i].options, cases[i].size));
		found(*state, cases[i].type, "");
		if (!strcmp(cases[i].type, "minix"))
			refused_disk(*state, cases[i].type, "--free-from=map:FILE");
	}
}

static void partition_tables_are_recognised(void **state)
{
	const uint64_t size = 64u << 20;

	(void)state;
	for (int gpt = 0; gpt < 2; gpt++) {
		struct bowimg_disk *dev = mem_dev_new(size, 0);
		struct bow_probe probe;

		if (gpt)
			table_make_gpt(mem_dev_bytes(dev), size, 512, NULL, 0);
		else
			table_mbr_entry(mem_dev_bytes(dev), 0, 0x83, 1, (uint32_t)(size / 512 - 1));
		assert_int_equal(bow_probe_device(dev, &probe, NULL), 0);
		assert_string_equal(probe.pttype, gpt ? "gpt" : "dos");
		bow_disk_close(dev, NULL);
	}
}

/* By hand: mkfs.btrfs looks at every mount of the machine, and waits where one does not answer. */
static void btrfs_is_recognised_away_from_the_first_blocks(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(200u << 20, 0);
	struct bow_probe probe;

	(void)state;
	btrfs_by_hand(mem_dev_bytes(dev));
	assert_int_equal(bow_probe_device(dev, &probe, NULL), 0);
	assert_string_equal(probe.type, "btrfs");
	bow_disk_close(dev, NULL);
}

/* Microsoft's tools put NTFS' table in the middle of the disk, where no fixed place would find it.
 */
static void ntfs_is_recognised_by_its_table_wherever_it_is(void **state)
{
	const uint64_t table = (uint64_t)3 << 30;
	struct bowimg_disk *dev = mem_dev_new((uint64_t)4 << 30, 0);
	struct bow_probe probe;
	uint8_t *boot = mem_dev_bytes(dev);

	(void)state;
	memcpy(boot + 3, "NTFS    ", 8);
	bow_put16(boot + 11, 512);
	boot[13] = 8;
	boot[21] = 0xf8;
	bow_put64(boot + 40, ((uint64_t)4 << 30) / 512 - 1);
	bow_put64(boot + 48, table / 4096);
	bow_put64(boot + 56, 2);
	boot[64] = 0xf6;
	boot[68] = 1;
	assert_int_equal(bow_disk_write(dev, "FILE", 4, table, NULL), 0);
	assert_int_equal(bow_disk_write(dev, "FILE", 4, table + 3 * 1024, NULL), 0);
	assert_int_equal(bow_probe_device(dev, &probe, NULL), 0);
	assert_string_equal(probe.type, "ntfs");
	bow_put64(boot + 48, UINT64_MAX / 4096);
	assert_int_equal(bow_probe_device(dev, &probe, NULL), 0);
	assert_string_equal(probe.type, "");
	bow_disk_close(dev, NULL);
}

static void an_image_of_nothing_known_is_refused_with_the_ways_out(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(100000, 0);

	(void)state;
	refused(dev, "auto", "no known file system", "--free-from=map:FILE");
	refused(dev, "ext", "no ext2, ext3 or ext4", "--free-from=map:FILE");
	refused(dev, "exr", "no source \"exr\"",
		"auto, ext, fat, partclone, trim, map:FILE and none");
	refused(dev, "", "no source \"\"", "auto, ext, fat, partclone, trim, map:FILE and none");
	bow_disk_close(dev, NULL);
}

static void two_file_systems_in_one_image_are_not_guessed_between(void **state)
{
	struct place *p = *state;

	assert_true(make(p, "mke2fs", "-q -t ext4", "400M"));
	assert_int_equal(host_run("dd if=%s of=%s bs=1K skip=1 count=1", p->disk, p->file), 0);
	assert_true(make(p, "mkfs.xfs", "-q", "400M"));
	assert_int_equal(host_run("dd if=%s of=%s bs=1K seek=1 conv=notrunc", p->file, p->disk), 0);
	refused_disk(p, "several file systems", "wipefs");
}

static void the_named_source_is_used(void **state)
{
	struct place *p = *state;
	struct bow_freemap_info info;
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;
	char spec[PATH_BYTES + 8];
	uint64_t blocks;

	assert_true(make(p, "mke2fs", "-q -t ext4 -b 1024", "8M"));
	dev = open_disk(p);
	assert_int_equal(read_free_map(dev, "auto", &info, &blocks, &err), 0);
	assert_string_equal(info.source, "ext");
	assert_string_equal(info.what, "ext4, 1024-byte blocks");
	assert_true(blocks > 100);
	assert_int_equal(read_free_map(dev, "none", &info, &blocks, &err), 0);
	assert_string_equal(info.source, "none");
	assert_int_equal(blocks, 0);
	assert_int_equal(info.fs_free_bytes, 0);
	assert_int_equal(host_run("printf '0 +\\n8192 8192 ?\\n' > %s", p->file), 0);
	snprintf(spec, sizeof(spec), "map:%s", p->file);
	assert_int_equal(read_free_map(dev, spec, &info, &blocks, &err), 0);
	assert_string_equal(info.source, "map");
	assert_int_equal(blocks, 2);
	bow_disk_close(dev, NULL);
}

static void containers_and_archives_are_refused_with_the_tool_that_opens_them(void **state)
{
	static const struct {
		const char *command, *message, *hint;
	} cases[] = {
		{"qemu-img create -f qcow2 %s 64M", "qcow2", "qemu-img convert -O raw"},
		{"qemu-img create -f qcow %s 64M", "qcow", "qemu-img convert -O raw"},
		{"qemu-img create -f vmdk %s 64M", "VMDK", "qemu-img convert -O raw"},
		{"qemu-img create -f vmdk -o subformat=twoGbMaxExtentFlat %s 64M", "VMDK",
		 "qemu-img convert"},
		{"qemu-img create -f vhdx %s 64M", "VHDX", "qemu-img convert -O raw"},
		{"qemu-img create -f vpc %s 64M", "VHD", "qemu-img convert -O raw"},
		{"qemu-img create -f vpc -o subformat=fixed %s 64M", "VHD", "qemu-img convert"},
		{"qemu-img create -f vdi %s 64M", "VDI", "qemu-img convert -O raw"},
		{"qemu-img create -f qed %s 64M", "QED", "qemu-img convert -O raw"},
		{"qemu-img create -f parallels %s 64M", "Parallels", "qemu-img convert -O raw"},
		{"head -c 99999 /dev/zero | gzip > %s", "gzip", "decompress it first"},
		{"head -c 99999 /dev/zero | xz > %s", "xz", "decompress it first"},
		{"head -c 99999 /dev/zero | bzip2 > %s", "bzip2", "decompress it first"},
	};
	struct place *p = *state;

	host_require(host_has_tool("qemu-img"), "qemu-img");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char command[2 * PATH_BYTES];

		assert_int_equal(host_run("rm -f %s", p->disk), 0);
		snprintf(command, sizeof(command), cases[i].command, p->disk);
		assert_int_equal(host_run("%s", command), 0);
		refused_disk(p, cases[i].message, cases[i].hint);
	}
}

/* What has no tool on every machine is recognised by its first bytes. */
static void signatures_alone_are_enough(void **state)
{
	static const struct {
		const char *magic;
		size_t bytes;
		const char *message;
	} cases[] = {
		{"\x28\xb5\x2f\xfd", 4, "zstd"},
		{"\x04\x22\x4d\x18", 4, "lz4"},
		{"\x3a\xff\x26\xed", 4, "Android sparse"},
		{"partclone-image", 15, "partclone"},
		{"COWD", 4, "VMDK"},
		{"PK\x03\x04", 4, "zip"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bowimg_disk *dev = mem_dev_new(65536, 0);

		memcpy(mem_dev_bytes(dev), cases[i].magic, cases[i].bytes);
		refused(dev, "none", cases[i].message, "first");
		bow_disk_close(dev, NULL);
	}
}

static int setup(void **state)
{
	static struct place p;

	if (!host_temp_dir(p.dir) || setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1))
		return -1;
	snprintf(p.disk, sizeof(p.disk), "%s/disk.img", p.dir);
	snprintf(p.file, sizeof(p.file), "%s/file", p.dir);
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	host_remove_tree(p->dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_systems_are_recognised_and_the_unknown_ones_refused_by_name),
		cmocka_unit_test(partition_tables_are_recognised),
		cmocka_unit_test(btrfs_is_recognised_away_from_the_first_blocks),
		cmocka_unit_test(ntfs_is_recognised_by_its_table_wherever_it_is),
		cmocka_unit_test(an_image_of_nothing_known_is_refused_with_the_ways_out),
		cmocka_unit_test(two_file_systems_in_one_image_are_not_guessed_between),
		cmocka_unit_test(the_named_source_is_used),
		cmocka_unit_test(containers_and_archives_are_refused_with_the_tool_that_opens_them),
		cmocka_unit_test(signatures_alone_are_enough),
	};

	return cmocka_run_group_tests_name("probe", tests, setup, teardown);
}
