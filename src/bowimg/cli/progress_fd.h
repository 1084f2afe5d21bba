/* SPDX-License-Identifier: MIT */
/* --progress-fd: the progress as lines of JSON for another program. */
#ifndef BOW_CLI_PROGRESS_FD_H
#define BOW_CLI_PROGRESS_FD_H

#include "bowimg/cli/cli.h"

/* Nothing that becomes of the reader may stop the work: neither a signal nor a full pipe. */
void bow_progress_fd_begin(struct bow_cli *cli);

/*
 * Write {"what":"restore","done":4096,"total":8192}: at the beginning and the end of each step, and
 * between them at the pace of a bar. `now`: ms of a clock that only goes forward.
 */
void bow_progress_fd_put(struct bow_cli *cli, const char *what, uint64_t done, uint64_t total,
			 int64_t now);

#endif
