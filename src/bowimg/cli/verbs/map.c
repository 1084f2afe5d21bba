/* SPDX-License-Identifier: MIT */
/*
 * bowimg map: the free map in GNU ddrescue's map format, '?' for free and '+' for used, so that
 * ddrescue's tools can show it and prepare --free-from=map:FILE can read it back.
 */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bowimg/helpers/expose.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/waiting.h"

static void print_head(void)
{
	printf("# Mapfile. Made by bowimg %s: '?' is free, '+' is used\n"
	       "# current_pos  current_status  current_pass\n"
	       "0x00000000     ?               1\n"
	       "#      pos        size  status\n",
	       bowimg_version());
}

static int on_run(void *ctx, uint64_t off, uint64_t bytes, bool is_free)
{
	uint64_t *printed = ctx;

	if ((*printed)++ == 0)
		print_head();
	printf("0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", off, bytes, is_free ? '?' : '+');
	return ferror(stdout) ? -EIO : 0;
}

int bow_verb_map(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_prepare_options opts = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_FREE_FROM(&opts.free_from),
		{0},
	};
	struct bowimg_error err = {0};
	uint64_t printed = 0;

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status)
		return status;
	bow_interrupt_catch();
	opts.events = (struct bowimg_events){.stop = bow_interrupt_came,
					     .helpers = &bow_helpers,
					     .waiting = bow_cli_waiting,
					     .ctx = &cli};
	int ret = bowimg_map(cli.image, &opts, on_run, &printed, &err);
	return ret ? bow_cli_fail(&cli, ret, &err) : BOW_EXIT_DONE;
}
