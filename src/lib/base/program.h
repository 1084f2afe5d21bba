/* SPDX-License-Identifier: MIT */
/* Another program: found, and started without a shell. */
#ifndef BOW_BASE_PROGRAM_H
#define BOW_BASE_PROGRAM_H

#include <limits.h>
#include <stdbool.h>
#include "lib/base/child.h"

#define BOW_PROGRAM_FDS_MAX 8
#define BOW_PROGRAM_NULL (-1) /* /dev/null */

struct bow_program {
	char *const *argv; /* argv[0]: an absolute path, or a name that is looked up in PATH */
	char *const *env;  /* NULL: ours */

	/*
	 * Its descriptors 0, 1, 2...: one of ours, or BOW_PROGRAM_NULL; it gets no others. NULL: it
	 * gets all of ours that are not closed on exec.
	 */
	const int *fds;
	int fd_count; /* at most BOW_PROGRAM_FDS_MAX */

	/*
	 * It starts with no signal blocked. SIGPIPE and SIGXFSZ are not ignored, and with this no
	 * signal is.
	 */
	bool default_signals;

	/*
	 * Called in the child when all of this is done; may be NULL. 0, or -errno: do not start.
	 * Only what is safe in a signal handler, if the process has other threads.
	 */
	int (*prepare)(void *ctx);
	void *ctx;
};

/*
 * Start it; sets c->pid and leaves c->sock alone. -errno: it could not be started, whatever the
 * reason, and there is no child.
 */
int bow_program_start(const struct bow_program *p, struct bow_child *c);

/*
 * Look for a program in the absolute directories of `dirs`, a list like PATH; NULL is an empty one.
 * If it is found, `path` is where.
 */
bool bow_program_find(const char *dirs, const char *name, char path[PATH_MAX]);

#endif
