/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/waiting.h"

#include <stdio.h>

#include "bowimg/cli/output.h"

/* From any thread. It is said with -q and --json, too. */
void bow_cli_waiting(void *ctx, const char *text)
{
	flockfile(stderr);
	bow_cli_clear_bar(ctx);
	fputs("bowimg: ", stderr);
	bow_cli_put(stderr, text);
	putc('\n', stderr);
	funlockfile(stderr);
}

struct bowimg_options bow_cli_call(struct bow_cli *cli, unsigned force)
{
	return (struct bowimg_options){.force = force,
				       .events = {.waiting = bow_cli_waiting, .ctx = cli}};
}
