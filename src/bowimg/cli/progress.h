/* SPDX-License-Identifier: MIT */
/* The library's callbacks: a bar on a terminal, else a line every few seconds; warnings; Ctrl-C. */
#ifndef BOW_CLI_PROGRESS_H
#define BOW_CLI_PROGRESS_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

struct bowimg_events bow_cli_events(struct bow_cli *cli);

/* The same for work that is not counted in bytes. */
struct bowimg_events bow_cli_count_events(struct bow_cli *cli);

#endif
