/* SPDX-License-Identifier: MIT */
/*
 * The fuzz targets without a fuzzer: each on its seeds, which must pass without an error, and on
 * every file of testdata/fuzz/TARGET, where everything lives that was ever found.
 *
 *	test_replay                 all of that, from the top of the source tree; speaks TAP
 *	test_replay --seeds DIR     write the seeds to DIR/TARGET/
 *	test_replay TARGET FILE...  run these files
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define FILE_MAX (1u << 20)

static int number, failures;

static void report(bool good, const char *target, const char *what)
{
	failures += !good;
	printf("%sok %d - %s: %s\n", good ? "" : "not ", ++number, target, what);
	fflush(stdout);
}

/* The bytes go into memory of exactly their size, so that a sanitizer sees who reads on. */
static void run_exact(const struct fuzz_target *t, const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, bytes, n);
	t->run(copy, n);
	free(copy);
}

static void run_seeds(const struct fuzz_target *t)
{
	struct fuzz_buf b = {0};
	char what[64];
	unsigned i, bad = 0;

	for (i = 0; b.n = 0, t->seed(i, &b); i++) {
		fuzz_expect_success(true);
		run_exact(t, b.bytes, b.n);
		if (!fuzz_succeeded()) {
			printf("# %s: seed %u failed\n", t->name, i);
			bad++;
		}
	}
	fuzz_expect_success(false);
	fuzz_buf_release(&b);
	snprintf(what, sizeof(what), "%u seeds pass", i);
	report(!bad && i, t->name, what);
}

static bool run_file(const struct fuzz_target *t, const char *path)
{
	static uint8_t bytes[FILE_MAX];
	FILE *in = fopen(path, "re");
	size_t n;

	if (!in) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	n = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	run_exact(t, bytes, n);
	return true;
}

static void run_found(const struct fuzz_target *t)
{
	char dir[64], path[384];
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "testdata/fuzz/%s", t->name);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		/* A crash ends the program: say before what it was. */
		printf("# %s\n", path);
		fflush(stdout);
		report(run_file(t, path), t->name, e->d_name);
	}
	if (d)
		closedir(d);
}

static int write_seeds(const char *dir)
{
	char path[512];
	int rc = 0;

	for (const struct fuzz_target *const *t = fuzz_targets; *t; t++) {
		struct fuzz_buf b = {0};

		snprintf(path, sizeof(path), "%s/%s", dir, (*t)->name);
		mkdir(path, 0777);
		for (unsigned i = 0; b.n = 0, (*t)->seed(i, &b); i++) {
			FILE *out;

			snprintf(path, sizeof(path), "%s/%s/seed%u", dir, (*t)->name, i);
			out = fopen(path, "we");
			if (!out || fwrite(b.bytes, 1, b.n, out) != b.n || fclose(out)) {
				fprintf(stderr, "%s: %s\n", path, strerror(errno));
				rc = 1;
			}
		}
		fuzz_buf_release(&b);
	}
	return rc;
}

static int run_files(int argc, char **argv)
{
	int rc = 0;

	for (const struct fuzz_target *const *t = fuzz_targets; *t; t++)
		for (int i = 2; i < argc && !strcmp((*t)->name, argv[1]); i++)
			rc |= !run_file(*t, argv[i]);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--seeds"))
		return write_seeds(argv[2]);
	if (argc > 1)
		return run_files(argc, argv);
	for (const struct fuzz_target *const *t = fuzz_targets; *t; t++) {
		run_seeds(*t);
		run_found(*t);
	}
	printf("1..%d\n", number);
	return failures != 0;
}
