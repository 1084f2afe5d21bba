/* SPDX-License-Identifier: MIT */
/* Children, the messages between them and us, and programs. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/child.h"
#include "lib/base/message.h"
#include "lib/base/program.h"

#define SPARE_FDS 6

enum { HELLO = 1, GOODBYE };

/* ---- children -------------------------------------------------------------------- */

static int answer(int sock, void *ctx)
{
	struct bowimg_error err = {.code = -ENOSPC, .message = "it is full", .hint = "free some"};
	const int *status = ctx;

	if (bow_message_recv(sock, HELLO, "the parent", NULL))
		return 1;
	return bow_message_send(sock, GOODBYE, *status ? &err : NULL) ? 2 : *status;
}

static void messages_go_both_ways_and_carry_an_error(void **state)
{
	struct bow_child child = BOW_NO_CHILD;
	struct bowimg_error err = {0};
	int status[] = {0, 7};

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bow_child_fork(&child, answer, &status[i]), 0);
		assert_int_equal(bow_message_send(child.sock, HELLO, NULL), 0);
		assert_int_equal(bow_message_recv(child.sock, GOODBYE, "the child", &err),
				 i ? -ENOSPC : 0);
		int wstatus = bow_child_end(&child);
		assert_true(WIFEXITED(wstatus));
		assert_int_equal(WEXITSTATUS(wstatus), status[i]);
		assert_int_equal(child.pid, 0);
		assert_int_equal(child.sock, -1);
	}
	assert_string_equal(err.message, "it is full");
	assert_string_equal(err.hint, "free some");
}

static int send_hello(int sock, void *ctx)
{
	(void)ctx;
	return bow_message_send(sock, HELLO, NULL);
}

static int die(int sock, void *ctx)
{
	(void)sock;
	(void)ctx;
	raise(SIGKILL);
	return 0;
}

static void a_child_that_dies_or_replies_something_else_is_an_error(void **state)
{
	struct bow_child child = BOW_NO_CHILD;
	struct bowimg_error err = {0};

	(void)state;
	assert_int_equal(bow_child_fork(&child, die, NULL), 0);
	assert_int_equal(bow_message_recv(child.sock, HELLO, "the child", &err), -EIO);
	assert_string_equal(err.message, "the child has ended unexpectedly");
	/* No SIGPIPE either. */
	assert_int_equal(bow_message_send(child.sock, HELLO, NULL), -EPIPE);
	int wstatus = bow_child_end(&child);
	assert_true(WIFSIGNALED(wstatus) && WTERMSIG(wstatus) == SIGKILL);

	assert_int_equal(bow_child_fork(&child, send_hello, NULL), 0);
	assert_int_equal(bow_message_recv(child.sock, GOODBYE, "the child", &err), -EIO);
	assert_string_equal(err.message, "unexpected reply from the child");
	bow_child_end(&child);
}

static int wait_for_end(int sock, void *ctx)
{
	char byte;

	(void)ctx;
	return bow_packet_recv(sock, &byte, sizeof(byte)) == -EPIPE ? 3 : 0;
}

static void a_child_sees_our_end_and_is_waited_for(void **state)
{
	struct bow_child child = BOW_NO_CHILD;

	(void)state;
	assert_int_equal(bow_child_fork(&child, wait_for_end, NULL), 0);
	assert_int_equal(WEXITSTATUS(bow_child_end(&child)), 3);
	assert_int_equal(bow_child_end(&child), 0); /* there is none any more */
}

static void a_packet_of_another_size_is_refused(void **state)
{
	struct bow_child c = BOW_NO_CHILD;
	int theirs = bow_child_pair(&c);
	uint64_t eight = 8;
	uint32_t four;

	(void)state;
	assert_true(theirs >= 0);
	assert_int_equal(bow_packet_send(theirs, &eight, sizeof(eight)), 0);
	assert_int_equal(bow_packet_recv(c.sock, &four, sizeof(four)), -EPIPE);
	assert_int_equal(bow_packet_send(theirs, "abc", 3), 0);
	assert_int_equal(bow_packet_recv(c.sock, &four, sizeof(four)), -EPIPE);
	assert_int_equal(bow_packet_send(theirs, "abcd", 4), 0);
	assert_int_equal(bow_packet_recv(c.sock, &four, sizeof(four)), 0);
	close(theirs);
	bow_child_end(&c);
}

static void a_descriptor_arrives_closed_on_exec(void **state)
{
	struct bow_child c = BOW_NO_CHILD;
	int theirs = bow_child_pair(&c), null = open("/dev/null", O_RDONLY);

	(void)state;
	assert_true(theirs >= 0 && null >= 0);
	assert_int_equal(bow_fd_send(theirs, null), 0);
	int fd = bow_fd_recv(c.sock);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(bow_packet_send(theirs, "x", 1), 0);
	assert_int_equal(bow_fd_recv(c.sock), -EIO); /* a message without one */
	close(theirs);
	assert_int_equal(bow_fd_recv(c.sock), -EIO);
	close(fd);
	close(null);
	bow_child_end(&c);
}

/* Counts the descriptors that it should not have kept; 50 more if its own is not closed on exec. */
static int count_others(int sock, void *ctx)
{
	(void)ctx;
	if (bow_child_use_null(0, 1) || bow_child_keep_only(sock, 3) != 3)
		return 100;
	int others = 0;
	for (int fd = 4; fd < 64; fd++)
		others += fcntl(fd, F_GETFD) >= 0;
	return others + (fcntl(3, F_GETFD) == FD_CLOEXEC ? 0 : 50);
}

static void a_child_keeps_what_it_wants_only(void **state)
{
	struct bow_child child = BOW_NO_CHILD;
	int spare[SPARE_FDS];

	(void)state;
	for (size_t i = 0; i < SPARE_FDS; i++)
		spare[i] = open("/dev/null", O_RDONLY);
	assert_int_equal(bow_child_fork(&child, count_others, NULL), 0);
	assert_int_equal(WEXITSTATUS(bow_child_end(&child)), 0);
	for (size_t i = 0; i < SPARE_FDS; i++)
		close(spare[i]);
}

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- programs -------------------------------------------------------------------- */

static int shell(const char *script, struct bow_program *p)
{
	char *argv[] = {"sh", "-c", (char *)script, NULL};
	struct bow_child child = BOW_NO_CHILD;

	p->argv = argv;
	int rc = bow_program_start(p, &child);
	return rc ? rc : WEXITSTATUS(bow_child_end(&child));
}

/* The numbers that the program gets are in use here, in another order. */
static void a_program_gets_the_descriptors_it_is_given(void **state)
{
	int ends[2], fds[5] = {BOW_PROGRAM_NULL, STDOUT_FILENO, STDERR_FILENO};
	struct bow_program p = {.fds = fds, .fd_count = 5};
	char text[8] = "";

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "ab\n", 3), 3);
	fds[3] = ends[1];
	fds[4] = ends[0];
	assert_int_equal(shell("read -r x <&4 && echo x$x >&3 && [ ! -e /proc/self/fd/5 ] && "
			       "! read -r y",
			       &p),
			 0);
	assert_int_equal(read(ends[0], text, sizeof(text)), 4);
	assert_string_equal(text, "xab\n");
	close(ends[0]);
	close(ends[1]);
}

static int refuse(void *ctx)
{
	(void)ctx;
	return -EDOM;
}

static void one_that_cannot_be_started_gives_a_reason_and_leaves_nothing(void **state)
{
	char *argv[] = {"/nonexistent/program", NULL}, *directory[] = {"/tmp", NULL};
	const int wrong_fds[] = {0, 1, 1000};
	struct bow_child child = BOW_NO_CHILD;
	int before = count_open();

	(void)state;
	assert_int_equal(bow_program_start(&(struct bow_program){.argv = argv}, &child), -ENOENT);
	assert_int_equal(bow_program_start(&(struct bow_program){.argv = directory}, &child),
			 -EACCES);
	assert_int_equal(shell("exit 0", &(struct bow_program){.prepare = refuse}), -EDOM);
	assert_int_equal(shell("exit 0", &(struct bow_program){.fds = wrong_fds, .fd_count = 3}),
			 -EBADF);
	assert_int_equal(child.pid, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(count_open(), before);
}

/* A shell's own view: which signals are ignored or blocked when it starts? */
static void signals_are_as_from_a_shell(void **state)
{
	const char *script = "while read -r key value; do case $key in SigBlk: | SigIgn:) "
			     "[ $((0x$value & 0x1003)) = $1 ] || exit 9; set -- $2 ;; esac; done "
			     "</proc/$$/status";
	char *argv[] = {"sh", "-c", (char *)script, "sh", "0", NULL, NULL};
	struct bow_program p = {.argv = argv};
	struct bow_child child = BOW_NO_CHILD;
	sigset_t usr1, old;

	(void)state;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGINT);
	sigprocmask(SIG_BLOCK, &usr1, &old);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* SIGHUP stays ignored, as nohup(1) needs it, unless all signals are to have their
	 * defaults. */
	argv[5] = "1";
	assert_int_equal(bow_program_start(&p, &child), 0);
	assert_int_equal(WEXITSTATUS(bow_child_end(&child)), 0);
	argv[5] = "0";
	p.default_signals = true;
	assert_int_equal(bow_program_start(&p, &child), 0);
	assert_int_equal(WEXITSTATUS(bow_child_end(&child)), 0);
	/* And ours are as they were. */
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	assert_true(sigismember(&now, SIGINT));
	assert_false(sigismember(&now, SIGTERM));
	signal(SIGHUP, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* The kernel keeps no status if SIGCHLD is ignored: that must not look like success. */
static void a_lost_status_is_an_error(void **state)
{
	struct bow_child child = BOW_NO_CHILD;

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(bow_child_fork(&child, wait_for_end, NULL), 0);
	assert_int_equal(bow_child_end(&child), -ECHILD);
	signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_go_both_ways_and_carry_an_error),
		cmocka_unit_test(a_child_that_dies_or_replies_something_else_is_an_error),
		cmocka_unit_test(a_child_sees_our_end_and_is_waited_for),
		cmocka_unit_test(a_packet_of_another_size_is_refused),
		cmocka_unit_test(a_descriptor_arrives_closed_on_exec),
		cmocka_unit_test(a_child_keeps_what_it_wants_only),
		cmocka_unit_test(a_program_gets_the_descriptors_it_is_given),
		cmocka_unit_test(one_that_cannot_be_started_gives_a_reason_and_leaves_nothing),
		cmocka_unit_test(signals_are_as_from_a_shell),
		cmocka_unit_test(a_lost_status_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
