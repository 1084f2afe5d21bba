/* SPDX-License-Identifier: MIT */
/*
 * What a comparison of files reads: a sparse ext4 of 10 GiB with 200,000 files, of which 100 were
 * changed, against a walk over all inodes and directories of both versions (and no content).
 * Counted are requests and bytes, so that the machine does not matter. The figures go to descriptor
 * SUMMARY_FD, if that is set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/ext/io.h"
#include "diff_pair.h"
#include "host.h"

#define DIRS 2000
#define FILES_PER_DIR 100
#define CHANGES 100

struct cost {
	uint64_t requests, bytes;
};

static char dir[HOST_PATH_BYTES], now[HOST_PATH_BYTES + 8], before[HOST_PATH_BYTES + 8];

static void link_to(ext2_filsys fs, ext2_ino_t parent, const char *name, ext2_ino_t ino)
{
	errcode_t rc = ext2fs_link(fs, parent, name, ino, EXT2_FT_REG_FILE);

	if (rc == EXT2_ET_DIR_NO_SPACE && !ext2fs_expand_dir(fs, parent))
		rc = ext2fs_link(fs, parent, name, ino, EXT2_FT_REG_FILE);
	assert_int_equal(rc, 0);
}

/* Empty files, made in the order of their directories, as tar or a package manager does. */
static void make_files(ext2_filsys fs, ext2_ino_t parent)
{
	struct ext2_inode inode = {.i_mode = LINUX_S_IFREG | 0644, .i_links_count = 1};
	char name[16];

	inode.i_mtime = inode.i_ctime = inode.i_atime = 1000000000;
	for (int i = 0; i < FILES_PER_DIR; i++) {
		ext2_ino_t ino;

		snprintf(name, sizeof(name), "file%02d", i);
		assert_int_equal(ext2fs_new_inode(fs, parent, inode.i_mode, NULL, &ino), 0);
		ext2fs_inode_alloc_stats2(fs, ino, 1, 0);
		inode.i_generation = ino * 2654435761u;
		assert_int_equal(ext2fs_write_new_inode(fs, ino, &inode), 0);
		link_to(fs, parent, name, ino);
	}
}

static void populate(void)
{
	ext2_filsys fs;
	char name[16];

	assert_int_equal(ext2fs_open(before, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager,
				     &fs),
			 0);
	assert_int_equal(ext2fs_read_bitmaps(fs), 0);
	for (int i = 0; i < DIRS; i++) {
		ext2_ino_t ino;
		errcode_t rc;

		snprintf(name, sizeof(name), "d%04d", i);
		assert_int_equal(ext2fs_new_inode(fs, EXT2_ROOT_INO, LINUX_S_IFDIR, NULL, &ino), 0);
		rc = ext2fs_mkdir(fs, EXT2_ROOT_INO, ino, name);
		if (rc == EXT2_ET_DIR_NO_SPACE && !ext2fs_expand_dir(fs, EXT2_ROOT_INO))
			rc = ext2fs_mkdir(fs, EXT2_ROOT_INO, ino, name);
		assert_int_equal(rc, 0);
		make_files(fs, ino);
	}
	assert_int_equal(ext2fs_close(fs), 0);
}

/*
 * Spread over all directories: modes of 60, 20 deleted, 20 made. Where names change, so does the
 * time of the directory, as with a mounted file system.
 */
static void change_files(void)
{
	char script[HOST_PATH_BYTES + 16];
	FILE *f;

	snprintf(script, sizeof(script), "%s/script", dir);
	f = fopen(script, "we");
	assert_non_null(f);
	for (int i = 0; i < CHANGES; i++) {
		const int d = i * (DIRS / CHANGES) + i % 7, file = i * 37 % FILES_PER_DIR;

		if (i % 5 < 3)
			fprintf(f, "sif d%04d/file%02d mode 0100600\n", d, file);
		else if (i % 5 == 3)
			fprintf(f, "rm d%04d/file%02d\n", d, file);
		else
			fprintf(f, "write %s d%04d/new\n", script, d);
		if (i % 5 >= 3)
			fprintf(f, "sif d%04d mtime 1500000000\n", d);
	}
	assert_int_equal(fclose(f), 0);
	assert_int_equal(host_run("debugfs -w -f %s %s", script, now), 0);
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1), 0);
	host_require(host_has_tool("mke2fs") && host_has_tool("debugfs"), "e2fsprogs");
	assert_true(host_temp_dir(dir));
	snprintf(now, sizeof(now), "%s/now", dir);
	snprintf(before, sizeof(before), "%s/before", dir);
	assert_int_equal(host_run("truncate -s 10G %s && mke2fs -q -F -t ext4 %s", before, before),
			 0);
	populate();
	assert_int_equal(host_run("cp --sparse=always %s %s", before, now), 0);
	change_files();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_remove_tree(dir);
	return 0;
}

/* ---- a walk over everything ------------------------------------------------------ */

static int on_entry(ext2_ino_t parent, int entry, struct ext2_dir_entry *dirent, int offset,
		    int blocksize, char *buf, void *ctx)
{
	(void)parent, (void)entry, (void)dirent, (void)offset, (void)blocksize, (void)buf;
	++*(uint64_t *)ctx;
	return 0;
}

/* One version: the other costs the same. Inode tables are read in large pieces. */
static struct cost walk_all(struct diff_pair *p)
{
	struct bow_ext_io io;
	struct ext2_inode inode;
	ext2_inode_scan scan;
	uint64_t entries = 0;
	ext2_filsys fs;
	ext2_ino_t ino;

	p->requests = p->bytes = 0;
	assert_int_equal(bow_ext_io_open(&io, &p->version[BOW_NEW].disk, 0, p->size, &fs, NULL), 0);
	assert_int_equal(ext2fs_open_inode_scan(fs, 0, &scan), 0);
	while (!ext2fs_get_next_inode(scan, &ino, &inode) && ino)
		if (inode.i_links_count && LINUX_S_ISDIR(inode.i_mode))
			assert_int_equal(ext2fs_dir_iterate2(fs, ino, 0, NULL, on_entry, &entries),
					 0);
	ext2fs_close_inode_scan(scan);
	ext2fs_free(fs);
	assert_true(entries > (uint64_t)DIRS * FILES_PER_DIR);
	return (struct cost){2 * p->requests, 2 * p->bytes};
}

static struct cost compare(struct diff_pair *p, size_t *n)
{
	struct bowimg_error err = {0};
	struct bow_diff *d;

	p->requests = p->bytes = 0;
	if (diff_pair_run(p, false, &d, &err))
		fail_msg("%s", err.message);
	bow_diff_items(d, n);
	bow_diff_free(d);
	return (struct cost){p->requests, p->bytes};
}

static void say(const char *what, const struct cost *c, const struct cost *all)
{
	const char *fd = getenv("SUMMARY_FD");

	if (fd)
		dprintf(atoi(fd),
			"diff of %d files, %s: %.1f MiB in %llu requests (a walk over all: %.1f "
			"MiB "
			"in %llu; %.0f and %.0f times as much)\n",
			DIRS * FILES_PER_DIR, what, (double)c->bytes / 1048576,
			(unsigned long long)c->requests, (double)all->bytes / 1048576,
			(unsigned long long)all->requests, (double)all->bytes / (double)c->bytes,
			(double)all->requests / (double)c->requests);
}

static void a_hundred_changes_cost_little_among_many_files(void **state)
{
	struct diff_pair p;
	struct cost cost, all;
	size_t n;

	(void)state;
	diff_pair_open(&p, now, before);
	cost = compare(&p, &n);
	all = walk_all(&p);
	diff_pair_close(&p);
	say("100 changed", &cost, &all);
	/* And the forty directories that have another time. */
	assert_int_equal(n, CHANGES + CHANGES / 5 * 2);
	assert_true(cost.bytes < all.bytes / 10);
	assert_true(cost.requests < all.requests / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_changes_cost_little_among_many_files),
	};

	return cmocka_run_group_tests_name("diff_cost", tests, setup, teardown);
}
