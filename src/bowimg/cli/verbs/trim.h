/* SPDX-License-Identifier: MIT */
/* bowimg prepare --free-from=trim -- COMMAND. */
#ifndef BOW_VERBS_TRIM_H
#define BOW_VERBS_TRIM_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

/*
 * Serve the image over NBD while the command of `cli` runs; if it succeeds, open a checkpoint with
 * what was trimmed as free map. Returns 0, or the exit status of a failure that has been printed.
 */
int bow_prepare_by_command(struct bow_cli *cli, const struct bowimg_prepare_options *opts,
			   struct bowimg_prepare_report *report);

#endif
