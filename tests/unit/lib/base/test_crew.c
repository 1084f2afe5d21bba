/* SPDX-License-Identifier: MIT */
/* Threads that share one kind of work. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/crew.h"

#define JOBS 1000

struct jobs {
	atomic_int next, done, fail_at, sum;
	atomic_int by[BOW_CREW_MAX]; /* how many each thread did */
	pthread_barrier_t together;
	atomic_int other_signals_blocked;
	pthread_t caller;
};

static int take_jobs(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct jobs *j = ctx;
	int i;

	while (!atomic_load(stop) && (i = atomic_fetch_add(&j->next, 1)) < JOBS) {
		if (i == atomic_load(&j->fail_at))
			return bow_err(err, -EIO, "job %d", i);
		atomic_fetch_add(&j->by[number], 1);
		atomic_fetch_add(&j->done, 1);
	}
	return 0;
}

static void test_all_work_is_done_once(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= BOW_CREW_MAX + 5; n++) {
		struct jobs j = {.fail_at = -1};
		int sum = 0;

		assert_int_equal(bow_crew_run(n, take_jobs, &j, NULL), 0);
		assert_int_equal(j.done, JOBS);
		for (unsigned i = 0; i < BOW_CREW_MAX; i++)
			sum += j.by[i];
		assert_int_equal(sum, JOBS);
	}
}

static void test_a_failure_stops_the_others_and_keeps_its_words(void **state)
{
	(void)state;
	for (int at = 0; at < JOBS; at += 111) {
		struct jobs j = {.fail_at = at};
		struct bowimg_error err;

		bow_err_clear(&err);
		assert_int_equal(bow_crew_run(8, take_jobs, &j, &err), -EIO);
		assert_non_null(strstr(err.message, "job"));
		assert_true(j.done < JOBS);
		assert_int_equal(bow_crew_run(8, take_jobs, &j, NULL), 0); /* nothing is left */
	}
}

static int do_piece(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct jobs *j = ctx;

	assert_in_range(number, 0, BOW_CREW_MAX - 1);
	if ((int)i == atomic_load(&j->fail_at))
		return bow_err(err, -EIO, "piece %zu", i);
	atomic_fetch_add(&j->done, 1);
	atomic_fetch_add(&j->sum, (int)i);
	return 0;
}

static void test_each_piece_is_done_once(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= BOW_CREW_MAX + 5; n++) {
		for (int pieces = 0; pieces < 100; pieces += 33) {
			struct jobs j = {.fail_at = -1};

			assert_int_equal(bow_crew_each(n, (size_t)pieces, do_piece, &j, NULL), 0);
			assert_int_equal(j.done, pieces);
			assert_int_equal(j.sum, pieces * (pieces - 1) / 2);
		}
	}
}

static void test_a_piece_that_fails_is_the_last_to_begin(void **state)
{
	struct jobs j = {.fail_at = 10};
	struct bowimg_error err = {0};

	(void)state;
	assert_int_equal(bow_crew_each(1, 1000, do_piece, &j, &err), -EIO);
	assert_string_equal(err.message, "piece 10");
	assert_int_equal(j.done, 10);
	assert_int_equal(bow_crew_each(8, 1000, do_piece, &j, &err), -EIO);
}

/* Each number once, all at the same time; only the caller's thread takes signals. */
static int meet(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct jobs *j = ctx;
	sigset_t blocked;

	(void)stop, (void)err;
	pthread_barrier_wait(&j->together);
	atomic_fetch_add(&j->by[number], 1);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (number == 0)
		assert_true(pthread_equal(pthread_self(), j->caller));
	else if (sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM))
		atomic_fetch_add(&j->other_signals_blocked, 1);
	return 0;
}

static void test_they_work_at_the_same_time(void **state)
{
	struct jobs j = {.caller = pthread_self()};
	sigset_t blocked;

	(void)state;
	assert_int_equal(pthread_barrier_init(&j.together, NULL, BOW_CREW_MAX), 0);
	assert_int_equal(bow_crew_run(BOW_CREW_MAX, meet, &j, NULL), 0);
	for (unsigned i = 0; i < BOW_CREW_MAX; i++)
		assert_int_equal(j.by[i], 1);
	assert_int_equal(j.other_signals_blocked, BOW_CREW_MAX - 1);
	pthread_barrier_destroy(&j.together);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	assert_false(sigismember(&blocked, SIGINT));
}

/* ---- a crew that stands by --------------------------------------------------------- */

#define CALLERS 8u
#define CALLS 200

struct caller {
	pthread_t thread;
	struct bow_crew *crew;
	int done;
};

static void *call_again_and_again(void *arg)
{
	struct caller *c = arg;

	for (int i = 0; i < CALLS; i++) {
		struct jobs j = {.fail_at = -1};

		assert_int_equal(bow_crew_do(c->crew, 4, take_jobs, &j, NULL), 0);
		c->done += j.done;
	}
	return NULL;
}

static void test_several_callers_share_one_crew(void **state)
{
	struct bow_crew *crew = bow_crew_new(4);
	struct caller callers[CALLERS];

	(void)state;
	assert_non_null(crew);
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.crew = crew};
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call_again_and_again,
						&callers[i]),
				 0);
	}
	for (unsigned i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		assert_int_equal(callers[i].done, CALLS * JOBS);
	}
	bow_crew_free(crew);
}

static void test_it_comes_to_each_call_anew_and_keeps_no_failure(void **state)
{
	struct bow_crew *crew = bow_crew_new(BOW_CREW_MAX);

	(void)state;
	assert_non_null(crew);
	for (int i = 0; i < 50; i++) {
		struct jobs j = {.caller = pthread_self(), .fail_at = i % 2 ? 3 : -1};
		struct bowimg_error err;

		bow_err_clear(&err);
		assert_int_equal(bow_crew_do(crew, 16, take_jobs, &j, &err), i % 2 ? -EIO : 0);
		assert_int_equal(err.message[0] != 0, i % 2);
		assert_int_equal(pthread_barrier_init(&j.together, NULL, BOW_CREW_MAX), 0);
		memset(j.by, 0, sizeof(j.by));
		assert_int_equal(bow_crew_do(crew, BOW_CREW_MAX, meet, &j, NULL), 0);
		for (unsigned k = 0; k < BOW_CREW_MAX; k++)
			assert_int_equal(j.by[k], 1);
		pthread_barrier_destroy(&j.together);
	}
	bow_crew_free(crew);
}

/* Calls the crew from within its own work: all others may be waiting in there, too. */
static int call_within(void *ctx, unsigned number, const atomic_bool *stop,
		       struct bowimg_error *err)
{
	struct jobs j = {.fail_at = -1};

	(void)number, (void)stop;
	assert_int_equal(bow_crew_do(ctx, 4, take_jobs, &j, err), 0);
	assert_int_equal(j.done, JOBS);
	return 0;
}

static void test_who_finds_nobody_idle_does_it_alone(void **state)
{
	struct bow_crew *crew = bow_crew_new(4);
	struct jobs j = {.fail_at = -1};

	(void)state;
	assert_non_null(crew);
	for (int i = 0; i < CALLS; i++)
		assert_int_equal(bow_crew_do(crew, 4, call_within, crew, NULL), 0);
	bow_crew_free(crew);
	assert_int_equal(bow_crew_do(NULL, 4, take_jobs, &j, NULL), 0);
	assert_int_equal(j.by[0], JOBS);
	bow_crew_free(NULL);
}

/* nbdkit opens an image first, and then goes to the background. */
static void test_after_a_fork_the_caller_is_alone(void **state)
{
	struct bow_crew *crew = bow_crew_new(4);
	int status = -1;
	pid_t pid;

	(void)state;
	assert_non_null(crew);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct jobs j = {.fail_at = -1};

		alarm(20);
		bow_crew_do(crew, 4, take_jobs, &j, NULL);
		bow_crew_free(crew);
		_exit(j.by[0] == JOBS ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	bow_crew_free(crew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_work_is_done_once),
		cmocka_unit_test(test_each_piece_is_done_once),
		cmocka_unit_test(test_a_piece_that_fails_is_the_last_to_begin),
		cmocka_unit_test(test_a_failure_stops_the_others_and_keeps_its_words),
		cmocka_unit_test(test_they_work_at_the_same_time),
		cmocka_unit_test(test_several_callers_share_one_crew),
		cmocka_unit_test(test_it_comes_to_each_call_anew_and_keeps_no_failure),
		cmocka_unit_test(test_who_finds_nobody_idle_does_it_alone),
		cmocka_unit_test(test_after_a_fork_the_caller_is_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
