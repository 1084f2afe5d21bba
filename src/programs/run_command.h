/* SPDX-License-Identifier: MIT */
/* The command of bowimg run. */
#ifndef BOW_PROGRAMS_RUN_COMMAND_H
#define BOW_PROGRAMS_RUN_COMMAND_H

#include "programs/cli.h"

/*
 * Run argv with {} replaced by the disk's name, and BOWIMG_DISK in the environment. Signals that
 * come meanwhile are passed on, the last one is left in *caught. Returns its exit status, 128 + N
 * when a signal killed it, 126 or 127 when it could not be started.
 */
int bow_run_command(struct bow_cli *cli, char *const argv[], const char *disk, int signal_fd,
		    int *caught);

#endif
