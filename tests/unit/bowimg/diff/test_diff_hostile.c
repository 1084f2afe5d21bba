/* SPDX-License-Identifier: MIT */
/*
 * Damaged file systems: bytes of both versions are overwritten with rubbish, without checksums that
 * would notice, and they are compared and written to an archive. It must end, soon, in an answer or
 * in words; the sanitizers look at the rest. Prints its seed; DIFF_SEED and DIFF_RUNS give another
 * seed and the number of runs.
 */
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
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "diff_pair.h"
#include "bowimg/diff/layer/layer.h"
#include "host.h"
#include "rng.h"

#define IMAGE_KIB 2048
#define FLIPS_MAX 6
#define SECONDS_MAX 60 /* for one run, on a slow machine under sanitizers */

static const char *const kinds[] = {
	"-t ext4 -b 1024 -O ^metadata_csum,^64bit",
	"-t ext4 -b 1024 -O ^metadata_csum,^64bit,uninit_bg",
	"-t ext2 -b 1024 -O none",
	"-t ext4 -b 1024 -O ^metadata_csum,^64bit,inline_data,ea_inode -I 256",
	"-t ext4 -b 4096 -O ^has_journal,metadata_csum",
};

struct flip {
	int version;
	uint64_t off;
};

static char dir[HOST_PATH_BYTES];
static uint8_t *image[2]; /* as they were made */
static char doing[200];	  /* for who ends it */

static int setup(void **state)
{
	(void)state;
	assert_int_equal(setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1), 0);
	host_require(host_has_tool("mke2fs") && host_has_tool("debugfs"), "e2fsprogs");
	assert_true(host_temp_dir(dir));
	image[0] = malloc(IMAGE_KIB << 10);
	image[1] = malloc(IMAGE_KIB << 10);
	assert_true(image[0] && image[1]);
	assert_int_equal(
		host_run("cd %s && mkdir -p t/a/b/c t/d && ln -s /some/where t/link && "
			 "head -c 99000 /dev/zero | tr '\\0' x >t/a/big && ln t/a/big t/hard && "
			 "for i in $(seq 60); do echo $i >t/d/file-with-a-long-name-$i; done && "
			 "ln -s $(printf %%100s | tr ' ' l) t/long && head -c 9000 t/a/big >large",
			 dir),
		0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(image[0]);
	free(image[1]);
	host_remove_tree(dir);
	return 0;
}

static void make(const char *options)
{
	char path[HOST_PATH_BYTES + 16];

	assert_int_equal(
		host_run("cd %s && rm -f f0 f1 && truncate -s %dK f1 && "
			 "mke2fs -q -F -d t %s f1 && cp f1 f0 && "
			 "printf 'rm d/file-with-a-long-name-7\\nwrite large a/new\\nrm link\\n"
			 "mkdir a/dir\\nsif a/big mode 0100600\\nea_set a/big user.x 123\\n"
			 "ea_set -f large hard user.large\\nln a/b/c d/c\\nunlink a/b/c\\n' >s && "
			 "debugfs -w -f s f0",
			 dir, IMAGE_KIB, options),
		0);
	for (int version = 0; version < 2; version++) {
		int fd;

		snprintf(path, sizeof(path), "%s/f%d", dir, version);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(read(fd, image[version], IMAGE_KIB << 10), IMAGE_KIB << 10);
		close(fd);
	}
}

static void put(const struct diff_pair *p, int version, uint64_t off, uint8_t byte)
{
	assert_int_equal(pwrite(p->version[version].fd, &byte, 1, (off_t)off), 1);
}

/* Somewhere near other bytes that are not zero: there is where structures are. */
static struct flip flip(const struct diff_pair *p, struct rng *rng)
{
	struct flip f = {.version = (int)rng_below(rng, 2)};
	uint8_t byte;

	do
		f.off = rng_below(rng, IMAGE_KIB << 10);
	while (!image[f.version][f.off] && rng_below(rng, 64));
	byte = rng_below(rng, 3) ? (uint8_t)rng_below(rng, 256)
				 : (uint8_t)(image[f.version][f.off] + 1);
	put(p, f.version, f.off, byte);
	/* both versions alike: damage that was there at prepare. */
	if (rng_below(rng, 2))
		put(p, !f.version, f.off, byte);
	return f;
}

static void too_long(int signal)
{
	(void)signal;
	if (write(STDERR_FILENO, doing, strlen(doing)) < 0)
		_exit(2);
	_exit(1);
}

static bool is_proper(int rc)
{
	switch (rc) {
	case 0:
	case -EUCLEAN:
	case -EBADMSG:
	case -EOPNOTSUPP:
		return true;
	default:
		return false;
	}
}

static void one_run(struct diff_pair *p, const char *what, uint64_t seed)
{
	struct bowimg_error err = {0};
	struct bow_layer_report report;
	char out[HOST_PATH_BYTES + 16];
	struct bow_diff *d = NULL;
	int rc;

	snprintf(out, sizeof(out), "%s/out.tar", dir);
	snprintf(doing, sizeof(doing), "this takes too long: %s, DIFF_SEED=%llu DIFF_RUNS=1\n",
		 what, (unsigned long long)seed);
	alarm(SECONDS_MAX);
	rc = diff_pair_run(p, true, &d, &err);
	if (!rc)
		rc = bow_layer_write(d, out, &report, &err);
	bow_diff_free(d);
	alarm(0);
	if (!is_proper(rc) || (rc && (!err.message[0] || err.code != rc)))
		fail_msg("%s, seed %llu: %d, \"%s\"", what, (unsigned long long)seed, rc,
			 err.message);
}

static void run_kind(const char *options, uint64_t seed, unsigned runs)
{
	char names[2][HOST_PATH_BYTES + 16];
	struct diff_pair p;

	make(options);
	for (int version = 0; version < 2; version++)
		snprintf(names[version], sizeof(names[version]), "%s/f%d", dir, version);
	diff_pair_open(&p, names[0], names[1]);
	for (int version = 0; version < 2; version++) {
		close(p.version[version].fd);
		p.version[version].fd = open(names[version], O_RDWR | O_CLOEXEC);
	}
	for (unsigned i = 0; i < runs; i++) {
		struct rng rng;
		struct flip flips[FLIPS_MAX];
		unsigned n;

		rng = (struct rng){.state = seed + i};
		n = 1 + (unsigned)rng_below(&rng, FLIPS_MAX);
		for (unsigned k = 0; k < n; k++)
			flips[k] = flip(&p, &rng);
		one_run(&p, options, seed + i);
		for (unsigned k = 0; k < n; k++)
			for (int version = 0; version < 2; version++)
				put(&p, version, flips[k].off, image[version][flips[k].off]);
	}
	diff_pair_close(&p);
}

static void damage_ends_in_an_answer_or_in_words(void **state)
{
	const char *seed_text = getenv("DIFF_SEED"), *runs_text = getenv("DIFF_RUNS");
	const uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10)
					: (uint64_t)time(NULL) << 16;
	const unsigned runs = runs_text ? (unsigned)atoi(runs_text) : 60;

	(void)state;
	printf("DIFF_SEED=%llu DIFF_RUNS=%u\n", (unsigned long long)seed, runs);
	signal(SIGALRM, too_long);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		run_kind(kinds[k], seed, runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damage_ends_in_an_answer_or_in_words),
	};

	return cmocka_run_group_tests_name("diff_hostile", tests, setup, teardown);
}
