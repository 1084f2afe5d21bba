/* SPDX-License-Identifier: MIT */
/* Running a helper program: what it is given, how its end is told, and that it does end. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "maps/helper.h"

#define NAME_BYTES 64

static const struct bow_helper_limits limits = {.output_bytes = 1u << 20, .silent_s = 20};

/* What a shell ends with; its map goes to a file without a name. */
static int shell_on(FILE *out, const char *script, const struct bow_helper_limits *l,
		    struct bow_helper_words *words, struct bowimg_error *err)
{
	char *argv[] = {"/bin/sh", "-c", (char *)script, NULL};
	int in = open("/dev/zero", O_RDONLY | O_CLOEXEC), rc;

	assert_true(in >= 0);
	rc = bow_helper_run(argv, in, fileno(out), l, words, err);
	close(in);
	return rc;
}

static int shell(const char *script, struct bow_helper_words *words, struct bowimg_error *err)
{
	FILE *out = tmpfile();
	int rc;

	assert_non_null(out);
	rc = shell_on(out, script, &limits, words, err);
	fclose(out);
	return rc;
}

static void it_reads_from_3_and_writes_to_4(void **state)
{
	struct bow_helper_words words;
	char text[32] = "";
	FILE *out = tmpfile();

	(void)state;
	assert_int_equal(
		shell_on(out, "head -c 5 <&3 | wc -c >&4; echo to us", &limits, &words, NULL), 0);
	rewind(out);
	assert_non_null(fgets(text, sizeof(text), out));
	assert_int_equal(atoi(text), 5);
	assert_string_equal(words.text, "to us\n");
	fclose(out);
}

/* Also where ours have the very numbers that it is given. */
static void no_other_descriptor_is_inherited(void **state)
{
	int spare[6];
	struct bow_helper_words words;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		spare[i] = open("/dev/null", O_RDONLY); /* not closed on exec */
	assert_int_equal(shell("for f in 0 1 2 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$f ] || "
			       "printf $f; done",
			       &words, NULL),
			 0);
	assert_string_equal(words.text, "01234");
	for (size_t i = 0; i < 6; i++)
		close(spare[i]);
}

static void how_it_ended_is_told(void **state)
{
	struct bowimg_error err = {0};
	struct bow_helper_words words;

	(void)state;
	assert_int_equal(shell("echo why; exit 7", &words, &err), -EIO);
	assert_non_null(strstr(err.message, "ended with status 7"));
	assert_string_equal(words.text, "why\n");
	assert_int_equal(shell("kill -KILL $$", &words, &err), -EIO);
	assert_non_null(strstr(err.message, "killed by signal 9"));
}

static void of_many_words_the_last_are_kept(void **state)
{
	struct bow_helper_words words;

	(void)state;
	assert_int_equal(shell("yes | head -c 100000; echo the end", &words, NULL), 0);
	assert_int_equal(words.bytes, sizeof(words.text) - 1);
	assert_int_equal(words.text[words.bytes], '\0');
	assert_string_equal(words.text + words.bytes - 8, "the end\n");
}

static void one_that_says_nothing_for_too_long_is_killed(void **state)
{
	const struct bow_helper_limits short_ones = {.output_bytes = 1, .silent_s = 1};
	struct bowimg_error err = {0};
	struct bow_helper_words words;
	FILE *out = tmpfile();

	(void)state;
	assert_int_equal(shell_on(out, "exec sleep 100", &short_ones, &words, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.message, "said nothing for 1 seconds"));
	fclose(out);
}

/* A child of its own may have kept the pipe: nobody waits for that. */
static void what_it_leaves_behind_is_not_waited_for(void **state)
{
	struct bow_helper_words words;
	struct timespec from, to;
	pid_t left;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(shell("sleep 100 & echo $!", &words, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 50);
	left = (pid_t)atoi(words.text);
	assert_true(left > 1);
	kill(left, SIGKILL);
}

static void it_cannot_write_without_end(void **state)
{
	struct bow_helper_words words;
	struct stat st;
	FILE *out = tmpfile();

	(void)state;
	/* Slowly at first: the limit is set just after its start. */
	assert_int_equal(shell_on(out, "sleep 1; exec cat <&3 >&4", &limits, &words, NULL), -EIO);
	assert_int_equal(fstat(fileno(out), &st), 0);
	assert_int_equal(st.st_size, limits.output_bytes);
	fclose(out);
}

static void it_starts_with_ordinary_signals_in_the_c_locale(void **state)
{
	struct bow_helper_words words;
	sigset_t term, old;

	(void)state;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &old);
	signal(SIGPIPE, SIG_IGN);
	setenv("LC_ALL", "de_DE.UTF-8", 1);
	/*
	 * By the shell itself: while it starts another program it blocks signals. Without the
	 * highest numbers: two of them are the C library's own business.
	 */
	assert_int_equal(
		shell("echo $LC_ALL; while read -r key value; do case $key in "
		      "SigBlk: | SigIgn:) echo ${value#?????????} ;; esac; done </proc/$$/status",
		      &words, NULL),
		0);
	assert_string_equal(words.text, "C\n0000000\n0000000\n");
	unsetenv("LC_ALL");
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void one_that_cannot_be_started_is_an_error(void **state)
{
	char *argv[] = {"/nonexistent/program", NULL};
	struct bowimg_error err = {0};
	struct bow_helper_words words;
	FILE *out = tmpfile();

	(void)state;
	assert_int_equal(bow_helper_run(argv, fileno(out), fileno(out), &limits, &words, &err),
			 -ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent/program"));
	fclose(out);
}

static void programs_are_found_in_absolute_directories_only(void **state)
{
	char dir[NAME_BYTES] = "/tmp/bowimg-helper.XXXXXX", path[PATH_MAX], list[256];
	char *kept = strdup(getenv("PATH"));
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	f = fopen("bow-test-program", "w");
	assert_non_null(f);
	fclose(f);
	snprintf(list, sizeof(list), ":.::%s", dir);
	setenv("PATH", list, 1);
	assert_false(bow_helper_find("bow-test-program", path)); /* it cannot be executed */
	assert_int_equal(chmod("bow-test-program", 0700), 0);
	assert_true(bow_helper_find("bow-test-program", path));
	assert_memory_equal(path, dir, strlen(dir));
	setenv("PATH", ".:", 1);
	assert_false(bow_helper_find("bow-test-program", path));
	unsetenv("PATH");
	assert_false(bow_helper_find("bow-test-program", path));
	setenv("PATH", kept, 1);
	free(kept);
	assert_int_equal(unlink("bow-test-program"), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_reads_from_3_and_writes_to_4),
		cmocka_unit_test(no_other_descriptor_is_inherited),
		cmocka_unit_test(how_it_ended_is_told),
		cmocka_unit_test(of_many_words_the_last_are_kept),
		cmocka_unit_test(one_that_says_nothing_for_too_long_is_killed),
		cmocka_unit_test(what_it_leaves_behind_is_not_waited_for),
		cmocka_unit_test(it_cannot_write_without_end),
		cmocka_unit_test(it_starts_with_ordinary_signals_in_the_c_locale),
		cmocka_unit_test(one_that_cannot_be_started_is_an_error),
		cmocka_unit_test(programs_are_found_in_absolute_directories_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
