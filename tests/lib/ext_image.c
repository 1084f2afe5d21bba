/* SPDX-License-Identifier: MIT */
/* Images made with mke2fs and debugfs, and questions put to dumpe2fs and e2fsck. */
#include "ext_image.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "rng.h"

#define FILES 24
#define DUMP_BYTES (1u << 20)

static void make_file(const struct ext_image *x, int i)
{
	/* From less than a block to many: 7 bytes, 22 bytes ... 180 KB. */
	const size_t bytes = (size_t)7 << (i % 8 * 2), all = bytes + (size_t)i * 13;
	uint8_t *buf = malloc(all);
	char path[HOST_PATH_BYTES + 40];
	FILE *f;

	snprintf(path, sizeof(path), "%s/f%d", x->files, i);
	f = fopen(path, "we");
	assert_non_null(buf);
	assert_non_null(f);
	rng_fill(buf, all, (uint64_t)i + 1);
	assert_int_equal(fwrite(buf, 1, all, f), all);
	assert_int_equal(fclose(f), 0);
	free(buf);
}

void ext_image_setup(struct ext_image *x)
{
	/* Ordinary users do not have e2fsprogs on their path. */
	assert_int_equal(setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1), 0);
	assert_true(host_temp_dir(x->dir));
	snprintf(x->files, sizeof(x->files), "%s/files", x->dir);
	snprintf(x->path, sizeof(x->path), "%s/disk.img", x->dir);
	assert_int_equal(host_run("mkdir %s", x->files), 0);
	for (int i = 0; i < FILES; i++)
		make_file(x, i);
}

void ext_image_teardown(struct ext_image *x)
{
	host_remove_tree(x->dir);
}

int ext_image_lower(const char *options, const char *path)
{
	return strstr(options, EXT_REVISION_0)
		       ? host_run("debugfs -w -R 'set_super_value rev_level 0' %s", path)
		       : 0;
}

void ext_image_make(struct ext_image *x, const char *options, unsigned kib)
{
	const char *tools[] = {"mke2fs", "debugfs", "dumpe2fs", "e2fsck"};

	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		host_require(host_has_tool(tools[i]), tools[i]);
	assert_int_equal(host_run("rm -f %s && truncate -s %uK %s", x->path, kib, x->path), 0);
	if (host_run("mke2fs -q -F -d %s %s %s", x->files, options, x->path) ||
	    ext_image_lower(options, x->path))
		fail_msg("mke2fs %s failed", options);
	/* Every third file goes; debugfs' own exit status says nothing. */
	assert_int_equal(host_run("for i in 0 3 6 9 12 15 18 21; do echo rm f$i; done > %s/cmd && "
				  "debugfs -w -f %s/cmd %s",
				  x->dir, x->dir, x->path),
			 0);
	/* Neither mke2fs -d nor debugfs keeps quota files up to date. */
	assert_true(host_run("e2fsck -fy %s", x->path) <= 1);
}

static uint64_t field(const char *dump, const char *name)
{
	const char *at = strstr(dump, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/*
 * "  Free blocks: 17-30, 45": with clusters, each number is the first block of one; as of 1.47.2
 * the second of a range is the last block of one.
 */
static void mark_line(bool *is_free, uint64_t blocks, uint64_t ratio, const char *at)
{
	while (*at != '\n' && *at != '\0') {
		char *end;
		uint64_t first = strtoull(at, &end, 10), last = first;

		if (end == at)
			break;
		if (*end == '-')
			last = strtoull(end + 1, &end, 10);
		if ((last - first) % ratio == 0)
			last += ratio - 1;
		for (uint64_t b = first; b <= last && b < blocks; b++)
			is_free[b] = true;
		at = *end == ',' ? end + 1 : end;
	}
}

static char *dump(const struct ext_image *x)
{
	char path[HOST_PATH_BYTES + 16], *text = calloc(DUMP_BYTES, 1);
	FILE *f;

	assert_non_null(text);
	snprintf(path, sizeof(path), "%s/dump", x->dir);
	assert_int_equal(host_run("dumpe2fs %s > %s", x->path, path), 0);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_true(fread(text, 1, DUMP_BYTES - 1, f) < DUMP_BYTES - 1);
	fclose(f);
	return text;
}

bool *ext_image_free_blocks(const struct ext_image *x, uint32_t *block_size, uint64_t *blocks)
{
	static const char groups[] = "\n  Free blocks:";
	char *text = dump(x);
	uint64_t cluster = field(text, "\nCluster size:");
	bool *is_free;

	*block_size = (uint32_t)field(text, "\nBlock size:");
	*blocks = field(text, "\nBlock count:");
	assert_true(*block_size >= 1024 && *blocks > 0);
	is_free = calloc(*blocks, 1);
	assert_non_null(is_free);
	for (const char *at = text; (at = strstr(at, groups)); at++)
		mark_line(is_free, *blocks, cluster ? cluster / *block_size : 1,
			  at + strlen(groups));
	free(text);
	return is_free;
}

struct bowimg_disk *ext_image_open(const struct ext_image *x)
{
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;

	if (bow_disk_open_file(x->path, BOW_OPEN_LOOK, NULL, &dev, &err))
		fail_msg("%s", err.message);
	return dev;
}

bool ext_image_is_intact(const struct ext_image *x)
{
	return host_run("e2fsck -fn %s", x->path) == 0 &&
	       host_run("cd %s && rm -rf out && mkdir out && debugfs -R 'rdump / out' %s && "
			"rm -rf out/lost+found && for i in 0 3 6 9 12 15 18 21; do "
			"cp files/f$i out; done && diff -r files out",
			x->dir, x->path) == 0;
}

int ext_image_set_up(void **state)
{
	static struct ext_image x;

	ext_image_setup(&x);
	*state = &x;
	return 0;
}

int ext_image_tear_down(void **state)
{
	ext_image_teardown(*state);
	return 0;
}
