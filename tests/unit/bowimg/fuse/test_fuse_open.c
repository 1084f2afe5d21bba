/* SPDX-License-Identifier: MIT */
/*
 * Who has a file open, when an opener is interrupted: the answers to the kernel are taken here, in
 * place of libfuse.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "bowimg/fuse/private.h"

struct fixture {
	struct bow_fuse fuse;
	bool is_interrupted;	   /* the opener of the next answer */
	bool is_closed_in_between; /* and meanwhile the other user closes */
};

static struct fuse_file_info read_only;

void *fuse_req_userdata(fuse_req_t req)
{
	return &((struct fixture *)(void *)req)->fuse;
}

int fuse_reply_err(fuse_req_t req, int code)
{
	(void)req;
	assert_int_equal(code, 0);
	return 0;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	struct fixture *f = (struct fixture *)(void *)req;

	(void)fi;
	if (f->is_closed_in_between)
		bow_fuse_ops.release(req, BOW_FUSE_INO_FIRST, &read_only);
	return f->is_interrupted ? -ENOENT : 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fuse.file_count = 1;
	f->fuse.closed_fd = eventfd(0, EFD_NONBLOCK);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->fuse.closed_fd);
	free(f);
	return 0;
}

static void open_file(struct fixture *f)
{
	struct fuse_file_info fi = {.flags = O_RDONLY};

	bow_fuse_ops.open((fuse_req_t)(void *)f, BOW_FUSE_INO_FIRST, &fi);
}

static bool is_told(const struct fixture *f)
{
	struct pollfd fd = {.fd = f->fuse.closed_fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void a_file_that_is_open_is_not_told_to_be_closed(void **state)
{
	struct fixture *f = *state;

	assert_true(bow_fuse_is_open(&f->fuse)); /* nobody has come yet */
	open_file(f);
	f->is_interrupted = true;
	open_file(f);
	assert_true(bow_fuse_is_open(&f->fuse));
	assert_false(is_told(f));
}

static void an_interrupted_opener_that_was_the_last_user_is_told(void **state)
{
	struct fixture *f = *state;

	open_file(f);
	f->is_interrupted = f->is_closed_in_between = true;
	open_file(f);
	assert_false(bow_fuse_is_open(&f->fuse));
	assert_true(is_told(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_that_is_open_is_not_told_to_be_closed,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			an_interrupted_opener_that_was_the_last_user_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
