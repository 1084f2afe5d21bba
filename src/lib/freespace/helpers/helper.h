/* SPDX-License-Identifier: MIT */
/* A helper program: found, run on a volume, watched, its output kept. */
#ifndef BOW_FREESPACE_HELPERS_HELPER_H
#define BOW_FREESPACE_HELPERS_HELPER_H

#include <limits.h>
#include "lib/base/err.h"
#include "lib/freespace/helpers/output.h"

/* The volume and the output file, as the program is told to open them. */
#define BOW_HELPER_VOLUME "/proc/self/fd/3"
#define BOW_HELPER_FILE "/proc/self/fd/4"

/*
 * Look for a program in the absolute directories of PATH, and in those for administrators, which
 * are not in the PATH of other users. If it is found, `path` is where.
 */
bool bow_helper_find(const char *program, char path[PATH_MAX]);

struct bow_helper {
	char *const *argv;   /* argv[0]: its absolute path */
	int file;	     /* it has this as BOW_HELPER_FILE; BOW_PROGRAM_NULL: /dev/null */
	uint64_t file_bytes; /* the longest file that it may write; UINT64_MAX: any */
	unsigned silent_s;   /* it is killed if it prints nothing for so long, */
	const struct bowimg_events *events; /* and when these say "stop"; may be NULL */
};

/* How it ended. */
struct bow_helper_end {
	bool ran;   /* false: an error came before */
	int status; /* its exit status; -1: it did not exit by itself */
	struct bow_helper_output output;
};

/*
 * Run it in the C locale to its end, with `volume` as BOW_HELPER_VOLUME; it gets no other
 * descriptors of ours. 0: it exited with status 0. -EIO: it did not, and the message says how;
 * -ETIMEDOUT, -ECANCELED: it was killed. No signal handler is set, and a terminal's signals reach
 * it as they reach the caller.
 */
int bow_helper_run(const struct bow_helper *h, int volume, struct bow_helper_end *end,
		   struct bowimg_error *err);

#endif
