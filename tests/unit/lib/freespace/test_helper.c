/* SPDX-License-Identifier: MIT */
/* Running a helper program: what it is given, how its end is reported, and that it does end. */
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

#include "lib/freespace/helpers/helper.h"

#define NAME_BYTES 64

static const struct bow_helper usual = {.file_bytes = 1u << 20, .silent_s = 20};

/* What a shell ends with; its map goes to a file without a name. */
static int shell_on(FILE *out, const char *script, const struct bow_helper *limits,
		    struct bow_helper_end *end, struct bowimg_error *err)
{
	char *argv[] = {"/bin/sh", "-c", (char *)script, NULL};
	struct bow_helper helper = *limits;
	int in = open("/dev/zero", O_RDONLY | O_CLOEXEC), rc;

	assert_true(in >= 0);
	helper.argv = argv;
	helper.file = fileno(out);
	rc = bow_helper_run(&helper, in, end, err);
	close(in);
	return rc;
}

static int shell(const char *script, struct bow_helper_end *end, struct bowimg_error *err)
{
	FILE *out = tmpfile();
	int rc;

	assert_non_null(out);
	rc = shell_on(out, script, &usual, end, err);
	fclose(out);
	return rc;
}

static void it_reads_from_3_and_writes_to_4(void **state)
{
	struct bow_helper_end end;
	char text[32] = "";
	FILE *out = tmpfile();

	(void)state;
	assert_int_equal(shell_on(out, "head -c 5 <&3 | wc -c >&4; echo to us", &usual, &end, NULL),
			 0);
	rewind(out);
	assert_non_null(fgets(text, sizeof(text), out));
	assert_int_equal(atoi(text), 5);
	assert_string_equal(end.output.text, "to us\n");
	fclose(out);
}

/* Also where ours have the very numbers that it is given. */
static void no_other_descriptor_is_inherited(void **state)
{
	int spare[6];
	struct bow_helper_end end;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		spare[i] = open("/dev/null", O_RDONLY); /* not closed on exec */
	assert_int_equal(shell("for f in 0 1 2 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$f ] || "
			       "printf $f; done",
			       &end, NULL),
			 0);
	assert_string_equal(end.output.text, "01234");
	for (size_t i = 0; i < 6; i++)
		close(spare[i]);
}

static void its_end_is_reported(void **state)
{
	struct bowimg_error err = {0};
	struct bow_helper_end end;

	(void)state;
	assert_int_equal(shell("echo why; exit 7", &end, &err), -EIO);
	assert_non_null(strstr(err.message, "ended with status 7"));
	assert_string_equal(end.output.text, "why\n");
	assert_int_equal(end.status, 7);
	assert_int_equal(shell("kill -KILL $$", &end, &err), -EIO);
	assert_non_null(strstr(err.message, "killed by signal 9"));
	assert_int_equal(end.status, -1);
	assert_int_equal(shell("exit 0", &end, &err), 0);
	assert_int_equal(end.status, 0);
}

static bool has_no_vowel(const char *line)
{
	return !strpbrk(line, "aeiou");
}

static void its_output_in_a_line_is_printable_and_without_noise(void **state)
{
	static const char *const noise[] = {"Pass ", NULL};
	struct bow_helper_end end;
	char line[32];

	(void)state;
	shell("echo Pass 1; printf ' a\\033b\\r\\nxyz\n\n c o\n'", &end, NULL);
	bow_helper_line(&end.output, noise, has_no_vowel, line, sizeof(line));
	assert_string_equal(line, "a?b; c o");
	shell("echo Pass 1; seq -f 'number %g' 9", &end, NULL);
	bow_helper_line(&end.output, noise, NULL, line, sizeof(line));
	assert_int_equal(strlen(line), sizeof(line) - 1);
	shell(":", &end, NULL);
	bow_helper_line(&end.output, noise, NULL, line, sizeof(line));
	assert_string_equal(line, "");
}

static void of_much_output_the_end_is_kept(void **state)
{
	struct bow_helper_end end;

	(void)state;
	assert_int_equal(shell("yes | head -c 100000; echo the end", &end, NULL), 0);
	assert_int_equal(end.output.bytes, sizeof(end.output.text) - 1);
	assert_int_equal(end.output.text[end.output.bytes], '\0');
	assert_string_equal(end.output.text + end.output.bytes - 8, "the end\n");
}

static void one_that_prints_nothing_for_too_long_is_killed(void **state)
{
	const struct bow_helper short_ones = {.file_bytes = 1, .silent_s = 1};
	struct bowimg_error err = {0};
	struct bow_helper_end end;
	FILE *out = tmpfile();

	(void)state;
	assert_int_equal(shell_on(out, "exec sleep 100", &short_ones, &end, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.message, "printed nothing for 1 seconds"));
	fclose(out);
}

/* A child of its own may keep the pipe open. */
static void its_own_children_are_not_waited_for(void **state)
{
	struct bow_helper_end end;
	struct timespec from, to;
	pid_t left;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(shell("sleep 100 & echo $!", &end, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 50);
	left = (pid_t)atoi(end.output.text);
	assert_true(left > 1);
	kill(left, SIGKILL);
}

static void it_cannot_write_without_end(void **state)
{
	struct bow_helper_end end;
	struct stat st;
	FILE *out = tmpfile();

	(void)state;
	assert_int_equal(shell_on(out, "exec cat <&3 >&4", &usual, &end, NULL), -EIO);
	assert_int_equal(fstat(fileno(out), &st), 0);
	assert_int_equal(st.st_size, usual.file_bytes);
	fclose(out);
}

static void it_starts_with_ordinary_signals_in_the_c_locale(void **state)
{
	struct bow_helper_end end;
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
		      &end, NULL),
		0);
	assert_string_equal(end.output.text, "C\n0000000\n0000000\n");
	unsetenv("LC_ALL");
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* The kernel keeps no status if SIGCHLD is ignored: that must not look like success. */
static void a_lost_status_is_an_error(void **state)
{
	struct bowimg_error err = {0};
	struct bow_helper_end end;

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(shell("sleep 1; exit 0", &end, &err), -ECHILD);
	assert_int_equal(end.status, -1);
	signal(SIGCHLD, SIG_DFL);
}

static void one_that_cannot_be_started_is_an_error(void **state)
{
	char *argv[] = {"/nonexistent/program", NULL};
	struct bowimg_error err = {0};
	struct bow_helper_end end;
	FILE *out = tmpfile();
	const struct bow_helper helper = {.argv = argv, .file = fileno(out), .silent_s = 20};

	(void)state;
	assert_int_equal(bow_helper_run(&helper, fileno(out), &end, &err), -ENOENT);
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
		cmocka_unit_test(its_end_is_reported),
		cmocka_unit_test(its_output_in_a_line_is_printable_and_without_noise),
		cmocka_unit_test(of_much_output_the_end_is_kept),
		cmocka_unit_test(one_that_prints_nothing_for_too_long_is_killed),
		cmocka_unit_test(its_own_children_are_not_waited_for),
		cmocka_unit_test(it_cannot_write_without_end),
		cmocka_unit_test(it_starts_with_ordinary_signals_in_the_c_locale),
		cmocka_unit_test(a_lost_status_is_an_error),
		cmocka_unit_test(one_that_cannot_be_started_is_an_error),
		cmocka_unit_test(programs_are_found_in_absolute_directories_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
