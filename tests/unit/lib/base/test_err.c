/* SPDX-License-Identifier: MIT */
/* Error texts: wrapping, hints, and what happens when there is too much to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/base/err.h"

static void a_null_error_is_accepted_everywhere(void **state)
{
	(void)state;
	assert_int_equal(bow_err(NULL, -EIO, "x"), -EIO);
	assert_int_equal(bow_err_errno(NULL, -ENOSPC, "x"), -ENOSPC);
	assert_int_equal(bow_err_wrap(NULL, -EBUSY, "x"), -EBUSY);
	bow_err_hint(NULL, "x");
	bow_err_clear(NULL);
}

static void wrapping_puts_the_context_first(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	assert_int_equal(bow_err_errno(&err, -EIO, "read block %d", 7), -EIO);
	assert_string_equal(err.message, "read block 7: Input/output error");
	assert_int_equal(bow_err_wrap(&err, -EBADMSG, "disk.img: log"), -EBADMSG);
	assert_string_equal(err.message, "disk.img: log: read block 7: Input/output error");
	assert_int_equal(err.code, -EBADMSG);
}

static void a_name_stands_once_and_first(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	bow_err(&err, -EIO, "a.img: partition 2: a.img: read: xa.img: a.imgs: b: a.img");
	assert_int_equal(bow_err_name(&err, -EIO, "a.img"), -EIO);
	assert_string_equal(err.message, "a.img: partition 2: read: xa.img: a.imgs: b: a.img");
	bow_err_take_out(NULL, "a.img");
	bow_err_take_out(&err, "");
	bow_err_take_out(&err, "a.img");
	assert_string_equal(err.message, "partition 2: read: xa.img: a.imgs: b: a.img");
}

static void wrapping_nothing_still_gives_the_reason(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	bow_err_wrap(&err, -ENOMEM, "load the map");
	assert_string_equal(err.message, "load the map: Cannot allocate memory");
}

static void the_innermost_hint_wins_and_a_new_error_forgets_it(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	bow_err(&err, -EBUSY, "first");
	bow_err_hint(&err, "umount %s", "/mnt");
	bow_err_wrap(&err, -EBUSY, "outer");
	bow_err_hint(&err, "something vague");
	assert_string_equal(err.hint, "umount /mnt");
	bow_err(&err, -EIO, "second");
	assert_string_equal(err.hint, "");
	bow_err_hint(&err, "check the disk");
	bow_err_clear(&err);
	assert_int_equal(err.code, 0);
	assert_string_equal(err.message, "");
	assert_string_equal(err.hint, "");
}

static void an_error_may_be_made_from_its_own_text(void **state)
{
	struct bowimg_error err = {0};

	(void)state;
	bow_err(&err, -EIO, "inner");
	bow_err(&err, -EUCLEAN, "told before: %s", err.message);
	assert_string_equal(err.message, "told before: inner");
}

static void a_very_long_name_does_not_push_out_the_reason(void **state)
{
	static const char reason[] = ": No space left on device";
	struct bowimg_error err = {0};
	char name[4096];
	size_t bytes;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	bow_err_errno(&err, -ENOSPC, "%s", name);
	bytes = strlen(err.message);
	assert_true(bytes < sizeof(err.message));
	assert_string_equal(err.message + bytes - strlen(reason), reason);
	assert_non_null(strstr(err.message, "nnn...: "));
	for (int i = 0; i < 100; i++)
		bow_err_wrap(&err, -ENOSPC, "step %d: %s", i, i % 2 ? name : "short");
	assert_int_equal(strncmp(err.message, "step 99: nnn", 12), 0);
	bytes = strlen(err.message);
	assert_true(bytes < sizeof(err.message));
	assert_string_equal(err.message + bytes - strlen(reason), reason);
}

static void too_long_hints_are_cut(void **state)
{
	struct bowimg_error err = {0};
	char text[1000];

	(void)state;
	memset(text, 'h', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	bow_err_hint(&err, "%s", text);
	assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_null_error_is_accepted_everywhere),
		cmocka_unit_test(wrapping_puts_the_context_first),
		cmocka_unit_test(a_name_stands_once_and_first),
		cmocka_unit_test(wrapping_nothing_still_gives_the_reason),
		cmocka_unit_test(the_innermost_hint_wins_and_a_new_error_forgets_it),
		cmocka_unit_test(an_error_may_be_made_from_its_own_text),
		cmocka_unit_test(a_very_long_name_does_not_push_out_the_reason),
		cmocka_unit_test(too_long_hints_are_cut),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
