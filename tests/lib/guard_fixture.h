/* SPDX-License-Identifier: MIT */
/* For tests of who uses an image: an image, and whatever may use it, cleaned up in any case. */
#ifndef TESTS_GUARD_FIXTURE_H
#define TESTS_GUARD_FIXTURE_H

#include "lib/disk/disk.h"
#include "lib/host.h"

#define GUARD_IMAGE_BYTES (8u << 20)
#define GUARD_NOBODY 65534

struct guard_fixture {
	char dir[HOST_PATH_BYTES], image[HOST_PATH_BYTES + 16], mount[HOST_PATH_BYTES + 16];
	char other[HOST_PATH_BYTES + 16]; /* a second path, not made yet */
	char loop[HOST_LOOP_BYTES];
	char swap[HOST_PATH_BYTES + 16]; /* swapped on, or "" */
	pid_t child;
	int to_child; /* closing it tells the child to end; -1 if none */
	struct bowimg_disk *dev;
};

/* cmocka's set-up and tear-down. */
int guard_set_up(void **state);
int guard_tear_down(void **state);
#define GUARD_TEST(f) cmocka_unit_test_setup_teardown(f, guard_set_up, guard_tear_down)

/*
 * Run act(t) in a child, then keep the child until guard_end_child(). act returns an exit status, 0
 * for success; the parent goes on once act has returned.
 */
void guard_in_child(struct guard_fixture *t, int (*act)(struct guard_fixture *t));

/* Ends the child and gives its exit status. */
int guard_end_child(struct guard_fixture *t);

/* Opening for writing is refused as busy, with these words in message and hint. */
void guard_assert_busy(struct guard_fixture *t, const char *path, const char *word,
		       const char *hint);

/* Opening and closing for writing works. */
void guard_open(struct guard_fixture *t, const char *path);
void guard_close(struct guard_fixture *t);

#endif
