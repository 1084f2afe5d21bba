/* SPDX-License-Identifier: MIT */
/* A server that does not answer: no command waits for it in silence. */
#ifndef BOW_CLI_WAITING_H
#define BOW_CLI_WAITING_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

/* `waiting` for struct bowimg_events, whose ctx is the struct bow_cli. */
void bow_cli_waiting(void *ctx, const char *text);

/* For calls that take no other options. */
struct bowimg_options bow_cli_call(struct bow_cli *cli, unsigned force);

#endif
