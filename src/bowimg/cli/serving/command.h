/* SPDX-License-Identifier: MIT */
/* The command of bowimg run. */
#ifndef BOW_SERVING_COMMAND_H
#define BOW_SERVING_COMMAND_H

#include "bowimg/host/process.h"
#include "bowimg/cli/cli.h"

/* Is there such a program? 0, or the exit status of a failure that has been printed. */
int bow_run_check_command(struct bow_cli *cli);

/*
 * Run the command of `cli` with {} replaced by the disk's name, and BOWIMG_DISK in the environment.
 * Signals that come meanwhile are passed on, the last one is left in *caught; `aside` (or NULL) has
 * its turns. Returns its exit status, 128 + N when a signal killed it, 126 or 127 when it could not
 * be started.
 */
int bow_run_command(struct bow_cli *cli, const char *disk, int signal_fd,
		    struct bow_process_aside *aside, int *caught);

#endif
