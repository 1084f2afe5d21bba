/* SPDX-License-Identifier: MIT */
/* NBD URIs: told from paths, made absolute, told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/base/uri.h"
#include "lib/host.h"

static char dir[HOST_PATH_BYTES];

static int set_up(void **state)
{
	(void)state;
	return host_temp_dir(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	host_remove_tree(dir);
	return chdir("/");
}

static void a_path_is_no_uri_and_the_other_way_round(void **state)
{
	static const char *const paths[] = {"",		 "nbd",	      "nbd.img",  "nbd:x",
					    "./nbd://x", "/dev/nbd0", "nbd/://x", "http://nbd://"};
	static const char *const uris[] = {"nbd://h", "nbds://h/x", "nbd+unix:///?socket=s",
					   "nbds+unix:///e?socket=s", "nbd+vsock://2"};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (bow_uri_is_nbd(paths[i]))
			fail_msg("%s is a path", paths[i]);
	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++)
		if (!bow_uri_is_nbd(uris[i]))
			fail_msg("%s is a URI", uris[i]);
}

/* `wanted` with the directory in place of @. */
static void assert_absolute(const char *uri, const char *wanted)
{
	char real[PATH_MAX], text[2 * PATH_MAX], out[PATH_MAX];
	struct bowimg_error err = {0};

	assert_non_null(realpath(dir, real));
	snprintf(text, sizeof(text), "%.*s%s%s", (int)strcspn(wanted, "@"), wanted,
		 strchr(wanted, '@') ? real : "",
		 strchr(wanted, '@') ? strchr(wanted, '@') + 1 : "");
	if (bow_uri_absolute(uri, out, &err))
		fail_msg("%s: %s", uri, err.message);
	assert_string_equal(out, text);
}

static void a_socket_is_named_from_anywhere(void **state)
{
	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	assert_int_equal(symlink("sub", "link"), 0);
	assert_absolute("nbd+unix:///?socket=s", "nbd+unix:///?socket=@/s");
	assert_absolute("nbd+unix:///e%20x?socket=link/s", "nbd+unix:///e%20x?socket=@/sub/s");
	assert_absolute("nbd+unix:///?socket=%73%20%26", "nbd+unix:///?socket=@/s%20%26");
	assert_absolute("nbd+unix:///?socket=/s", "nbd+unix:///?socket=/s");
	assert_absolute("nbd+unix:///?x=1&socket=./s&y", "nbd+unix:///?x=1&socket=@/s&y");
	assert_absolute("nbds://h/?tls-psk-file=sub/keys", "nbds://h/?tls-psk-file=@/sub/keys");
}

static void others_stay_as_they_are(void **state)
{
	(void)state;
	assert_absolute("nbd://host", "nbd://host");
	assert_absolute("nbds://[::1]:99/x%41?y=z", "nbds://[::1]:99/x%41?y=z");
	assert_absolute("nbd://h/?socketx=s&=", "nbd://h/?socketx=s&=");
}

static void assert_refused(const char *uri, int code)
{
	struct bowimg_error err = {0};
	char out[PATH_MAX];
	int rc = bow_uri_absolute(uri, out, &err);

	if (rc != code || !strstr(err.message, "nbd") || !err.hint[0])
		fail_msg("%.80s: %d \"%s\" (%s); expected %d", uri, rc, err.message, err.hint,
			 code);
}

static void what_cannot_be_understood_is_refused(void **state)
{
	char *longest = malloc(3 * PATH_MAX);

	(void)state;
	assert_refused("nbd+vsock://2/", -EOPNOTSUPP);
	assert_refused("nbdx://h", -EOPNOTSUPP);
	assert_refused("nbd+unix:///export", -EINVAL);
	assert_refused("nbd+unix:///?socket", -EINVAL);
	assert_refused("nbd+unix:///?socket=", -EINVAL);
	assert_refused("nbd+unix:///?socket=a%", -EINVAL);
	assert_refused("nbd+unix:///?socket=a%4", -EINVAL);
	assert_refused("nbd+unix:///?socket=a%zz", -EINVAL);
	assert_refused("nbd+unix:///?socket=a%00b", -EINVAL);
	assert_refused("nbd+unix:///?socket=none/s", -ENOENT);
	assert_non_null(longest);
	memset(longest, 'a', 3 * PATH_MAX);
	longest[3 * PATH_MAX - 1] = '\0';
	memcpy(longest, "nbd+unix:///?socket=", 20);
	assert_refused(longest, -ENAMETOOLONG);
	memcpy(longest, "nbd://aaaaaaaaaaaaaa", 20);
	assert_refused(longest, -ENAMETOOLONG);
	free(longest);
}

static void assert_same(const char *a, const char *b, bool same)
{
	if ((bow_uri_key(a) == bow_uri_key(b)) != same)
		fail_msg("%s and %s %s the same export", a, b, same ? "are" : "are not");
}

static void ways_to_write_one_export_have_one_key(void **state)
{
	(void)state;
	assert_same("nbd://host", "nbd://host:10809/", true);
	assert_same("nbd://host/x", "nbds://me@HOST:10809/%78?tls-certificates=/etc", true);
	assert_same("nbd://[::1]", "nbd://[::1]:10809", true);
	assert_same("nbd+unix:///?socket=/s", "nbds+unix:///?a=b&socket=%2fs", true);
	assert_same("nbd://host", "nbd://host:10810", false);
	assert_same("nbd://host/x", "nbd://host/X", false);
	assert_same("nbd://host/x", "nbd://host2/x", false);
	assert_same("nbd://[::1]", "nbd://[::2]", false);
	assert_same("nbd+unix:///?socket=/s", "nbd+unix:///?socket=/t", false);
	assert_same("nbd+unix:///?socket=/s", "nbd+unix:///x?socket=/s", false);
	assert_same("nbd+unix:///?socket=/s", "nbd://s", false);
}

static void what_locks_must_know_of_an_export_is_found(void **state)
{
	const char *const here[] = {"nbd://localhost/x", "nbd://LOCALHOST:1/", "nbds://127.0.0.2",
				    "nbd://me@127.0.0.1:10809/x", "nbd://[::1]:5/x"};
	const char *const elsewhere[] = {"nbd://localhost.example/", "nbd://12.0.0.1/",
					 "nbd://[::12]/", "nbd+unix:///localhost?socket=/s"};
	char socket[PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++)
		assert_true(bow_uri_is_loopback(here[i]));
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		assert_false(bow_uri_is_loopback(elsewhere[i]));
	assert_true(bow_uri_is_tls("nbds+unix:///?socket=/s") && bow_uri_is_tls("nbds://h"));
	assert_false(bow_uri_is_tls("nbd://s") || bow_uri_is_tls("nbd+unix:///?socket=/s"));
	assert_true(bow_uri_socket("nbd+unix:///x?a=b&socket=%2fa%20b&c", socket));
	assert_string_equal(socket, "/a b");
	assert_false(bow_uri_socket("nbd://h/?socket=/s", socket));
	bow_uri_server("nbd+unix:///x?socket=/a", socket);
	assert_string_equal(socket, "/a");
	bow_uri_server("nbds://alice@Storage/x", socket);
	assert_string_equal(socket, "storage:10809");
	/* One server by two names, and its exports. */
	assert_true(bow_uri_key_at("nbd://a/x", "place") == bow_uri_key_at("nbd://b/x", "place"));
	assert_true(bow_uri_key_at("nbd://a/x", "place") != bow_uri_key_at("nbd://a/y", "place"));
}

static void an_image_has_one_name(void **state)
{
	char out[PATH_MAX], real[PATH_MAX + 16];
	struct bowimg_error err = {0};

	(void)state;
	assert_true(host_make_file("disk.img", 4096));
	assert_int_equal(bow_image_name("disk.img", out, &err), 0);
	assert_non_null(realpath(dir, real));
	strcat(real, "/disk.img");
	assert_string_equal(out, real);
	assert_int_equal(bow_image_name("nbd://h", out, &err), 0);
	assert_string_equal(out, "nbd://h");
	assert_int_equal(bow_image_name("missing", out, &err), -ENOENT);
	assert_non_null(strstr(err.message, "missing"));
}

#define URI_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		URI_TEST(a_path_is_no_uri_and_the_other_way_round),
		URI_TEST(a_socket_is_named_from_anywhere),
		URI_TEST(others_stay_as_they_are),
		URI_TEST(what_cannot_be_understood_is_refused),
		URI_TEST(ways_to_write_one_export_have_one_key),
		URI_TEST(what_locks_must_know_of_an_export_is_found),
		URI_TEST(an_image_has_one_name),
	};

	return cmocka_run_group_tests_name("uri", tests, NULL, NULL);
}
