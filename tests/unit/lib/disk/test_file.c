/* SPDX-License-Identifier: MIT */
/* The backend for files and block devices, on real file systems and loop devices. */
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/base/bytes.h"
#include "lib/disk/disk.h"
#include "lib/disk/file.h"
#include "lib/host.h"

#define SIZE (1u << 20)

struct file_test {
	char dir[HOST_PATH_BYTES], image[HOST_PATH_BYTES + 16], mount[HOST_PATH_BYTES + 16];
	char loop[HOST_LOOP_BYTES];
	struct bowimg_disk *dev;
};

static int set_up(void **state)
{
	struct file_test *t = calloc(1, sizeof(*t));

	*state = t;
	if (!t || !host_temp_dir(t->dir))
		return -1;
	snprintf(t->image, sizeof(t->image), "%s/disk.img", t->dir);
	snprintf(t->mount, sizeof(t->mount), "%s/mnt", t->dir);
	return mkdir(t->mount, 0700) == 0 && host_make_file(t->image, SIZE) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct file_test *t = *state;
	int rc = bow_disk_close(t->dev, NULL);

	host_run("mountpoint -q %s && umount %s", t->mount, t->mount);
	host_loop_detach(t->loop);
	host_remove_tree(t->dir);
	free(t);
	return rc;
}

static struct bowimg_disk *open_path(struct file_test *t, const char *path, enum bow_open_mode mode)
{
	struct bowimg_error err = {0};

	if (bow_disk_open_file(path, mode, NULL, &t->dev, &err))
		fail_msg("%s (%s)", err.message, err.hint);
	return t->dev;
}

static uint64_t allocated(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static void fill(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	uint8_t buf[4096];

	memset(buf, 0xa5, sizeof(buf));
	for (uint64_t done = 0; done < bytes; done += sizeof(buf))
		assert_int_equal(bow_disk_write(dev, buf, bow_min(sizeof(buf), bytes - done),
						off + done, NULL),
				 0);
}

static void assert_content(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, uint8_t wanted)
{
	uint8_t *buf = malloc(bytes);

	assert_non_null(buf);
	assert_int_equal(bow_disk_read(dev, buf, bytes, off, NULL), 0);
	for (uint64_t i = 0; i < bytes; i++)
		if (buf[i] != wanted)
			fail_msg("byte %llu is %u", (unsigned long long)(off + i), buf[i]);
	free(buf);
}

static void a_regular_file_is_served(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_EXCLUSIVE);

	assert_true(dev->size == SIZE && dev->sector_size == 512 && dev->can_grow);
	assert_false(dev->readonly);
	assert_string_equal(dev->name, t->image);
	fill(dev, 1, 10000);
	assert_content(dev, 1, 10000, 0xa5);
	assert_content(dev, 0, 1, 0);
	assert_content(dev, 10001, SIZE - 10001, 0);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_int_equal(bow_disk_drop_cache(dev, 0, 0, NULL), 0);
	assert_content(dev, 1, 10000, 0xa5);
}

static void a_looked_at_file_is_not_written(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_LOOK);

	assert_true(dev->readonly && !dev->can_grow);
	assert_int_equal(bow_disk_write(dev, "x", 1, 0, NULL), -EROFS);
	assert_content(dev, 0, SIZE, 0);
}

static void punching_gives_space_back_and_keeping_does_not(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_EXCLUSIVE);
	uint64_t full;

	fill(dev, 0, SIZE);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	full = allocated(t->image);
	assert_true(full >= SIZE);
	assert_int_equal(bow_disk_zero(dev, 65536, 131072, BOW_ZERO_KEEP, NULL), 0);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_true(allocated(t->image) >= SIZE);
	assert_int_equal(bow_disk_zero(dev, 65536, 131072, BOW_ZERO_PUNCH, NULL), 0);
	assert_int_equal(bow_disk_zero(dev, SIZE / 2 + 3, 5001, BOW_ZERO_PUNCH, NULL), 0);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_true(allocated(t->image) <= full - 131072 + 8192);
	assert_content(dev, 65536, 131072, 0);
	assert_content(dev, SIZE / 2 + 3, 5001, 0);
	assert_content(dev, SIZE / 2, 3, 0xa5);
	assert_content(dev, SIZE / 2 + 3 + 5001, 4096, 0xa5);
	assert_true(file_size(t->image) == SIZE);
}

static void holes_are_found(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_EXCLUSIVE);
	uint64_t bytes;
	bool hole;

	fill(dev, 65536, 8192);
	assert_int_equal(bow_disk_extent(dev, 10, &hole, &bytes, NULL), 0);
	assert_true(hole && bytes == 65526);
	assert_int_equal(bow_disk_extent(dev, 65537, &hole, &bytes, NULL), 0);
	assert_true(!hole && bytes == 8191);
	assert_int_equal(bow_disk_extent(dev, 73728, &hole, &bytes, NULL), 0);
	assert_true(hole && bytes == SIZE - 73728);
	fill(dev, SIZE - 4096, 4096);
	assert_int_equal(bow_disk_extent(dev, SIZE - 1, &hole, &bytes, NULL), 0);
	assert_true(!hole && bytes == 1);
}

static void growing_allocates_and_shrinking_gives_back(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_EXCLUSIVE);

	assert_int_equal(bow_disk_resize(dev, 2 * SIZE + 100, NULL), 0);
	assert_true(dev->size == 2 * SIZE + 100 && file_size(t->image) == dev->size);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_true(allocated(t->image) >= SIZE);
	assert_content(dev, SIZE, SIZE + 100, 0);
	fill(dev, SIZE, SIZE);
	assert_int_equal(bow_disk_resize(dev, SIZE, NULL), 0);
	assert_true(dev->size == SIZE && file_size(t->image) == SIZE);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_int_equal(allocated(t->image), 0);
	assert_int_equal(bow_disk_resize(dev, SIZE + 8192, NULL), 0);
	assert_content(dev, SIZE, 8192, 0); /* not what was there before */
}

static void space_can_be_reserved_past_the_end(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_EXCLUSIVE);

	assert_int_equal(bow_disk_reserve(dev, SIZE, NULL), 0);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_true(file_size(t->image) == SIZE && dev->size == SIZE);
	assert_true(allocated(t->image) >= SIZE);
	fill(dev, SIZE, 4096);
	assert_true(dev->size == SIZE + 4096 && file_size(t->image) == SIZE + 4096);
	assert_int_equal(bow_disk_resize(dev, SIZE + 4096, NULL), 0);
	assert_true(allocated(t->image) < SIZE);
}

static void the_mtime_can_be_put_back_exactly(void **state)
{
	struct file_test *t = *state;
	struct bowimg_disk *dev = open_path(t, t->image, BOW_OPEN_EXCLUSIVE);
	const struct timespec wanted = {.tv_sec = 1234567890, .tv_nsec = 123456789};
	struct timespec got = {0};

	fill(dev, 0, 4096);
	assert_int_equal(bow_disk_set_mtime(dev, &wanted, NULL), 0);
	assert_true(bow_disk_get_mtime(dev, &got));
	assert_true(got.tv_sec == wanted.tv_sec && got.tv_nsec == wanted.tv_nsec);
}

/* On tmpfs there is no ZERO_RANGE: zeros are written. */
static void a_file_system_without_zero_range_works_too(void **state)
{
	struct file_test *t = *state;
	char path[HOST_PATH_BYTES + 32];
	struct bowimg_disk *dev;

	host_require(host_can_loop(), "root, for a mount");
	assert_int_equal(host_run("mount -t tmpfs -o size=8m none %s", t->mount), 0);
	snprintf(path, sizeof(path), "%s/disk.img", t->mount);
	assert_true(host_make_file(path, SIZE));
	dev = open_path(t, path, BOW_OPEN_EXCLUSIVE);
	fill(dev, 0, SIZE);
	assert_int_equal(bow_disk_zero(dev, 5, 300000, BOW_ZERO_KEEP, NULL), 0);
	assert_content(dev, 5, 300000, 0);
	assert_content(dev, 0, 5, 0xa5);
	assert_true(allocated(path) >= SIZE);
	assert_int_equal(bow_disk_close(dev, NULL), 0);
	t->dev = NULL;
}

static void a_full_host_refuses_growth_and_changes_nothing(void **state)
{
	struct file_test *t = *state;
	char path[HOST_PATH_BYTES + 32];
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;

	host_require(host_can_loop(), "root, for a mount");
	assert_int_equal(host_run("mount -t tmpfs -o size=4m none %s", t->mount), 0);
	snprintf(path, sizeof(path), "%s/disk.img", t->mount);
	assert_true(host_make_file(path, SIZE));
	dev = open_path(t, path, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_resize(dev, 16 * SIZE, &err), -ENOSPC);
	assert_non_null(strstr(err.message, path));
	assert_non_null(strstr(err.hint, "make room"));
	assert_true(dev->size == SIZE && file_size(path) == SIZE);
	assert_int_equal(bow_disk_reserve(dev, 16 * SIZE, &err), -ENOSPC);
	assert_true(dev->size == SIZE && file_size(path) == SIZE);
	assert_int_equal(bow_disk_resize(dev, 2 * SIZE, &err), 0);
	assert_int_equal(bow_disk_close(dev, NULL), 0);
	t->dev = NULL;
}

/* An ext2 without extents has no fallocate(): growth is written, a reservation is refused. */
static void a_file_system_without_fallocate_works_too(void **state)
{
	struct file_test *t = *state;
	char fs[HOST_PATH_BYTES + 16], path[HOST_PATH_BYTES + 32];
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;

	host_require(host_can_loop() && host_has_tool("mkfs.ext2"), "root and mkfs.ext2");
	snprintf(fs, sizeof(fs), "%s/ext2.img", t->dir);
	assert_true(host_make_file(fs, 16 * SIZE));
	assert_int_equal(host_run("mkfs.ext2 -q %s", fs), 0);
	assert_int_equal(host_loop_attach(fs, 0, 0, t->loop), 0);
	assert_int_equal(host_run("mount -t ext2 %s %s", t->loop, t->mount), 0);
	snprintf(path, sizeof(path), "%s/disk.img", t->mount);
	assert_true(host_make_file(path, SIZE));
	dev = open_path(t, path, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_reserve(dev, SIZE, &err), -EOPNOTSUPP);
	assert_int_equal(bow_disk_resize(dev, 2 * SIZE, &err), 0);
	assert_content(dev, SIZE, SIZE, 0);
	assert_true(allocated(path) >= SIZE);
	assert_int_equal(bow_disk_resize(dev, 64 * SIZE, &err), -ENOSPC);
	assert_true(dev->size == 2 * SIZE && file_size(path) == 2 * SIZE);
	fill(dev, 0, SIZE);
	assert_int_equal(bow_disk_zero(dev, 100, 50000, BOW_ZERO_KEEP, NULL), 0);
	assert_content(dev, 100, 50000, 0);
	assert_int_equal(bow_disk_close(dev, NULL), 0);
	t->dev = NULL;
}

static void try_block_device(struct file_test *t, uint32_t sector_bytes)
{
	struct bowimg_error err = {0};
	struct timespec time;
	struct bowimg_disk *dev;
	struct bow_room room;
	uint64_t bytes;
	bool hole;

	host_require(host_can_loop(), "root and loop devices");
	assert_int_equal(host_loop_attach(t->image, 0, sector_bytes, t->loop), 0);
	dev = open_path(t, t->loop, BOW_OPEN_EXCLUSIVE);
	assert_true(dev->size == SIZE && dev->sector_size == sector_bytes && !dev->can_grow);
	fill(dev, 0, SIZE);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_int_equal(bow_disk_zero(dev, 65536, 65536, BOW_ZERO_PUNCH, NULL), 0);
	assert_int_equal(bow_disk_zero(dev, 262144, 65536, BOW_ZERO_KEEP, NULL), 0);
	assert_int_equal(bow_disk_zero(dev, 400001, 1001, BOW_ZERO_KEEP, NULL), 0);
	assert_int_equal(bow_disk_flush(dev, NULL), 0);
	assert_int_equal(bow_disk_drop_cache(dev, 0, 0, NULL), 0);
	assert_content(dev, 65536, 65536, 0);
	assert_content(dev, 262144, 65536, 0);
	assert_content(dev, 400001, 1001, 0);
	assert_content(dev, 400000, 1, 0xa5);
	assert_content(dev, 401002, SIZE - 401002, 0xa5);
	assert_int_equal(bow_disk_extent(dev, 65536, &hole, &bytes, NULL), 0);
	assert_true(!hole && bytes == SIZE - 65536);
	assert_int_equal(bow_disk_write(dev, "x", 1, SIZE, &err), -EINVAL);
	assert_int_equal(bow_disk_resize(dev, 2 * SIZE, &err), -EOPNOTSUPP);
	assert_false(bow_disk_get_mtime(dev, &time));
	assert_false(bow_disk_room(dev, &room));
	assert_int_equal(bow_disk_close(dev, NULL), 0);
	t->dev = NULL;
}

static void a_block_device_is_served(void **state)
{
	try_block_device(*state, 512);
}

static void a_block_device_with_large_sectors_is_served(void **state)
{
	try_block_device(*state, 4096);
}

static void a_write_protected_block_device_is_refused_by_that_name(void **state)
{
	struct file_test *t = *state;
	struct bowimg_error err = {0};

	host_require(host_can_loop(), "root and loop devices");
	assert_int_equal(host_loop_attach(t->image, LO_FLAGS_READ_ONLY, 0, t->loop), 0);
	assert_int_equal(bow_disk_open_file(t->loop, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, &err),
			 -EROFS);
	assert_non_null(strstr(err.message, "write-protected"));
	assert_non_null(strstr(err.hint, "blockdev --setrw /dev/loop"));
	open_path(t, t->loop, BOW_OPEN_LOOK);
	assert_content(t->dev, 0, SIZE, 0);
}

static void a_file_tells_the_room_on_its_host(void **state)
{
	struct file_test *t = *state;
	char path[sizeof(t->mount) + 16];
	struct statvfs fs;
	struct bow_room room;

	host_require(host_can_loop(), "root and loop devices");
	assert_int_equal(host_run("mount -t tmpfs -o size=1M bowimg %s", t->mount), 0);
	snprintf(path, sizeof(path), "%s/disk.img", t->mount);
	assert_true(host_make_file(path, SIZE));
	open_path(t, path, BOW_OPEN_EXCLUSIVE);
	assert_true(bow_disk_room(t->dev, &room));
	assert_int_equal(room.left, SIZE);
	assert_int_equal(room.allocated, 0);
	fill(t->dev, 0, SIZE / 4);
	assert_true(bow_disk_room(t->dev, &room));
	assert_int_equal(room.left, SIZE - SIZE / 4);
	assert_int_equal(room.allocated, SIZE / 4);
	assert_int_equal(statvfs(path, &fs), 0);
	assert_int_equal(room.left, (uint64_t)fs.f_bavail * fs.f_frsize);
	assert_int_equal(bow_disk_close(t->dev, NULL), 0);
	t->dev = NULL;
}

static void odd_answers_of_a_host_mean_that_it_is_not_known(void **state)
{
	static const struct statvfs odd[] = {
		{.f_frsize = 0, .f_blocks = 100, .f_bavail = 50},
		{.f_frsize = 4096, .f_blocks = 0, .f_bavail = 0},
		{.f_frsize = 4096, .f_blocks = (fsblkcnt_t)-1, .f_bavail = (fsblkcnt_t)-1},
		{.f_frsize = 4096, .f_blocks = (fsblkcnt_t)-1, .f_bavail = 1},
		{.f_frsize = 4096, .f_blocks = 100, .f_bavail = (fsblkcnt_t)-1},
		{.f_frsize = 4096, .f_blocks = 100, .f_bavail = 101},
		{.f_frsize = 4096,
		 .f_blocks = UINT64_MAX / 4096 + 2,
		 .f_bavail = UINT64_MAX / 4096 + 1},
	};
	const struct statvfs full = {.f_frsize = 4096, .f_blocks = 100, .f_bfree = 5};
	const struct statvfs some = {
		.f_frsize = 512, .f_bsize = 4096, .f_blocks = 9, .f_bavail = 9};
	uint64_t left = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_false(bow_file_room_left(&odd[i], &left));
	assert_int_equal(left, 1);
	assert_true(bow_file_room_left(&full, &left));
	assert_int_equal(left, 0);
	assert_true(bow_file_room_left(&some, &left));
	assert_int_equal(left, 9 * 512);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_regular_file_is_served),
		TEST(a_looked_at_file_is_not_written),
		TEST(punching_gives_space_back_and_keeping_does_not),
		TEST(holes_are_found),
		TEST(growing_allocates_and_shrinking_gives_back),
		TEST(space_can_be_reserved_past_the_end),
		TEST(the_mtime_can_be_put_back_exactly),
		TEST(a_file_system_without_zero_range_works_too),
		TEST(a_full_host_refuses_growth_and_changes_nothing),
		TEST(a_file_system_without_fallocate_works_too),
		TEST(a_file_tells_the_room_on_its_host),
		TEST(odd_answers_of_a_host_mean_that_it_is_not_known),
		TEST(a_block_device_is_served),
		TEST(a_block_device_with_large_sectors_is_served),
		TEST(a_write_protected_block_device_is_refused_by_that_name),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
