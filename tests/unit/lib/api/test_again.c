/* SPDX-License-Identifier: MIT */
/* A question about an image is asked again for what may pass, and for nothing else. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/api/api.h"

struct asked {
	int answers[8]; /* one after the other */
	unsigned n, force;
};

static int answer(struct bowimg_disk *dev, unsigned force, void *ctx, struct bowimg_error *err)
{
	struct asked *a = ctx;
	int rc = a->answers[a->n++];

	assert_null(dev);
	a->force = force;
	assert_int_equal(err->message[0], '\0');
	return rc ? bow_err(err, rc, "answer %u", a->n) : 0;
}

static int ask(struct asked *a, bool in_use)
{
	struct bowimg_error err = {.message = "of another call"};
	int rc = bow_ask_again(NULL, in_use, 0, answer, a, &err);

	assert_int_equal(err.code, rc);
	return rc;
}

static void what_a_change_meanwhile_looks_like_passes(void **state)
{
	struct asked a = {.answers = {-EUCLEAN, -EBADMSG, -ESTALE, 0}};

	(void)state;
	assert_int_equal(ask(&a, true), 0);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.force, BOWIMG_FORCE_CHANGED);
}

static void real_damage_does_not_go_away(void **state)
{
	struct asked a = {.answers = {-EUCLEAN, -EUCLEAN, -EUCLEAN, -EUCLEAN, -EBADMSG, 0}};

	(void)state;
	assert_int_equal(ask(&a, true), -EBADMSG);
	assert_int_equal(a.n, 5);
}

static void other_errors_are_final(void **state)
{
	static const int others[] = {-EIO, -ENOMEM, -ENODATA, -EOPNOTSUPP, -EINPROGRESS};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct asked a = {.answers = {others[i]}};

		assert_int_equal(ask(&a, true), others[i]);
		assert_int_equal(a.n, 1);
	}
}

static void an_image_that_nobody_uses_is_asked_once(void **state)
{
	struct asked a = {.answers = {-EUCLEAN, 0}};

	(void)state;
	assert_int_equal(ask(&a, false), -EUCLEAN);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.force, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_change_meanwhile_looks_like_passes),
		cmocka_unit_test(real_damage_does_not_go_away),
		cmocka_unit_test(other_errors_are_final),
		cmocka_unit_test(an_image_that_nobody_uses_is_asked_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
