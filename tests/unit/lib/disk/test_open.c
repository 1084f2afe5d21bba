/* SPDX-License-Identifier: MIT */
/* What is no image, or may not be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/guard_fixture.h"

static void assert_refused(struct guard_fixture *t, const char *path, int code, const char *word)
{
	for (int mode = BOW_OPEN_LOOK; mode <= BOW_OPEN_EXCLUSIVE; mode++) {
		struct bowimg_error err = {0};
		int rc = bow_disk_open_file(path, (enum bow_open_mode)mode, NULL, &t->dev, &err);

		if (rc != code || !strstr(err.message, word) || !strstr(err.message, path) ||
		    !err.hint[0])
			fail_msg("%d \"%s\" (%s); expected %d", rc, err.message, err.hint, code);
	}
}

static void what_is_no_image_is_called_by_its_name(void **state)
{
	struct guard_fixture *t = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	assert_refused(t, t->dir, -EOPNOTSUPP, "a directory");
	assert_refused(t, "/dev/null", -EOPNOTSUPP, "a character device");
	assert_int_equal(mkfifo(t->other, 0600), 0);
	assert_refused(t, t->other, -EOPNOTSUPP, "a FIFO");
	assert_int_equal(unlink(t->other), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", t->other);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_refused(t, t->other, -EOPNOTSUPP, "a socket");
	assert_int_equal(unlink(t->other), 0);
	assert_refused(t, t->other, -ENOENT, "No such file");
	assert_true(host_make_file(t->other, 0));
	assert_refused(t, t->other, -EOPNOTSUPP, "empty");
	assert_int_equal(unlink(t->other), 0);
	assert_int_equal(symlink("disk.img", t->other), 0);
	guard_open(t, t->other); /* a symbolic link is followed */
}

/* Exit status: 0 if the open was refused with EACCES and says so. */
static int act_open_as_nobody(struct guard_fixture *t)
{
	struct bowimg_error err = {0};

	if (setgid(GUARD_NOBODY) < 0 || setuid(GUARD_NOBODY) < 0)
		return 2;
	return bow_disk_open_file(t->image, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, &err) != -EACCES ||
	       !strstr(err.hint, "root");
}

/* An owner may take leases and locks without any capability. */
static int act_open_as_owner(struct guard_fixture *t)
{
	if (setgid(GUARD_NOBODY) < 0 || setuid(GUARD_NOBODY) < 0)
		return 2;
	return bow_disk_open_file(t->image, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, NULL) != 0;
}

static void a_file_one_may_not_write_is_refused(void **state)
{
	struct guard_fixture *t = *state;

	host_require(geteuid() == 0, "root, to become somebody else");
	assert_int_equal(chmod(t->dir, 0755), 0);
	assert_int_equal(chmod(t->image, 0444), 0);
	guard_in_child(t, act_open_as_nobody);
}

static void an_ordinary_owner_needs_no_privileges(void **state)
{
	struct guard_fixture *t = *state;

	host_require(geteuid() == 0, "root, to become somebody else");
	assert_int_equal(chmod(t->dir, 0755), 0);
	assert_int_equal(chown(t->image, GUARD_NOBODY, GUARD_NOBODY), 0);
	guard_in_child(t, act_open_as_owner);
	guard_assert_busy(t, t->image, "has locked it", "");
}

static void a_file_on_a_read_only_mount_is_refused(void **state)
{
	struct guard_fixture *t = *state;
	char path[HOST_PATH_BYTES + 32];
	struct bowimg_error err = {0};

	host_require(geteuid() == 0, "root, for a mount");
	assert_int_equal(host_run("mount -t tmpfs -o size=1m none '%s'", t->mount), 0);
	snprintf(path, sizeof(path), "%s/disk.img", t->mount);
	assert_true(host_make_file(path, 65536));
	assert_int_equal(host_run("mount -o remount,ro '%s'", t->mount), 0);
	assert_int_equal(bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, &err), -EROFS);
	assert_non_null(strstr(err.hint, "remount,rw"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(what_is_no_image_is_called_by_its_name),
		GUARD_TEST(a_file_one_may_not_write_is_refused),
		GUARD_TEST(an_ordinary_owner_needs_no_privileges),
		GUARD_TEST(a_file_on_a_read_only_mount_is_refused),
	};

	return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}
