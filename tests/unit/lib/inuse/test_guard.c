/* SPDX-License-Identifier: MIT */
/* Other processes that have an image: bowimg, QEMU, anybody; and several starting at once. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/guard_fixture.h"

/* ---- other programs that have the file ------------------------------------------- */

static int act_open_exclusive(struct guard_fixture *t)
{
	return bow_disk_open_file(t->image, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, NULL) != 0;
}

static int act_open_for_reading(struct guard_fixture *t)
{
	return open(t->image, O_RDONLY) < 0;
}

static int act_flock(struct guard_fixture *t)
{
	int fd = open(t->image, O_RDONLY);

	return fd < 0 || flock(fd, LOCK_EX) < 0;
}

static void a_second_process_is_refused_until_the_first_ends(void **state)
{
	struct guard_fixture *t = *state;
	char process[64];

	guard_in_child(t, act_open_exclusive);
	snprintf(process, sizeof(process), "process %d (%.15s) has locked", (int)t->child,
		 program_invocation_short_name);
	guard_assert_busy(t, t->image, process, "end process");
	assert_int_equal(guard_end_child(t), 0);
	guard_open(t, t->image);
}

static void a_second_open_in_one_process_is_refused(void **state)
{
	struct guard_fixture *t = *state;
	struct bowimg_disk *first;

	guard_open(t, t->image);
	first = t->dev;
	guard_assert_busy(t, t->image, "has locked it", "");
	assert_ptr_equal(t->dev, first); /* out-parameters are written on success only */
}

static void a_file_somebody_merely_has_open_is_refused(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_open_for_reading);
	guard_assert_busy(t, t->image, ") has it open", "end process");
	assert_int_equal(guard_end_child(t), 0);
	guard_open(t, t->image);
}

static void a_file_somebody_locked_is_refused(void **state)
{
	struct guard_fixture *t = *state;

	guard_in_child(t, act_flock);
	guard_assert_busy(t, t->image, ") has locked it", "end process");
}

static void a_locked_image_can_be_looked_at_and_says_so(void **state)
{
	struct guard_fixture *t = *state;
	struct bowimg_disk *look = NULL;
	bool used_before, used_meanwhile;

	assert_int_equal(bow_disk_open_file(t->image, BOW_OPEN_LOOK, NULL, &look, NULL), 0);
	used_before = bow_disk_file_in_use(look);
	assert_int_equal(bow_disk_close(look, NULL), 0);
	guard_in_child(t, act_open_exclusive);
	assert_int_equal(bow_disk_open_file(t->image, BOW_OPEN_LOOK, NULL, &look, NULL), 0);
	used_meanwhile = bow_disk_file_in_use(look);
	guard_end_child(t);
	assert_false(used_before);
	assert_true(used_meanwhile);
	assert_false(bow_disk_file_in_use(look));
	assert_int_equal(bow_disk_close(look, NULL), 0);
}

/* ---- races ----------------------------------------------------------------------- */

#define RACERS 6

/* Waits for the start, tries, tells, and keeps what it got until `hold` is closed. */
static void race(const char *image, int start, int told, int hold)
{
	struct bowimg_disk *dev = NULL;
	char byte = 0, won;

	if (read(start, &byte, 1) < 0)
		_exit(1);
	won = bow_disk_open_file(image, BOW_OPEN_EXCLUSIVE, NULL, &dev, NULL) == 0;
	if (write(told, &won, 1) != 1 || read(hold, &byte, 1) < 0)
		_exit(1);
	_exit(0);
}

static int count_winners(const char *image)
{
	int start[2], told[2], hold[2], winners = 0;
	pid_t pids[RACERS];

	if (pipe2(start, O_CLOEXEC) || pipe2(told, O_CLOEXEC) || pipe2(hold, O_CLOEXEC))
		return -1;
	for (int i = 0; i < RACERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			close(start[1]);
			close(hold[1]);
			race(image, start[0], told[1], hold[0]);
		}
	}
	close(start[1]);
	for (int i = 0; i < RACERS; i++) {
		char won = 0;

		winners += read(told[0], &won, 1) == 1 && won;
	}
	close(hold[1]);
	for (int i = 0; i < RACERS; i++)
		waitpid(pids[i], NULL, 0);
	close(start[0]);
	close(told[0]);
	close(told[1]);
	close(hold[0]);
	return winners;
}

static void of_several_at_once_exactly_one_wins(void **state)
{
	struct guard_fixture *t = *state;

	for (int round = 0; round < 20; round++)
		assert_int_equal(count_winners(t->image), 1);
}

static int act_open_and_close(struct guard_fixture *t)
{
	pid_t parent = getppid();

	if (fork() != 0)
		return 0;
	while (getppid() != 1 && kill(parent, 0) == 0) {
		int fd = open(t->image, O_RDONLY | O_NONBLOCK);
		const struct timespec pause = {.tv_nsec = 1000};

		if (fd >= 0)
			close(fd);
		if (access(t->other, F_OK) == 0)
			_exit(0);
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

/* The kernel tells the holder of a lease about others by a signal whose default is to end it. */
static void others_opening_the_file_meanwhile_do_not_kill_us(void **state)
{
	struct guard_fixture *t = *state;
	int opened = 0;

	guard_in_child(t, act_open_and_close);
	for (int i = 0; i < 200; i++) {
		int rc = bow_disk_open_file(t->image, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, NULL);

		assert_true(rc == 0 || rc == -EBUSY);
		if (rc == 0) {
			opened++;
			guard_close(t);
		}
	}
	assert_true(host_make_file(t->other, 1)); /* ends the grandchild */
	assert_true(opened > 0);
}

/* ---- QEMU ------------------------------------------------------------------------ */

/* qemu-io keeps the image open until the pipe on its standard input is closed. */
static void start_qemu_io(struct guard_fixture *t, const char *mode)
{
	int down[2], up[2];
	char answer[512];

	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	t->child = fork();
	assert_true(t->child >= 0);
	if (t->child == 0) {
		dup2(down[0], 0);
		dup2(up[1], 1);
		dup2(up[1], 2);
		execlp("qemu-io", "qemu-io", "-f", "raw", mode, t->image, (char *)NULL);
		_exit(127);
	}
	close(down[0]);
	close(up[1]);
	t->to_child = down[1];
	/* An answer to a command shows that the image is open and locked. */
	assert_int_equal(write(down[1], "length\n", 7), 7);
	assert_true(read(up[0], answer, sizeof(answer)) > 0);
	close(up[0]);
}

static void an_image_open_in_qemu_is_refused(void **state)
{
	struct guard_fixture *t = *state;

	host_require(host_has_tool("qemu-io"), "qemu-io");
	start_qemu_io(t, "-n"); /* -n changes nothing for raw files: open for writing */
	guard_assert_busy(t, t->image, "(qemu-io)", "shut the virtual machine down");
	guard_end_child(t);
	guard_open(t, t->image);
}

static void an_image_open_in_qemu_for_reading_is_refused_too(void **state)
{
	struct guard_fixture *t = *state;

	host_require(host_has_tool("qemu-io"), "qemu-io");
	start_qemu_io(t, "-r");
	guard_assert_busy(t, t->image, "(qemu-io)", "shut the virtual machine down");
}

/* The byte ranges alone, without the lease that sees every opener. */
static void qemus_locks_are_understood(void **state)
{
	struct guard_fixture *t = *state;
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
	const int refused[] = {101, 103, 200, 201, 203}, accepted[] = {100, 102, 202};
	int fd = open(t->image, O_RDWR | O_CLOEXEC);
	struct bowimg_disk *look = NULL;

	assert_true(fd >= 0);
	assert_int_equal(bow_disk_open_file(t->image, BOW_OPEN_LOOK, NULL, &look, NULL), 0);
	for (size_t i = 0; i < 8; i++) {
		bool used;

		lock.l_type = F_RDLCK;
		lock.l_start = i < 5 ? refused[i] : accepted[i - 5];
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
		used = bow_disk_file_in_use(look);
		lock.l_type = F_UNLCK;
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
		if (used != (i < 5))
			fail_msg("byte %lld: %d", (long long)lock.l_start, used);
	}
	close(fd);
	assert_int_equal(bow_disk_close(look, NULL), 0);
}

static void qemu_may_read_but_not_write_what_we_hold(void **state)
{
	struct guard_fixture *t = *state;

	host_require(host_has_tool("qemu-io") && host_has_tool("qemu-img"), "qemu-io, qemu-img");
	guard_open(t, t->image);
	assert_int_not_equal(host_run("qemu-io -f raw -c 'write 0 512' %s", t->image), 0);
	assert_int_equal(host_run("qemu-img info %s", t->image), 0);
	assert_int_equal(host_run("qemu-io -r -f raw -U -c 'read 0 512' %s", t->image), 0);
	guard_close(t);
	assert_int_equal(host_run("qemu-io -f raw -c 'write 0 512' %s", t->image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(a_second_process_is_refused_until_the_first_ends),
		GUARD_TEST(a_second_open_in_one_process_is_refused),
		GUARD_TEST(a_file_somebody_merely_has_open_is_refused),
		GUARD_TEST(a_file_somebody_locked_is_refused),
		GUARD_TEST(a_locked_image_can_be_looked_at_and_says_so),
		GUARD_TEST(of_several_at_once_exactly_one_wins),
		GUARD_TEST(others_opening_the_file_meanwhile_do_not_kill_us),
		GUARD_TEST(an_image_open_in_qemu_is_refused),
		GUARD_TEST(an_image_open_in_qemu_for_reading_is_refused_too),
		GUARD_TEST(qemus_locks_are_understood),
		GUARD_TEST(qemu_may_read_but_not_write_what_we_hold),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
