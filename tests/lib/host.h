/* SPDX-License-Identifier: MIT */
/* What tests need from the machine they run on: places for files, loop devices, tools. */
#ifndef TESTS_HOST_H
#define TESTS_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A fresh directory below $TMPDIR or /tmp; and away with it and all that is in it. */
#define HOST_PATH_BYTES 128
bool host_temp_dir(char dir[HOST_PATH_BYTES]);
void host_remove_tree(const char *dir);

/* A sparse file of `bytes`; false (with a message) if that fails. */
bool host_make_file(const char *path, uint64_t bytes);

/*
 * Skips the running cmocka test, with a reason on standard output, unless `have`. In the strict
 * mode (BOWIMG_TEST_STRICT=1) the test fails instead.
 */
void host_require(bool have, const char *what);
bool host_has_tool(const char *name);
/* Is this root, with loop devices to be had? */
bool host_can_loop(void);

/*
 * Attach a loop device to a file: 0 and its path, or -errno. flags: LO_FLAGS_* of linux/loop.h;
 * sector_bytes: 0 for the default. Detaching accepts "".
 */
#define HOST_LOOP_BYTES 24
int host_loop_attach(const char *file, uint32_t flags, uint32_t sector_bytes,
		     char name[HOST_LOOP_BYTES]);
void host_loop_detach(const char *name);

/* Run a shell command made by printf rules, its output thrown away; its exit status. */
int host_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
