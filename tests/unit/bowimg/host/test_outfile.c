/* SPDX-License-Identifier: MIT */
/* Files that get their name when they are complete: what there is before, after, and instead. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "bowimg/host/outfile.h"
#include "host.h"

static int set_up(void **state)
{
	char *dir = malloc(HOST_PATH_BYTES);

	*state = dir;
	return dir && host_temp_dir(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	assert_int_equal(chdir("/"), 0);
	host_remove_tree(*state);
	free(*state);
	return 0;
}

/* "name:content " of all files here, in the order of names. */
static const char *listing(void)
{
	static char text[512];
	FILE *p = popen("for f in .[!.]* *; do [ -e \"$f\" ] && printf '%s:%s ' \"$f\" "
			"\"$(cat \"$f\")\"; done",
			"r");
	size_t n = fread(text, 1, sizeof(text) - 1, p);

	text[n] = '\0';
	pclose(p);
	return text;
}

static void make(const char *name, const char *content)
{
	FILE *f = fopen(name, "w");

	fputs(content, f);
	fclose(f);
}

static void begin(struct bow_outfile *out, const char *name)
{
	struct bowimg_error err = {0};

	assert_int_equal(bow_outfile_open(name, NULL, out, &err), 0);
	assert_int_equal(write(out->fd, "new", 3), 3);
}

static void there_is_no_name_before_the_end(void **state)
{
	struct bow_outfile out;
	struct stat st;

	(void)state;
	begin(&out, "file");
	assert_string_equal(listing(), "");
	assert_int_equal(bow_outfile_finish(&out, NULL), 0);
	assert_string_equal(listing(), "file:new ");
	stat("file", &st);
	assert_int_equal(st.st_mode & 0777, 0644);
}

static void another_file_keeps_its_name_until_then(void **state)
{
	struct bow_outfile out;

	(void)state;
	make("file", "old");
	begin(&out, "file");
	assert_string_equal(listing(), "file:old ");
	assert_int_equal(bow_outfile_finish(&out, NULL), 0);
	assert_string_equal(listing(), "file:new ");
}

static void discarded_it_leaves_nothing(void **state)
{
	struct bow_outfile out;

	(void)state;
	make("file", "old");
	begin(&out, "file");
	bow_outfile_discard(&out);
	begin(&out, "other");
	bow_outfile_discard(&out);
	assert_string_equal(listing(), "file:old ");
}

/* As on a file system that cannot make files without a name. */
static void begin_named(struct bow_outfile *out, const char *name)
{
	begin(out, name);
	strcpy(out->temporary, ".bowimg-test");
	close(out->fd);
	out->fd = open(out->temporary, O_CREAT | O_RDWR, 0666);
	assert_int_equal(write(out->fd, "named", 5), 5);
}

static void a_temporary_name_goes_on_every_path(void **state)
{
	struct bow_outfile out;
	struct bowimg_error err = {0};

	(void)state;
	begin_named(&out, "file");
	assert_string_equal(listing(), ".bowimg-test:named ");
	bow_outfile_discard(&out);
	assert_string_equal(listing(), "");
	begin_named(&out, "file");
	assert_int_equal(bow_outfile_finish(&out, NULL), 0);
	assert_string_equal(listing(), "file:named ");
	/* A directory took the name meanwhile. */
	assert_int_equal(unlink("file"), 0);
	begin_named(&out, "file");
	assert_int_equal(mkdir("file", 0700), 0);
	assert_int_equal(bow_outfile_finish(&out, &err), -EISDIR);
	assert_int_equal(access(".bowimg-test", F_OK), -1);
}

static void a_link_stays_one(void **state)
{
	struct bow_outfile out;
	struct stat st;

	(void)state;
	assert_int_equal(mkdir("dir", 0700), 0);
	make("dir/real", "old");
	assert_int_equal(symlink("dir/real", "link"), 0);
	begin(&out, "link");
	assert_int_equal(bow_outfile_finish(&out, NULL), 0);
	lstat("link", &st);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(system("[ \"$(cat dir/real)\" = new ] && [ \"$(ls -A dir)\" = real ]"), 0);
}

static void neither_the_image_nor_a_directory_is_replaced(void **state)
{
	struct bow_outfile out;
	struct bowimg_error err = {0};

	(void)state;
	make("image", "image");
	assert_int_equal(link("image", "same"), 0);
	assert_int_equal(bow_outfile_open("same", "image", &out, &err), -EINVAL);
	assert_non_null(strstr(err.message, "the image itself"));
	assert_int_equal(mkdir("dir", 0700), 0);
	assert_int_equal(bow_outfile_open("dir", NULL, &out, &err), -EINVAL);
	assert_int_equal(bow_outfile_open("none/file", NULL, &out, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(listing(), "dir: image:image same:image ");
}

static void names_may_be_as_long_as_names_can_be(void **state)
{
	char name[256];
	struct bow_outfile out;

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	for (int i = 0; i < 2; i++) {
		begin(&out, name);
		assert_int_equal(bow_outfile_finish(&out, NULL), 0);
	}
	assert_int_equal(unlink(name), 0);
	assert_string_equal(listing(), "");
}

static void many_at_once_leave_one_whole_file(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		if (fork() == 0) {
			struct bow_outfile out;

			for (int k = 0; k < 20; k++) {
				begin(&out, "file");
				if (bow_outfile_finish(&out, NULL))
					_exit(1);
			}
			_exit(0);
		}
	for (int i = 0, status; i < 8; i++) {
		wait(&status);
		assert_int_equal(status, 0);
	}
	assert_string_equal(listing(), "file:new ");
}

static void no_room_is_told_apart(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	assert_int_equal(bow_outfile_failed(-EFBIG, "x", &err), -ENOSPC);
	assert_int_equal(err.code, -ENOSPC);
	assert_string_equal(err.message, "cannot write x: File too large");
	assert_non_null(strstr(err.hint, "ulimit -f"));
	bow_err_clear(&err);
	assert_int_equal(bow_outfile_failed(-EDQUOT, "x", &err), -ENOSPC);
	assert_string_equal(err.message, "cannot write x: Disk quota exceeded");
	bow_err_clear(&err);
	assert_int_equal(bow_outfile_failed(-EIO, "x", &err), -EIO);
	assert_string_equal(err.hint, "");
}

static void a_file_without_a_name_stays_so(void **state)
{
	int fd = bow_outfile_nameless(".");

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_string_equal(listing(), "");
	close(fd);
	assert_int_equal(bow_outfile_nameless("none"), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_is_no_name_before_the_end),
		TEST(another_file_keeps_its_name_until_then),
		TEST(discarded_it_leaves_nothing),
		TEST(a_temporary_name_goes_on_every_path),
		TEST(a_link_stays_one),
		TEST(neither_the_image_nor_a_directory_is_replaced),
		TEST(names_may_be_as_long_as_names_can_be),
		TEST(many_at_once_leave_one_whole_file),
		TEST(no_room_is_told_apart),
		TEST(a_file_without_a_name_stays_so),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
