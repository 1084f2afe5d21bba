/* SPDX-License-Identifier: MIT */
/*
 * The comparison of files: file systems of many kinds, changed by debugfs without a mount, and what
 * is said about each change.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "diff_pair.h"
#include "ext_image.h"
#include "host.h"

static char dir[HOST_PATH_BYTES];

static int setup(void **state)
{
	const char *tools[] = {"mke2fs", "debugfs", "e2fsck"};

	(void)state;
	assert_int_equal(setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1), 0);
	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		host_require(host_has_tool(tools[i]), tools[i]);
	assert_true(host_temp_dir(dir));
	assert_int_equal(
		host_run(
			"cd %s && mkdir -p t/a/b t/many t/d/sub t/empty && echo one > t/a/one && "
			"head -c 300000 /dev/zero | tr '\\0' x > t/a/big && ln t/a/big t/d/hard && "
			"ln -s target t/link && for i in $(seq 300); do echo $i > t/many/f$i; done "
			"&& "
			"echo s > t/d/sub/s && echo n > new && head -c 300000 /dev/zero > zeros && "
			"touch -d @1000000000 t/a/one t/many/f*",
			dir),
		0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_remove_tree(dir);
	return 0;
}

/* Make the image; `script` (debugfs) and `shell` change a copy of it. */
static void make(const char *options, const char *script, const char *shell)
{
	char before[HOST_PATH_BYTES + 8];

	snprintf(before, sizeof(before), "%s/before", dir);
	if (host_run("cd %s && rm -f before now && truncate -s 40M before && "
		     "mke2fs -q -F -d t %s before",
		     dir, options) ||
	    ext_image_lower(options, before) ||
	    host_run("cd %s && cp --sparse=always before now", dir))
		fail_msg("mke2fs %s failed", options);
	assert_int_equal(host_run("cd %s && printf '%s' > script && debugfs -w -f script now", dir,
				  script),
			 0);
	assert_int_equal(host_run("cd %s && %s", dir, shell), 0);
}

static char *compare(bool all_links, struct bowimg_error *err)
{
	char now[HOST_PATH_BYTES + 8], before[HOST_PATH_BYTES + 8], *text = NULL;
	struct diff_pair p;
	struct bow_diff *d;

	snprintf(now, sizeof(now), "%s/now", dir);
	snprintf(before, sizeof(before), "%s/before", dir);
	diff_pair_open(&p, now, before);
	if (!diff_pair_run(&p, all_links, &d, err)) {
		text = diff_pair_text(d);
		bow_diff_free(d);
	}
	diff_pair_close(&p);
	return text;
}

static void expect(const char *options, const char *script, const char *shell, const char *wanted)
{
	struct bowimg_error err = {0};
	char *text;

	make(options, script, shell);
	text = compare(false, &err);
	if (!text)
		fail_msg("%s: %s", options, err.message);
	if (strcmp(text, wanted) != 0)
		fail_msg("%s:\n%sinstead of\n%s", options, text, wanted);
	free(text);
}

/* A byte of /a/big, and nothing else: neither a time nor an inode changes. */
#define OVERWRITE_BIG                                                         \
	"bs=$(dumpe2fs -h now 2>/dev/null | sed -n 's/Block size: *//p') && " \
	"b=$(debugfs -R 'bmap a/big 3' now 2>/dev/null) && "                  \
	"printf y | dd of=now bs=1 seek=$((b * bs + 17)) conv=notrunc"

static const char *const kinds[] = {
	"-t ext4",
	"-t ext4 -b 1024 -N 2000",
	"-t ext4 -b 1024 -O ^metadata_csum,^64bit -I 128",
	"-t ext4 -O inline_data -I 256",
	"-t ext4 -b 1024 -O ^extents,^64bit",
	"-t ext3 -b 2048",
	("-t ext2 -b 1024 " EXT_REVISION_0),
	"-t ext2 -b 4096 -O ^dir_index",
	"-t ext4 -b 1024 -O bigalloc -C 4096",
	"-t ext4 -b 1024 -O meta_bg,^resize_inode",
	"-t ext4 -b 1024 -O ^has_journal -G 4",
	"-t ext4 -b 8192",
	"-t ext4 -b 65536",
};

#define PLAIN kinds[0]

static void every_kind_of_file_system_is_read(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		expect(kinds[k],
		       "write new a/new\\nmkdir a/dir\\nwrite new a/dir/x\\nrm many/f77\\n"
		       "rmdir empty\\nrm link\\nsif a/one mode 0100600\\nsif many/f2 gid 70000\\n"
		       "ln d/sub a/sub2\\nunlink d/sub\\nsif a/sub2 ctime 1500000000\\n",
		       OVERWRITE_BIG,
		       "*/a/big c\n+/a/dir\n+/a/dir/x\n+/a/new\n*/a/one m\n>/d/sub>/a/sub2\n"
		       "*/d/hard c\n-/empty\n-/link\n*/many/f2 o\n-/many/f77\n");
}

static void nothing_changed_is_nothing_said(void **state)
{
	(void)state;
	expect(PLAIN, "", "true", "");
}

static void files_come_and_go(void **state)
{
	(void)state;
	expect(PLAIN,
	       "write new a/new\\nmkdir a/dir\\nwrite new a/dir/x\\nrm many/f77\\nrm link\\n"
	       "rmdir empty\\n",
	       "true", "+/a/dir\n+/a/dir/x\n+/a/new\n-/empty\n-/link\n-/many/f77\n");
}

static void what_an_inode_says_is_compared(void **state)
{
	(void)state;
	expect(PLAIN,
	       "sif a/one mode 0100600\\nsif many/f1 uid 70000\\nsif many/f2 gid 7\\n"
	       "sif many/f3 mtime 1500000000\\nsif many/f4 atime 1500000000\\n",
	       "true", "*/a/one m\n*/many/f1 o\n*/many/f2 o\n*/many/f3 d\n");
}

static void data_overwritten_in_place_finds_its_owner(void **state)
{
	(void)state;
	expect(PLAIN, "", OVERWRITE_BIG, "*/a/big c\n*/d/hard c\n");
}

static void names_of_one_file_are_all_found(void **state)
{
	(void)state;
	expect(PLAIN, "sif a/big mode 0100755\\n", "true", "*/a/big m\n*/d/hard m\n");
}

static void a_directory_that_moves_takes_its_files_with_it(void **state)
{
	(void)state;
	expect(PLAIN, "ln d/sub a/sub2\\nunlink d/sub\\nsif a/sub2 ctime 1500000000\\n", "true",
	       ">/d/sub>/a/sub2\n");
}

static void a_file_that_moves_is_renamed(void **state)
{
	(void)state;
	expect(PLAIN, "ln a/one d/one\\nunlink a/one\\nsif d/one mode 0100600\\n", "true",
	       ">/a/one>/d/one m\n");
}

static void a_name_that_means_another_file_is_modified(void **state)
{
	(void)state;
	expect(PLAIN,
	       "rm many/f9\\nwrite new x\\nsif x mtime 1000000000\\nln x many/f9\\nunlink x\\n",
	       "true", "*/many/f9 c\n");
}

static void a_directory_whose_blocks_were_moved_about_is_the_same(void **state)
{
	(void)state;
	/* e2fsck -D sorts and packs directories: all their blocks change, and no name does. */
	expect(PLAIN, "rm many/f250\\n", "e2fsck -fyD now; [ $? -le 1 ]", "-/many/f250\n");
}

static void attributes_are_compared(void **state)
{
	(void)state;
	expect("-t ext4", "ea_set a/one user.x abc\\n", "true", "*/a/one x\n");
	expect("-t ext4 -I 128", "ea_set a/one user.x abc\\n", "true", "*/a/one x\n");
	expect("-t ext4 -O ea_inode", "ea_set -f zeros a/one user.large\\nea_set a/big user.y 1\\n",
	       "true", "*/a/big x\n*/a/one x\n*/d/hard x\n");
}

static void types_and_devices_are_compared(void **state)
{
	(void)state;
	expect("-t ext4",
	       "rm a/one\\nmkdir a/one\\nsif a/one mode 040644\\nsif a/one mtime 1000000000\\n"
	       "mknod p p\\nmknod c c 4 5\\nsymlink s t\\n",
	       "true", "*/a/one t\n+/c\n+/p\n+/s\n");
}

static void an_archive_asks_for_all_names(void **state)
{
	struct bowimg_error err = {0};
	char *text;

	(void)state;
	make("-t ext4", "ln a/big third\\nsif a/big links_count 3\\n", "true");
	text = compare(true, &err);
	assert_non_null(text);
	assert_string_equal(text, "*/a/big\n*/d/hard\n+/third\n");
	free(text);
}

static void a_file_system_made_anew_is_compared_by_path(void **state)
{
	struct bowimg_error err = {0};
	char *text;

	(void)state;
	make(PLAIN, "",
	     "rm -rf u && cp -a t u && echo z > u/z && rm u/link && mke2fs -q -F -t ext4 -d u now");
	text = compare(false, &err);
	assert_non_null(text);
	/* The times of what mke2fs itself makes may differ or not. */
	assert_non_null(strstr(text, "-/link\n"));
	assert_non_null(strstr(text, "+/z\n"));
	assert_null(strstr(text, "/a/"));
	assert_null(strstr(text, "/many/"));
	free(text);
}

static void refused(const char *options, const char *shell, int code, const char *message,
		    const char *hint)
{
	struct bowimg_error err = {0};

	make(options, "", shell);
	assert_null(compare(false, &err));
	if (err.code != code || !strstr(err.message, message) || !strstr(err.hint, hint))
		fail_msg("got %d \"%s\" \"%s\"", err.code, err.message, err.hint);
}

static void what_cannot_be_compared_is_refused(void **state)
{
	(void)state;
	refused("-t ext4", "dd if=/dev/zero of=now bs=1k count=100 conv=notrunc", -EOPNOTSUPP,
		"no ext2, ext3 or ext4 file system on the disk as it is now", "changed ranges");
	refused("-t ext4 -b 4096", "mke2fs -q -F -b 1024 now", -EOPNOTSUPP, "made anew",
		"compare them");
	refused("-t ext4", "debugfs -w -R 'feature needs_recovery' now", -EUCLEAN,
		"the journal of the file system as it is now was not replayed", "e2fsck -p");
	refused("-t ext4", "debugfs -w -R 'feature needs_recovery' before", -EUCLEAN,
		"as it was at prepare was not replayed", "without --files");
}

static bool countdown(void *ctx)
{
	unsigned *left = ctx;

	return (*left)-- == 0;
}

static void a_read_that_fails_is_reported(void **state)
{
	char now[HOST_PATH_BYTES + 8], before[HOST_PATH_BYTES + 8];
	unsigned failures = 0;
	int rc = -1;

	(void)state;
	make(PLAIN, "rm a/one\\nwrite new x\\nsif many/f2 gid 7\\n", OVERWRITE_BIG);
	snprintf(now, sizeof(now), "%s/now", dir);
	snprintf(before, sizeof(before), "%s/before", dir);
	for (unsigned n = 0; rc; n++) {
		struct bowimg_error err = {0};
		struct diff_pair p;
		struct bow_diff *d = NULL;
		unsigned left = n;

		diff_pair_open(&p, now, before);
		p.inject = countdown;
		p.inject_ctx = &left;
		rc = diff_pair_run(&p, true, &d, &err);
		if (rc && (rc != -EIO || !strstr(err.message, "injected")))
			fail_msg("read %u: %d, %s", n, rc, err.message);
		failures += rc != 0;
		bow_diff_free(d);
		diff_pair_close(&p);
	}
	assert_true(failures > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_file_system_is_read),
		cmocka_unit_test(nothing_changed_is_nothing_said),
		cmocka_unit_test(files_come_and_go),
		cmocka_unit_test(what_an_inode_says_is_compared),
		cmocka_unit_test(data_overwritten_in_place_finds_its_owner),
		cmocka_unit_test(names_of_one_file_are_all_found),
		cmocka_unit_test(a_directory_that_moves_takes_its_files_with_it),
		cmocka_unit_test(a_file_that_moves_is_renamed),
		cmocka_unit_test(a_name_that_means_another_file_is_modified),
		cmocka_unit_test(a_directory_whose_blocks_were_moved_about_is_the_same),
		cmocka_unit_test(attributes_are_compared),
		cmocka_unit_test(types_and_devices_are_compared),
		cmocka_unit_test(an_archive_asks_for_all_names),
		cmocka_unit_test(a_file_system_made_anew_is_compared_by_path),
		cmocka_unit_test(what_cannot_be_compared_is_refused),
		cmocka_unit_test(a_read_that_fails_is_reported),
	};

	return cmocka_run_group_tests_name("diff", tests, setup, teardown);
}
