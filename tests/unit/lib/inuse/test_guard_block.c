/* SPDX-License-Identifier: MIT */
/* What the kernel does with an image: loop devices, mounts, partitions, swap. */
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/guard_fixture.h"

static void an_attached_loop_device_is_named(void **state)
{
	struct guard_fixture *t = *state;
	char words[64], hint[64];

	host_require(host_can_loop(), "root and loop devices");
	assert_int_equal(host_loop_attach(t->image, 0, 0, t->loop), 0);
	snprintf(words, sizeof(words), "%s is attached to it", t->loop);
	snprintf(hint, sizeof(hint), "losetup -d %s", t->loop);
	guard_assert_busy(t, t->image, words, hint);
	assert_int_equal(link(t->image, t->other), 0);
	guard_assert_busy(t, t->other, words, hint);
	host_loop_detach(t->loop);
	t->loop[0] = '\0';
	guard_open(t, t->image);
}

static void a_mount_through_a_loop_device_is_named(void **state)
{
	struct guard_fixture *t = *state;
	char hint[256], words[256];

	host_require(host_can_loop() && host_has_tool("mkfs.ext4"), "root and mkfs.ext4");
	assert_int_equal(host_run("mkfs.ext4 -q %s", t->image), 0);
	assert_int_equal(host_loop_attach(t->image, 0, 0, t->loop), 0);
	assert_int_equal(host_run("mount %s '%s'", t->loop, t->mount), 0);
	snprintf(words, sizeof(words), "%s is attached to it, mounted on %s", t->loop, t->mount);
	snprintf(hint, sizeof(hint), "umount '%s'; losetup -d %s", t->mount, t->loop);
	guard_assert_busy(t, t->image, words, hint);
}

static void a_mounted_block_device_is_refused(void **state)
{
	struct guard_fixture *t = *state;

	host_require(host_can_loop() && host_has_tool("mkfs.ext4"), "root and mkfs.ext4");
	assert_int_equal(host_run("mkfs.ext4 -q %s", t->image), 0);
	assert_int_equal(host_loop_attach(t->image, 0, 0, t->loop), 0);
	guard_open(t, t->loop); /* attached, but not in use */
	assert_int_not_equal(host_run("mount %s '%s'", t->loop, t->mount), 0);
	guard_close(t);
	assert_int_equal(host_run("mount %s '%s'", t->loop, t->mount), 0);
	guard_assert_busy(t, t->loop, "mounted on", "umount");
}

/* Tells the kernel of a partition from 1 MiB to 5 MiB; it need not know any partition table. */
static void add_partition(const char *disk)
{
	struct blkpg_partition part = {.start = 1 << 20, .length = 4 << 20, .pno = 1};
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part};
	int fd = open(disk, O_RDWR | O_CLOEXEC), rc = ioctl(fd, BLKPG, &arg);

	close(fd);
	assert_int_equal(rc, 0);
}

static void a_disk_with_a_mounted_partition_is_refused(void **state)
{
	struct guard_fixture *t = *state;
	char words[256], part[HOST_LOOP_BYTES + 4];

	host_require(host_can_loop() && host_has_tool("mkfs.ext4"), "root and mkfs.ext4");
	assert_int_equal(host_loop_attach(t->image, LO_FLAGS_PARTSCAN, 0, t->loop), 0);
	snprintf(part, sizeof(part), "%sp1", t->loop);
	add_partition(t->loop);
	assert_int_equal(host_run("mkfs.ext4 -q %s", part), 0);
	assert_int_equal(host_run("mount %s '%s'", part, t->mount), 0);
	snprintf(words, sizeof(words), "%s is mounted on %s", part, t->mount);
	guard_assert_busy(t, t->loop, words, "umount");
	guard_assert_busy(t, part, "mounted on", "umount");
	guard_assert_busy(t, t->image, words, "losetup -d");
}

static void a_loop_device_on_a_block_device_is_named(void **state)
{
	struct guard_fixture *t = *state;
	char upper[HOST_LOOP_BYTES] = "", words[64];
	struct bowimg_error err = {0};
	int rc, attached;

	host_require(host_can_loop(), "root and loop devices");
	assert_int_equal(host_loop_attach(t->image, 0, 0, t->loop), 0);
	attached = host_loop_attach(t->loop, 0, 0, upper);
	rc = bow_disk_open_file(t->loop, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, &err);
	host_loop_detach(upper);
	assert_int_equal(attached, 0);
	assert_int_equal(rc, -EBUSY);
	snprintf(words, sizeof(words), "%s is attached to it", upper);
	assert_non_null(strstr(err.message, words));
}

/* What a program holds that reads the file, and lets nobody write to it. */
static int act_lock_as_qemu(struct guard_fixture *t)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};
	int fd = open(t->image, O_RDONLY);

	return fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0;
}

static int act_open_for_writing(struct guard_fixture *t)
{
	return open(t->image, O_WRONLY) < 0;
}

static void a_loop_device_on_a_file_that_others_use_is_refused(void **state)
{
	struct guard_fixture *t = *state;
	char words[2 * HOST_PATH_BYTES];

	host_require(host_can_loop(), "root and loop devices");
	assert_int_equal(host_loop_attach(t->image, 0, 0, t->loop), 0);
	guard_in_child(t, act_lock_as_qemu);
	snprintf(words, sizeof(words), "has %s locked, which %s is on", t->image, t->loop);
	guard_assert_busy(t, t->loop, words, "fuser -v");
	assert_int_equal(guard_end_child(t), 0);
	guard_in_child(t, act_open_for_writing);
	snprintf(words, sizeof(words), "has %s open for writing, which %s is on", t->image,
		 t->loop);
	guard_assert_busy(t, t->loop, words, "end process");
	assert_int_equal(guard_end_child(t), 0);
	guard_open(t, t->loop);
}

static void swap_space_is_refused(void **state)
{
	struct guard_fixture *t = *state;

	host_require(host_can_loop() && host_has_tool("mkswap"), "root and mkswap");
	assert_int_equal(host_run("dd if=/dev/zero of=%s bs=1M count=8 conv=fsync", t->image), 0);
	assert_int_equal(host_run("PATH=$PATH:/sbin mkswap %s", t->image), 0);
	host_require(host_run("PATH=$PATH:/sbin swapon %s", t->image) == 0, "permission to swap");
	snprintf(t->swap, sizeof(t->swap), "%s", t->image);
	guard_assert_busy(t, t->image, "swap", "swapoff");
	assert_int_equal(host_run("PATH=$PATH:/sbin swapoff %s", t->image), 0);
	t->swap[0] = '\0';
	assert_int_equal(host_loop_attach(t->image, 0, 0, t->loop), 0);
	assert_int_equal(host_run("PATH=$PATH:/sbin swapon %s", t->loop), 0);
	snprintf(t->swap, sizeof(t->swap), "%s", t->loop);
	guard_assert_busy(t, t->loop, "swap", "swapoff");
	guard_assert_busy(t, t->image, "is active swap space", "swapoff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(an_attached_loop_device_is_named),
		GUARD_TEST(a_mount_through_a_loop_device_is_named),
		GUARD_TEST(a_mounted_block_device_is_refused),
		GUARD_TEST(a_disk_with_a_mounted_partition_is_refused),
		GUARD_TEST(a_loop_device_on_a_block_device_is_named),
		GUARD_TEST(a_loop_device_on_a_file_that_others_use_is_refused),
		GUARD_TEST(swap_space_is_refused),
	};

	return cmocka_run_group_tests_name("guard_block", tests, NULL, NULL);
}
