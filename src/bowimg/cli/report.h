/* SPDX-License-Identifier: MIT */
/* The report of a verb as one JSON object. */
#ifndef BOW_CLI_REPORT_H
#define BOW_CLI_REPORT_H

#include <stdio.h>

#include "bowimg/cli/cli.h"

struct json_t;

/*
 * Print version, image, verb and the members of `more`, which is freed; NULL: out of memory. On
 * standard error it is one line, as errors are. Returns the exit status.
 */
int bow_cli_report(struct bow_cli *cli, struct json_t *more, FILE *out);

#endif
