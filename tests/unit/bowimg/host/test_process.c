/* SPDX-License-Identifier: MIT */
/* When a process began. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bowimg/host/process.h"

static int64_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

/* Whatever part of a second it is asked at. A tick of the kernel's may be cut off. */
static void test_a_process_began_when_it_was_forked(void **state)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	int64_t before = seconds_now(), after, at;
	bool good = true;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	after = seconds_now();
	for (int i = 0; i < 75; i++) {
		at = bow_process_started_at(bow_process_start_time(pid));
		good = good && at >= before - 1 && at <= after;
		nanosleep(&moment, NULL);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(good);
}

static void test_a_number_from_nowhere_is_now(void **state)
{
	(void)state;
	assert_true(bow_process_started_at(UINT64_MAX) <= seconds_now());
	assert_true(bow_process_started_at(UINT64_MAX) >= seconds_now() - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_process_began_when_it_was_forked),
		cmocka_unit_test(test_a_number_from_nowhere_is_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
