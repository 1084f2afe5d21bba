/* SPDX-License-Identifier: MIT */
/*
 * File systems of 32 MiB that name far more than they hold: what comparing their files costs. Each
 * is compared in a process of its own, whose memory and processor time are measured.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/ext/io.h"
#include "diff_pair.h"
#include "host.h"

#define NAMES 300u /* in the block that is shared */
#define MIB_MAX 256
#define SECONDS_MAX 10

/* AddressSanitizer needs several times the memory, which then says nothing. */
#ifdef __has_feature
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static char dir[HOST_PATH_BYTES], now[HOST_PATH_BYTES + 8], before[HOST_PATH_BYTES + 8];

static int setup(void **state)
{
	(void)state;
	assert_int_equal(setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1), 0);
	host_require(host_has_tool("mke2fs"), "e2fsprogs");
	assert_true(host_temp_dir(dir));
	snprintf(now, sizeof(now), "%s/now", dir);
	snprintf(before, sizeof(before), "%s/before", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_remove_tree(dir);
	return 0;
}

/* ---- making them ----------------------------------------------------------------- */

/* Blocks are named one by one, not in extents. */
static ext2_filsys begin(void)
{
	ext2_filsys fs;

	assert_int_equal(host_run("rm -f %s %s && truncate -s 32M %s && "
				  "mke2fs -q -F -t ext2 -b 4096 -N 8000 -O ^resize_inode %s && "
				  "cp %s %s",
				  now, before, before, before, before, now),
			 0);
	assert_int_equal(
		ext2fs_open(now, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs), 0);
	assert_int_equal(ext2fs_read_bitmaps(fs), 0);
	return fs;
}

static ext2_ino_t new_dir(ext2_filsys fs, ext2_ino_t parent, const char *name)
{
	ext2_ino_t ino;
	errcode_t rc;

	assert_int_equal(ext2fs_new_inode(fs, parent, LINUX_S_IFDIR, NULL, &ino), 0);
	rc = ext2fs_mkdir(fs, parent, ino, name);
	if (rc == EXT2_ET_DIR_NO_SPACE && !ext2fs_expand_dir(fs, parent))
		rc = ext2fs_mkdir(fs, parent, ino, name);
	assert_int_equal(rc, 0);
	return ino;
}

/* A directory with many short names of one file; returns its block. */
static blk_t many_names(ext2_filsys fs)
{
	struct ext2_inode inode = {.i_mode = LINUX_S_IFREG | 0644, .i_links_count = NAMES};
	ext2_ino_t ino, names = new_dir(fs, EXT2_ROOT_INO, "names");
	char name[8];

	assert_int_equal(ext2fs_new_inode(fs, names, inode.i_mode, NULL, &ino), 0);
	ext2fs_inode_alloc_stats2(fs, ino, 1, 0);
	assert_int_equal(ext2fs_write_new_inode(fs, ino, &inode), 0);
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "%04x", i);
		assert_int_equal(ext2fs_link(fs, names, name, ino, EXT2_FT_REG_FILE), 0);
	}
	assert_int_equal(ext2fs_read_inode(fs, names, &inode), 0);
	return inode.i_block[0];
}

static void shared_by_many(ext2_filsys fs)
{
	blk_t blk = many_names(fs);
	struct ext2_inode inode;
	char name[16];

	for (unsigned i = 0; i < 7000; i++) {
		ext2_ino_t ino;

		snprintf(name, sizeof(name), "d%04u", i);
		ino = new_dir(fs, EXT2_ROOT_INO, name);
		assert_int_equal(ext2fs_read_inode(fs, ino, &inode), 0);
		ext2fs_block_alloc_stats2(fs, inode.i_block[0], -1);
		inode.i_block[0] = blk;
		assert_int_equal(ext2fs_write_inode(fs, ino, &inode), 0);
	}
}

/* All of an indirect block, in each of a few directories. */
static void shared_in_one(ext2_filsys fs)
{
	blk_t blk = many_names(fs), indirect[1024], map;
	struct ext2_inode inode;
	ext2_ino_t ino = new_dir(fs, EXT2_ROOT_INO, "d");

	for (unsigned i = 0; i < 1024; i++)
		indirect[i] = blk;
	assert_int_equal(ext2fs_new_block(fs, 0, NULL, &map), 0);
	ext2fs_block_alloc_stats(fs, map, 1);
	assert_int_equal(io_channel_write_blk64(fs->io, map, 1, indirect), 0);
	assert_int_equal(ext2fs_read_inode(fs, ino, &inode), 0);
	for (unsigned i = 1; i < EXT2_NDIR_BLOCKS; i++)
		inode.i_block[i] = blk;
	inode.i_block[EXT2_IND_BLOCK] = map;
	inode.i_size = (1024 + EXT2_NDIR_BLOCKS) * 4096;
	assert_int_equal(ext2fs_write_inode(fs, ino, &inode), 0);
}

/* Each in the one before, with long names. */
static void deep(ext2_filsys fs)
{
	ext2_ino_t ino = EXT2_ROOT_INO;
	char name[251];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (unsigned i = 0; i < 7000; i++)
		ino = new_dir(fs, ino, name);
}

/* ---- what they cost -------------------------------------------------------------- */

/* In a child: exits with 0 for an answer, 1 for "damaged", 2 for anything else. */
static void compare(void)
{
	struct bowimg_error err = {0};
	struct diff_pair p;
	struct bow_diff *d;
	int rc;

	diff_pair_open(&p, now, before);
	rc = diff_pair_run(&p, false, &d, &err);
	if (rc)
		fprintf(stderr, "%s\n", err.message);
	_exit(!rc ? 0 : rc == -EUCLEAN ? 1 : 2);
}

/* Returns how it exits. */
static int assert_cheap(void (*make)(ext2_filsys fs))
{
	ext2_filsys fs = begin();
	struct rusage used;
	int status = -1;
	pid_t pid;

	make(fs);
	assert_int_equal(ext2fs_close(fs), 0);
	pid = fork();
	if (pid == 0)
		compare();
	assert_true(pid > 0 && wait4(pid, &status, 0, &used) == pid);
	if (!SANITIZED)
		assert_in_range(used.ru_maxrss, 1, MIB_MAX * 1024);
	assert_in_range(used.ru_utime.tv_sec + used.ru_stime.tv_sec, 0, SECONDS_MAX);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_block_of_names_that_many_directories_have_is_damage(void **state)
{
	(void)state;
	assert_int_equal(assert_cheap(shared_by_many), 1);
}

static void a_block_of_names_that_one_directory_has_many_times_is_damage(void **state)
{
	(void)state;
	assert_int_equal(assert_cheap(shared_in_one), 1);
}

static void directories_in_directories_do_not_fill_the_memory_with_paths(void **state)
{
	(void)state;
	assert_int_not_equal(assert_cheap(deep), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_of_names_that_many_directories_have_is_damage),
		cmocka_unit_test(a_block_of_names_that_one_directory_has_many_times_is_damage),
		cmocka_unit_test(directories_in_directories_do_not_fill_the_memory_with_paths),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
