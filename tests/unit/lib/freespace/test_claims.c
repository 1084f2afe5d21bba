/* SPDX-License-Identifier: MIT */
/*
 * libblkid and bowimg never disagree about what an image holds, whether bowimg gives it the image
 * or a copy of some places; and what it calls by another name or cannot decide is never taken for
 * what lies below. Every signature in the table is put into places of several sizes, and over every
 * kind of file system in which bowimg finds free blocks.
 *
 * read() is our own here, so that the places are known at which libblkid reads.
 */
#include <blkid/blkid.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "host.h"
#include "lib/freespace/freemap.h"
#include "lib/freespace/fs/kinds.h"
#include "signatures.h"
#include "lib/probe/probe.h"

#define PATH_BYTES (HOST_PATH_BYTES + 16)
#define SECTOR 512u
#define KEPT_MAX 64

/* Sectors that libblkid has read of `fd`, and how often it did. */
static struct {
	int fd;
	struct bow_bitmap *sectors;
	uint64_t reads;
} spy = {.fd = -1};

static void touch(struct bow_bitmap *sectors, uint64_t off, uint64_t bytes)
{
	const uint64_t first = off / SECTOR;

	if (bytes)
		assert_int_equal(
			bow_bitmap_set(sectors, first, bow_div_up(off + bytes, SECTOR) - first), 0);
}

ssize_t read(int fd, void *buf, size_t bytes)
{
	off_t at = fd == spy.fd ? lseek(fd, 0, SEEK_CUR) : -1;
	ssize_t n = syscall(SYS_read, fd, buf, bytes);

	if (at >= 0 && n > 0) {
		touch(spy.sectors, (uint64_t)at, (uint64_t)n);
		spy.reads++;
	}
	return n;
}

/* A file seen through a device that has no descriptor to give away, and what was read of it. */
struct remote {
	struct bowimg_disk dev; /* must be first */
	int fd;
	struct bow_bitmap *sectors;
};

static int64_t remote_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	const struct remote *r = (const struct remote *)dev;

	touch(r->sectors, off, bytes);
	return pread(r->fd, buf, bytes, (off_t)off);
}

static const struct bow_backend_ops remote_ops = {.read = remote_read};

struct answer {
	int rc;
	char type[32], pttype[16];
};

/* The image on which all of this happens; what was changed is kept, newest last. */
struct bench {
	char dir[HOST_PATH_BYTES], path[PATH_BYTES];
	int fd;
	uint64_t size;
	struct {
		uint64_t at;
		size_t n;
		uint8_t bytes[64];
	} kept[KEPT_MAX];
	size_t n_kept;
};

static void put(void *ctx, uint64_t at, const void *p, size_t n)
{
	struct bench *b = ctx;

	assert_true(b->n_kept < KEPT_MAX && n <= sizeof(b->kept[0].bytes) && at + n <= b->size);
	b->kept[b->n_kept].at = at;
	b->kept[b->n_kept].n = n;
	assert_int_equal(pread(b->fd, b->kept[b->n_kept].bytes, n, (off_t)at), n);
	b->n_kept++;
	assert_int_equal(pwrite(b->fd, p, n, (off_t)at), n);
}

static void undo(struct bench *b)
{
	while (b->n_kept--)
		assert_int_equal(pwrite(b->fd, b->kept[b->n_kept].bytes, b->kept[b->n_kept].n,
					(off_t)b->kept[b->n_kept].at),
				 b->kept[b->n_kept].n);
	b->n_kept = 0;
}

/* What libblkid says by itself; -2: several claim it. */
static struct answer ask_blkid(const struct bench *b, int flags)
{
	blkid_probe pr = blkid_new_probe();
	struct answer a = {0};
	const char *value;

	assert_non_null(pr);
	assert_int_equal(blkid_probe_set_device(pr, b->fd, 0, 0), 0);
	assert_int_equal(blkid_probe_enable_partitions(pr, 1), 0);
	assert_int_equal(blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_DEFAULT | flags), 0);
	a.rc = blkid_do_safeprobe(pr);
	if (!blkid_probe_lookup_value(pr, "TYPE", &value, NULL))
		snprintf(a.type, sizeof(a.type), "%s", value);
	if (!blkid_probe_lookup_value(pr, "PTTYPE", &value, NULL))
		snprintf(a.pttype, sizeof(a.pttype), "%s", value);
	blkid_free_probe(pr);
	return a;
}

static struct answer ask_dev(struct bowimg_disk *dev)
{
	struct answer a = {0};
	struct bow_probe found;

	a.rc = bow_probe_device(dev, &found, NULL);
	if (!a.rc)
		a.rc = bow_probe_refuse_both(dev, &found, NULL);
	snprintf(a.type, sizeof(a.type), "%s", found.type);
	snprintf(a.pttype, sizeof(a.pttype), "%s", found.pttype);
	return a;
}

static struct answer ask_file(const struct bench *b)
{
	struct bowimg_disk *dev;
	struct answer a;

	assert_int_equal(bow_disk_open_file(b->path, BOW_OPEN_LOOK, NULL, &dev, NULL), 0);
	a = ask_dev(dev);
	bow_disk_close(dev, NULL);
	return a;
}

static struct answer ask_remote(const struct bench *b, struct bow_bitmap *sectors)
{
	struct remote r = {
		.dev = {.ops = &remote_ops, .name = "remote", .size = b->size, .sector_size = 512},
		.fd = b->fd,
		.sectors = sectors};

	return ask_dev(&r.dev);
}

static void open_bench(struct bench *b)
{
	b->fd = open(b->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(b->fd >= 0);
	b->size = (uint64_t)lseek(b->fd, 0, SEEK_END);
}

static void make_bench(struct bench *b, uint64_t size)
{
	unlink(b->path);
	assert_true(host_make_file(b->path, size));
	open_bench(b);
}

/* Labels of these are elsewhere; they decide nothing, as the answers show. */
static bool has_far_label(const char *type)
{
	return !strcmp(type, "udf") || !strcmp(type, "hfsplus") || !strcmp(type, "vfat") ||
	       !strcmp(type, "exfat");
}

static void all_was_copied(struct bench *b, const char *what)
{
	const uint64_t sectors = bow_div_up(b->size, SECTOR);
	struct bow_bitmap *copied = bow_bitmap_new(sectors);
	uint64_t at = 0, n;

	spy.sectors = bow_bitmap_new(sectors);
	assert_true(copied && spy.sectors);
	ask_remote(b, copied);
	spy.fd = b->fd;
	ask_blkid(b, BLKID_SUBLKS_BADCSUM);
	spy.fd = -1;
	for (; bow_bitmap_next_run(spy.sectors, &at, &n, sectors); at += n)
		if (!bow_bitmap_all(copied, at, n, true))
			fail_msg("%s in %llu bytes: %llu sectors at %llu are read", what,
				 (unsigned long long)b->size, (unsigned long long)n,
				 (unsigned long long)at);
	bow_bitmap_free(spy.sectors);
	bow_bitmap_free(copied);
}

/* Does this source (NULL: any) find free blocks? */
static bool finds_free(const struct bench *b, const char *spec)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(b->size, BOWIMG_BLOCK_SIZE));
	const struct bow_freemap_options opts = {.free_from = spec};
	struct bow_freemap_info info;
	struct bowimg_disk *dev;
	bool found;

	assert_int_equal(bow_disk_open_file(b->path, BOW_OPEN_LOOK, NULL, &dev, NULL), 0);
	found = bow_freemap_read(dev, &opts, map, &info, NULL) == 0 && bow_bitmap_count(map);
	bow_disk_close(dev, NULL);
	bow_bitmap_free(map);
	return found;
}

/*
 * libblkid names what has a wrong checksum if it is asked for that, as bowimg does, so that the
 * source can refuse it. As of version 2.41 it knows the checksum of an ext4, too.
 */
static bool is_left_to_the_source(const struct bench *b, struct answer bare)
{
	return bare.rc == 1 && !ask_blkid(b, BLKID_SUBLKS_BADCSUM).rc && !finds_free(b, NULL);
}

/* The three answers to what the bench holds; `below`: what is there besides, or "". */
static void agree(struct bench *b, const char *what, const char *below)
{
	struct bow_bitmap *sectors = bow_bitmap_new(bow_div_up(b->size, SECTOR));
	struct answer file = ask_file(b), remote = ask_remote(b, sectors);

	bow_bitmap_free(sectors);
	if (file.rc != remote.rc || strcmp(file.type, remote.type) != 0 ||
	    strcmp(file.pttype, remote.pttype) != 0)
		fail_msg("%s over \"%s\" in %llu bytes: %d %s %s, but %d %s %s of a copy", what,
			 below, (unsigned long long)b->size, file.rc, file.type, file.pttype,
			 remote.rc, remote.type, remote.pttype);
	for (int flags = 0; flags <= BLKID_SUBLKS_BADCSUM; flags += BLKID_SUBLKS_BADCSUM) {
		struct answer bare = ask_blkid(b, flags);
		bool same = !strcmp(bare.type, file.type) && bare.rc >= 0;

		if (file.rc == 0 && !same &&
		    (flags || (!strcmp(file.type, below) && !is_left_to_the_source(b, bare))))
			fail_msg("%s over \"%s\": libblkid says %d %s, but it is taken for %s",
				 what, below, bare.rc, bare.type, file.type);
	}
}

static void every_place_that_libblkid_reads_is_copied(void **state)
{
	static const uint64_t sizes[] = {
		1474560,
		(3u << 20) + 512,
		(20u << 20) + 1536,
		(64u << 20) + 98304,
		(300ull << 30) + 512,
	};
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_bench(b, sizes[i]);
		all_was_copied(b, "nothing");
		for (size_t k = 0; k < signatures_count; k++) {
			const struct signature *s = &signatures[k];
			struct answer bare;

			if (s->min_bytes > b->size)
				continue;
			signature_put(s, b->size, put, b);
			bare = ask_blkid(b, BLKID_SUBLKS_BADCSUM);
			if (bare.rc || strcmp(bare.type, s->type) != 0)
				fail_msg("%zu: %d %s is no %s", k, bare.rc, bare.type, s->type);
			if (!has_far_label(s->type))
				all_was_copied(b, s->type);
			agree(b, s->type, "");
			undo(b);
		}
		close(b->fd);
	}
	assert_true(spy.reads > 1000);
}

/* As small as they come, so that they can be made in a moment. */
static const struct base {
	const char *type, *size, *tool, *options;
} bases[] = {
	{"ext2", "8M", "mke2fs", "-q -t ext2"}, {"ext4", "16M", "mke2fs", "-q -t ext4"},
	{"vfat", "4M", "mkfs.vfat", "-F 12"},	{"vfat", "32M", "mkfs.vfat", "-F 16"},
	{"vfat", "80M", "mkfs.vfat", "-F 32"},	{"swap", "64M", "mkswap", ""},
	{"xfs", "300M", "mkfs.xfs", "-q"},	{"btrfs", "160M", "mkfs.btrfs", "-q"},
	{"ntfs", "32M", "mkntfs", "-qF"},	{"exfat", "32M", "mkfs.exfat", ""},
	{"f2fs", "128M", "mkfs.f2fs", "-q"},
};
#define BASES (sizeof(bases) / sizeof(bases[0]))

static void make_base(struct bench *b, const struct base *base)
{
	host_require(host_has_tool(base->tool), base->tool);
	assert_int_equal(host_run("rm -f %s; truncate -s %s %s; %s %s %s", b->path, base->size,
				  b->path, base->tool, base->options, b->path),
			 0);
	open_bench(b);
}

/* Nor does a source that is asked for by name read what is no file system any more. */
static void named_source_agrees(struct bench *b, const struct base *base, const char *what)
{
	const char *spec = !strcmp(base->tool, "mke2fs") ? "ext"
			   : strstr(base->tool, "fat")	 ? "fat"
							 : NULL;
	struct answer file = ask_file(b);

	if (!spec || (!file.rc && (!file.type[0] || bow_fs_find(file.type))))
		return;
	if (finds_free(b, spec) && strcmp(file.type, "swap") != 0)
		fail_msg("%s over %s: %s still reads it", what, base->type, spec);
}

static void no_signature_is_overlooked_over_a_file_system(void **state)
{
	struct bench *b = *state;
	unsigned refused = 0;

	for (size_t i = 0; i < BASES; i++) {
		make_base(b, &bases[i]);
		assert_string_equal(ask_file(b).type, bases[i].type);
		assert_int_equal(ask_file(b).rc, 0);
		agree(b, "nothing", bases[i].type);
		for (size_t k = 0; k < signatures_count; k++) {
			if (signatures[k].min_bytes > b->size)
				continue;
			signature_put(&signatures[k], b->size, put, b);
			agree(b, signatures[k].type, bases[i].type);
			named_source_agrees(b, &bases[i], signatures[k].type);
			refused += strcmp(ask_file(b).type, bases[i].type) != 0 || ask_file(b).rc;
			undo(b);
		}
		close(b->fd);
	}
	printf("%u of %zu were not taken for what lies below\n", refused, BASES * signatures_count);
	assert_true(refused > BASES * signatures_count / 2);
}

static void refused(struct bench *b, const char *bare_type)
{
	struct answer bare = ask_blkid(b, 0);

	/* Here libblkid gives an answer, and more care is taken than it takes. */
	assert_int_equal(bare.rc, 0);
	assert_string_equal(bare.type, bare_type);
	assert_string_equal(bare.pttype, "");
	assert_int_equal(ask_file(b).rc, -EOPNOTSUPP);
	agree(b, bare_type, bare_type);
}

/* libblkid stops at the first thing it finds on one, and looks for nothing else. */
static void on_a_floppy_a_second_claim_counts_too(void **state)
{
	struct bench *b = *state;

	make_bench(b, 1 << 20);
	put(b, 1024, "\1\0\0\0\377\0\0", 8);
	put(b, 0xff6, "SWAPSPACE2", 10);
	assert_int_equal(ask_file(b).rc, 0);
	put(b, 65536 + 64, "_BHRfS_M", 8);
	put(b, 65536 + 145, "\x10", 1);
	refused(b, "swap");
	b->n_kept = 0;
	close(b->fd);
}

/* As GRUB and fdisk leave it where a FAT was: the kernel goes by the entries. */
static void partitions_in_the_boot_sector_of_a_fat_are_seen(void **state)
{
	struct bench *b = *state;

	make_base(b, &bases[3]);
	put(b, 446, "\x80\1\1\0\x83\xfe\xff\xff\0\x08\0\0\0\x20\0\0", 16);
	refused(b, "vfat");
	put(b, 446 + 16, "\x12", 1); /* what no partition table has */
	assert_int_equal(ask_file(b).rc, 0);
	assert_string_equal(ask_file(b).type, "vfat");
	undo(b);
	put(b, 446 + 4, "\x83\0\0\0\0\0\2\0\0\0\x20\0\0", 13); /* begins behind the end */
	assert_int_equal(ask_file(b).rc, 0);
	undo(b);
	close(b->fd);
}

static int setup(void **state)
{
	static struct bench b;

	if (!host_temp_dir(b.dir) || setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1))
		return -1;
	snprintf(b.path, sizeof(b.path), "%s/disk.img", b.dir);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	host_remove_tree(b->dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_place_that_libblkid_reads_is_copied),
		cmocka_unit_test(no_signature_is_overlooked_over_a_file_system),
		cmocka_unit_test(on_a_floppy_a_second_claim_counts_too),
		cmocka_unit_test(partitions_in_the_boot_sector_of_a_fat_are_seen),
	};

	return cmocka_run_group_tests_name("claims", tests, setup, teardown);
}
