/* SPDX-License-Identifier: MIT */
/*
 * The disk that comes late to who shows it as it was: only when a command has asked for it, and
 * only if what is shown is still the same moment of the same checkpoint.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bowimg/serve/disks.h"

#define BYTES (4u << 20)

struct fixture {
	char dir[32], image[64], other[64];
	struct bow_session session;
	struct bow_serve_options opts;
	struct bow_disks disks;
	struct bowimg_error err;
};

static void ok(const struct fixture *f, int ret)
{
	if (ret)
		fail_msg("%d: %s", ret, f->err.message);
}

static void prepare(struct fixture *f, const char *path)
{
	const struct bowimg_prepare_options opts = {.free_from = "none"};
	struct bowimg_prepare_report report;

	ok(f, bowimg_prepare(path, &opts, &report, &f->err));
}

static void mark(struct fixture *f, const char *path)
{
	struct bowimg_mark made;

	ok(f, bowimg_mark_make(path, "m", NULL, &made, &f->err));
}

static void fill(struct fixture *f, bowimg_disk *disk, int byte)
{
	char block[4096];

	memset(block, byte, sizeof(block));
	ok(f, bowimg_disk_write(disk, block, sizeof(block), 0, 0, &f->err));
}

/* At the mark the disk begins with 'm', afterwards with 'n'. */
static void write_all(struct fixture *f)
{
	bowimg_disk *disk;

	for (int byte = 'm'; byte <= 'n'; byte++) {
		ok(f, bowimg_open(f->image, NULL, &disk, &f->err));
		fill(f, disk, byte);
		ok(f, bowimg_disk_close(disk, &f->err));
		if (byte == 'm')
			mark(f, f->image);
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/bowimg-unit.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->image, sizeof(f->image), "%s/disk.img", f->dir);
	snprintf(f->other, sizeof(f->other), "%s/other.img", f->dir);
	fclose(fopen(f->image, "w"));
	assert_int_equal(truncate(f->image, BYTES), 0);
	prepare(f, f->image);
	write_all(f);
	f->session.lock_fd = -1;
	snprintf(f->session.dir, sizeof(f->session.dir), "%s", f->dir);
	snprintf(f->session.image, sizeof(f->session.image), "%s", f->image);
	snprintf(f->session.fuse_dir, sizeof(f->session.fuse_dir), "%s/fuse", f->dir);
	f->opts = (struct bow_serve_options){.before = true, .mark = "m"};
	f->disks = (struct bow_disks){.session = &f->session, .opts = &f->opts};
	ok(f, bow_disks_open(&f->disks, &f->err));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[64];

	bow_disks_close(&f->disks, &f->err);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void assert_begins(struct fixture *f, bowimg_disk *disk, char byte)
{
	char got;

	assert_non_null(disk);
	ok(f, bowimg_disk_read(disk, &got, 1, 0, &f->err));
	assert_int_equal(got, byte);
}

/* As a command does that wants the disk, or does not. */
static int want(struct fixture *f, bool wanted)
{
	f->session.before_only = !wanted;
	ok(f, bow_session_save(&f->session, &f->err));
	return f->disks.source.open_disk(f->disks.source.ctx, &f->disks.source);
}

static void assert_lost(struct fixture *f)
{
	struct bowimg_error why;

	assert_int_equal(want(f, true), -ESTALE);
	assert_null(f->disks.source.disk);
	assert_null(f->disks.source.before);
	assert_true(bow_session_load_result(&f->session, BOW_REFUSAL, &why));
	assert_int_equal(why.code, -ESTALE);
}

/* Another image under the name of this one, which is open. */
static void copy(struct fixture *f)
{
	char command[160];

	snprintf(command, sizeof(command), "cp -p --sparse=always %s %s", f->image, f->other);
	assert_int_equal(system(command), 0);
}

static void a_disk_that_is_wanted_comes(void **state)
{
	struct fixture *f = *state;

	assert_begins(f, f->disks.source.before, 'm');
	ok(f, want(f, true));
	assert_begins(f, f->disks.source.disk, 'n');
	fill(f, f->disks.source.disk, 'x');
	assert_begins(f, f->disks.source.disk, 'x');
	assert_begins(f, f->disks.source.before, 'm');
}

static void one_that_no_command_wants_does_not(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(want(f, false), -EACCES);
	assert_null(f->disks.source.disk);
	assert_begins(f, f->disks.source.before, 'm');
	ok(f, want(f, true));
	assert_begins(f, f->disks.source.before, 'm');
}

static void the_same_image_under_the_same_name_is_the_same(void **state)
{
	struct fixture *f = *state;

	copy(f);
	assert_int_equal(rename(f->other, f->image), 0);
	ok(f, want(f, true));
	assert_begins(f, f->disks.source.before, 'm');
}

static void another_mark_of_that_name_is_not_shown(void **state)
{
	struct fixture *f = *state;

	copy(f);
	ok(f, bowimg_mark_delete(f->other, "m", NULL, &f->err));
	mark(f, f->other);
	assert_int_equal(rename(f->other, f->image), 0);
	assert_lost(f);
}

static void another_checkpoint_is_not_shown(void **state)
{
	struct fixture *f = *state;
	const struct bowimg_end_options end = {0};
	struct bowimg_end_report report;

	copy(f);
	ok(f, bowimg_commit(f->other, &end, &report, &f->err));
	prepare(f, f->other);
	mark(f, f->other);
	assert_int_equal(rename(f->other, f->image), 0);
	assert_lost(f);
}

static void a_mark_that_is_gone_is_not_shown(void **state)
{
	struct fixture *f = *state;

	copy(f);
	ok(f, bowimg_mark_delete(f->other, "m", NULL, &f->err));
	assert_int_equal(rename(f->other, f->image), 0);
	assert_int_equal(want(f, true), -ENODATA);
	assert_null(f->disks.source.before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_disk_that_is_wanted_comes),
		TEST(one_that_no_command_wants_does_not),
		TEST(the_same_image_under_the_same_name_is_the_same),
		TEST(another_mark_of_that_name_is_not_shown),
		TEST(another_checkpoint_is_not_shown),
		TEST(a_mark_that_is_gone_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
