/* SPDX-License-Identifier: MIT */
/* The watchdog's own judgement. That it frees a real mount is tried in e2e/serve/daemon.bats. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bowimg/host/watchdog.h"

/* No connection has this number: there is nothing to abort, and a stuck daemon is killed. */
#define CONNECTION (1u << 30)

/* A daemon with a request that is never finished. */
static pid_t start_daemon(bool disarm)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct bow_watchdog *dog;

		if (bow_watchdog_start(2, &dog, NULL))
			_exit(1);
		bow_watchdog_arm(dog, CONNECTION);
		bow_watchdog_begin(dog);
		/* The watchdog has seen what it is to watch. */
		usleep(1100000);
		if (disarm)
			bow_watchdog_disarm(dog);
		usleep(2500000);
		bow_watchdog_stop(dog);
		_exit(0);
	}
	return pid;
}

static void a_stuck_daemon_is_killed_unless_its_mount_is_gone(void **state)
{
	pid_t armed = start_daemon(false), disarmed = start_daemon(true);
	int status;

	(void)state;
	assert_int_equal(waitpid(armed, &status, 0), armed);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(waitpid(disarmed, &status, 0), disarmed);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stuck_daemon_is_killed_unless_its_mount_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
