/* SPDX-License-Identifier: MIT */
/* bowimg prepare: open a checkpoint, and print what it can carry. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "bowimg/helpers/expose.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/print/prepare.h"
#include "bowimg/cli/verbs/trim.h"

static const struct bow_cli_choice stores[] = {
	{"free", BOWIMG_STORE_FREE},
	{"tail", BOWIMG_STORE_TAIL},
	{NULL, 0},
};

static const struct bow_cli_choice on_fulls[] = {
	{"stop", BOWIMG_ON_FULL_STOP},
	{"tail", BOWIMG_ON_FULL_TAIL},
	{NULL, 0},
};

static int prepare(struct bow_cli *cli, const struct bowimg_prepare_options *opts,
		   const struct bow_part_table *table)
{
	const char *image = cli->image;
	struct bowimg_prepare_report report = {0};
	struct bowimg_error err = {0};
	int ret;

	if (cli->command) {
		ret = bow_prepare_by_command(cli, opts, &report);
		if (ret)
			return ret;
	} else {
		ret = bowimg_prepare(image, opts, &report, &err);
		if (ret == -ENOSPC)
			bow_part_table_warn(cli, table);
		if (ret)
			return bow_cli_fail(cli, ret, &err);
	}
	bow_prepare_warn(cli, &report);
	if (cli->json)
		return bow_prepare_print_json(cli, &report, table, opts->dry_run);
	bow_prepare_print(cli, &report, table, opts->dry_run);
	return BOW_EXIT_DONE;
}

/* A command can follow only with the source that needs one; else "--" ends the options. */
static bool names_trim(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--free-from=trim") == 0 ||
		    (strcmp(argv[i], "--free-from") == 0 && i + 1 < argc &&
		     strcmp(argv[i + 1], "trim") == 0))
			return true;
	return false;
}

static int check_command(struct bow_cli *cli, bool check)
{
	if (cli->command && check)
		return bow_cli_usage(cli, "--check and a command cannot be combined");
	if (!cli->command || cli->command_count > 0)
		return 0;
	return bow_cli_usage(cli, "missing command after --; expected: IMAGE -- COMMAND [ARG...]");
}

int bow_verb_prepare(int argc, char **argv)
{
	struct bow_cli cli = {.takes_command = names_trim(argc, argv)};
	struct bow_part_table table = {0};
	struct bowimg_prepare_options opts = {.partition = bow_part_table_add,
					      .partition_ctx = &table};
	int exact = BOWIMG_DEFAULT, store = BOWIMG_STORE_FREE, on_full = BOWIMG_ON_FULL_DEFAULT;
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_FREE_FROM(&opts.free_from),
		{"exact", 0, BOW_CLI_VALUE, &exact, BOWIMG_YES, NULL},
		{"no-exact", 0, BOW_CLI_VALUE, &exact, BOWIMG_NO, NULL},
		{"store", 0, BOW_CLI_CHOICE, &store, 0, stores},
		{"on-full", 0, BOW_CLI_CHOICE, &on_full, 0, on_fulls},
		{"check", 0, BOW_CLI_FLAG, &opts.check, 0, NULL},
		BOW_CLI_OPT_DRY_RUN(&opts.dry_run),
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_PROGRESS_FD(&cli),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status || (status = check_command(&cli, opts.check)))
		return status;
	bow_interrupt_catch();
	opts.exact = (enum bowimg_choice)exact;
	opts.store = (enum bowimg_store)store;
	opts.on_full = (enum bowimg_on_full)on_full;
	opts.events = bow_cli_events(&cli);
	opts.events.helpers = &bow_helpers;
	return prepare(&cli, &opts, &table);
}
