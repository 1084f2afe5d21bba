/* SPDX-License-Identifier: MIT */
/* A helper program: found, run without a shell, watched, its words kept. */
#ifndef BOW_MAPS_HELPER_H
#define BOW_MAPS_HELPER_H

#include <limits.h>
#include "base/err.h"

/*
 * Look for a program in the absolute directories of PATH, and in those for administrators, which
 * are in nobody else's PATH though the program serves everybody. True: `path` is where it is.
 */
bool bow_helper_find(const char *program, char path[PATH_MAX]);

/* Descriptors that the program has besides the standard ones. */
#define BOW_HELPER_INPUT 3
#define BOW_HELPER_OUTPUT 4

struct bow_helper_limits {
	uint64_t output_bytes; /* the longest file that it may write */
	unsigned silent_s;     /* it is killed when it says nothing for so long */
};

/* The last that it said; older words are dropped. */
struct bow_helper_words {
	char text[2048];
	size_t bytes;
};

/*
 * Run argv (argv[0] is its absolute path) in the C locale to its end, with `input` and `output` as
 * its descriptors 3 and 4, and no other of ours. 0: it exited with status 0. -EIO: it did not, and
 * the message tells how; -ETIMEDOUT: it was killed. No signal handler is set, and a terminal's
 * signals reach it as they reach the caller.
 */
int bow_helper_run(char *const argv[], int input, int output,
		   const struct bow_helper_limits *limits, struct bow_helper_words *words,
		   struct bowimg_error *err);

#endif
