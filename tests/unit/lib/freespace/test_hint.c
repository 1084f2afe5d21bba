/* SPDX-License-Identifier: MIT */
/* How the marks in a hint become words that can be pasted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/disk/hint.h"

#define SIZE ((uint64_t)1 << 30)

static void finished(const char *hint, const char *image, uint64_t off, const char *wanted)
{
	const struct bowimg_disk dev = {
		.name = image, .size = SIZE, .can_grow = !strchr(image, ':')};
	const uint64_t bytes = off ? 8192 : SIZE;
	struct bowimg_error err = {0};

	bow_hint_finish(NULL, &dev, off, bytes);
	strncpy(err.hint, hint, sizeof(err.hint) - 1);
	bow_hint_finish(&err, &dev, off, bytes);
	assert_string_equal(err.hint, wanted);
	/* Whoever passes it on may finish it again. */
	bow_hint_finish(&err, &dev, 0, SIZE);
	assert_string_equal(err.hint, wanted);
}

static void a_command_names_the_image_or_the_partition(void **state)
{
	const char hint[] = "clean it first: fsck.x -a " BOW_HINT_DEVICE;

	(void)state;
	finished(hint, "a.img", 0, "clean it first: fsck.x -a a.img");
	finished(hint, "/dev/sdb", 0, "clean it first: fsck.x -a /dev/sdb");
	finished(hint, "a.img", 512,
		 "clean it first: L=$(losetup -f --show -o 512 --sizelimit 8192 a.img); fsck.x -a "
		 "$L; "
		 "losetup -d $L");
}

static void what_follows_the_device_stays(void **state)
{
	(void)state;
	finished("replay it: mount " BOW_HINT_DEVICE " /mnt && umount /mnt", "a.img", 0,
		 "replay it: mount a.img /mnt && umount /mnt");
	finished("replay it: mount " BOW_HINT_DEVICE " /mnt && umount /mnt", "a.img", 4096,
		 "replay it: L=$(losetup -f --show -o 4096 --sizelimit 8192 a.img); mount $L /mnt "
		 "&& umount /mnt; "
		 "losetup -d $L");
}

static void an_export_becomes_a_file_first(void **state)
{
	const char hint[] = "first: fsck.x " BOW_HINT_DEVICE;

	(void)state;
	finished(hint, "nbd://h/a", 0,
		 "first: mkdir d; nbdfuse d/disk nbd://h/a & sleep 1; fsck.x d/disk; umount d");
	finished(hint, "nbd://h/a", 4096,
		 "first: mkdir d; nbdfuse d/disk nbd://h/a & sleep 1; L=$(losetup -f --show -o "
		 "4096 --sizelimit 8192 d/disk); fsck.x $L; losetup -d $L; umount d");
}

static void the_image_at_the_end_of_a_command_is_a_device_too(void **state)
{
	(void)state;
	finished("repair it first: e2fsck -f a.img", "a.img", 0,
		 "repair it first: e2fsck -f a.img");
	finished("repair it first: e2fsck -f a.img", "a.img", 4,
		 "repair it first: L=$(losetup -f --show -o 4 --sizelimit 8192 a.img); e2fsck -f "
		 "$L; "
		 "losetup -d $L");
	finished("get a whole copy, or cut it and run e2fsck a.img", "a.img", 4,
		 "get a whole copy, or cut it and run e2fsck a.img");
	finished("look at data.img", "a.img", 4, "look at data.img");
	finished("", "a.img", 4, "");
}

static void a_source_that_needs_a_tail_is_named_for_files_only(void **state)
{
	(void)state;
	finished("or " BOW_HINT_WITHOUT ".", "a.img", 0,
		 "or --free-from=none (backups past the end of the file) or map:FILE (a GNU "
		 "ddrescue map).");
	finished("or " BOW_HINT_WITHOUT "; look: wipefs " BOW_HINT_DEVICE, "nbd://h/a", 0,
		 "or --free-from=map:FILE (a GNU ddrescue map); look: mkdir d; nbdfuse d/disk "
		 "nbd://h/a & sleep 1; wipefs d/disk; umount d");
}

static void a_very_long_name_is_cut_and_nothing_else_happens(void **state)
{
	char name[3000];
	const struct bowimg_disk dev = {.name = name, .size = SIZE};
	struct bowimg_error err = {.hint = "first: fsck.x " BOW_HINT_DEVICE};

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	bow_hint_finish(&err, &dev, 4096, 512);
	assert_true(strlen(err.hint) < sizeof(err.hint));
	assert_null(strstr(err.hint, BOW_HINT_DEVICE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_names_the_image_or_the_partition),
		cmocka_unit_test(what_follows_the_device_stays),
		cmocka_unit_test(an_export_becomes_a_file_first),
		cmocka_unit_test(the_image_at_the_end_of_a_command_is_a_device_too),
		cmocka_unit_test(a_source_that_needs_a_tail_is_named_for_files_only),
		cmocka_unit_test(a_very_long_name_is_cut_and_nothing_else_happens),
	};

	return cmocka_run_group_tests_name("hint", tests, NULL, NULL);
}
