/* SPDX-License-Identifier: MIT */
/* A command with an NBD server around it: bowimg run --via=nbd, prepare --free-from=trim. */
#ifndef BOW_SERVING_NBD_H
#define BOW_SERVING_NBD_H

#include "bowimg/nbd/nbd.h"
#include "bowimg/cli/cli.h"

/*
 * Serve the image on a private socket while the command of `cli` runs. *status is the command's (as
 * bow_run_command() has it) if it was started; *caught the signal that came meanwhile. Returns 0 or
 * the exit status of a failure that has been printed; the server has ended in either case.
 */
int bow_run_over_nbd(struct bow_cli *cli, const char *image, const struct bow_nbd_options *opts,
		     int *status, int *caught);

/*
 * Run the command of `cli` with what it needs to find a server that is up; 0, or the exit status of
 * a failure that has been printed.
 */
int bow_run_with_server(struct bow_cli *cli, struct bow_nbd *server, int signal_fd, int *status,
			int *caught);

#endif
