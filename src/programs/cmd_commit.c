/* SPDX-License-Identifier: MIT */
/* bowimg commit: keep the changes and end the checkpoint. */
#include "programs/cli.h"

#include <inttypes.h>

static const struct bow_cli_choice force_names[] = {
	{"changed", BOWIMG_FORCE_CHANGED},
	{"forward", BOWIMG_FORCE_FORWARD},
	{NULL, 0},
};

static void say_done(struct bow_cli *cli, const struct bowimg_end_options *opts,
		     const struct bowimg_end_report *r)
{
	const char *image = cli->operands[0];

	bow_cli_say(cli, "%s: committed%s: the changes are kept, %s zeroed", image,
		    r->before == BOWIMG_STATE_CHECKPOINT ? "" : " (finishing an interrupted run)",
		    bow_cli_human(r->zeroed_bytes).text);
	bow_cli_say(cli, "No checkpoint is open; there is nothing to roll back to any more.%s",
		    opts->wipe ? " What the backups held is zeroed." : "");
}

static int commit(struct bow_cli *cli, const struct bowimg_end_options *opts)
{
	const char *image = cli->operands[0];
	struct bowimg_end_report report = {0};
	struct bowimg_error err = {0};

	int ret = bowimg_commit(image, opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(cli, image, ret, &err);
	if (opts->dry_run)
		bow_cli_say(cli,
			    "%s: nothing was changed; commit would keep the changes and zero %s",
			    image, bow_cli_human(report.zeroed_bytes).text);
	else
		say_done(cli, opts, &report);
	if (cli->verbose)
		bow_cli_say(cli, "%" PRIu64 " log entries, found in state %s", report.entries,
			    bowimg_state_name(report.before));
	return BOW_EXIT_DONE;
}

int bow_cmd_commit(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_end_options opts = {0};
	const struct bow_cli_option options[] = {
		{"dry-run", 'n', BOW_CLI_FLAG, &opts.dry_run, 0, NULL},
		{"wipe", 0, BOW_CLI_FLAG, &opts.wipe, 0, NULL},
		{"force", 0, BOW_CLI_BITS, &opts.force, 0, force_names},
		BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")))
		return status;
	bow_cli_ignore_sigpipe();
	opts.events = bow_cli_events(&cli);
	return commit(&cli, &opts);
}
