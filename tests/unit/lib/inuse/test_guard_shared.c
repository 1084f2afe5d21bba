/* SPDX-License-Identifier: MIT */
/* Images that are looked at for a while: who may have them meanwhile, and who may not. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/guard_fixture.h"

static int act_open_exclusive(struct guard_fixture *t)
{
	return bow_disk_open_file(t->image, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, NULL) != 0;
}

static int act_open_shared(struct guard_fixture *t)
{
	return bow_disk_open_file(t->image, BOW_OPEN_SHARED, NULL, &t->dev, NULL) != 0;
}

static int act_open_for_writing(struct guard_fixture *t)
{
	return open(t->image, O_RDWR) < 0;
}

/* What a virtual machine holds that writes to the disk. */
static int act_lock_as_qemu(struct guard_fixture *t)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int fd = open(t->image, O_RDONLY);

	return fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0;
}

static void open_shared(struct guard_fixture *t)
{
	struct bowimg_error err = {0};

	if (bow_disk_open_file(t->image, BOW_OPEN_SHARED, NULL, &t->dev, &err))
		fail_msg("%s (%s)", err.message, err.hint);
}

static void assert_not_shared(struct guard_fixture *t, const char *words)
{
	struct bowimg_error err = {0};
	int rc = bow_disk_open_file(t->image, BOW_OPEN_SHARED, NULL, &t->dev, &err);

	if (rc != -EBUSY || !strstr(err.message, "in use: ") || !strstr(err.message, words) ||
	    !err.hint[0])
		fail_msg("%d \"%s\" (%s)", rc, err.message, err.hint);
}

static void several_may_look_at_once(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_open_shared);
	open_shared(t);
	guard_close(t);
	assert_int_equal(guard_end_child(t), 0);
}

static void nobody_may_write_while_somebody_looks(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_open_shared);
	guard_assert_busy(t, t->image, "has locked it", "end process");
	assert_int_equal(guard_end_child(t), 0);
	guard_open(t, t->image);
}

static void nobody_may_look_while_somebody_writes(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_open_exclusive);
	assert_not_shared(t, "has locked it");
	assert_int_equal(guard_end_child(t), 0);
	open_shared(t);
}

static void one_who_locks_nothing_but_may_write_is_seen(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_open_for_writing);
	assert_not_shared(t, "has it open");
}

static void a_virtual_machine_that_writes_is_seen(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_lock_as_qemu);
	assert_not_shared(t, "holds locks on it as QEMU does");
}

static void a_file_that_may_only_be_read_can_be_looked_at(void **state)
{
	struct guard_fixture *t = *state;
	uint8_t byte;

	assert_int_equal(chmod(t->image, 0444), 0);
	open_shared(t);
	assert_true(t->dev->readonly);
	assert_int_equal(bow_disk_read(t->dev, &byte, 1, 0, NULL), 0);
	assert_int_equal(bow_disk_write(t->dev, &byte, 1, 0, NULL), -EROFS);
}

static void qemu_may_read_but_not_write_what_is_looked_at(void **state)
{
	struct guard_fixture *t = *state;

	host_require(host_has_tool("qemu-io") && host_has_tool("qemu-img"), "qemu-io, qemu-img");
	open_shared(t);
	assert_int_not_equal(host_run("qemu-io -f raw -c 'write 0 512' %s", t->image), 0);
	assert_int_equal(host_run("qemu-img info %s", t->image), 0);
	assert_int_equal(host_run("qemu-io -r -f raw -c 'read 0 512' %s", t->image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(several_may_look_at_once),
		GUARD_TEST(nobody_may_write_while_somebody_looks),
		GUARD_TEST(nobody_may_look_while_somebody_writes),
		GUARD_TEST(one_who_locks_nothing_but_may_write_is_seen),
		GUARD_TEST(a_virtual_machine_that_writes_is_seen),
		GUARD_TEST(a_file_that_may_only_be_read_can_be_looked_at),
		GUARD_TEST(qemu_may_read_but_not_write_what_is_looked_at),
	};

	return cmocka_run_group_tests_name("guard_shared", tests, NULL, NULL);
}
