/* SPDX-License-Identifier: MIT */
/* bowimg rollback: bring the image back to what it was at prepare. */
#include "programs/cli.h"

#include <inttypes.h>

static const struct bow_cli_choice force_names[] = {
	{"changed", BOWIMG_FORCE_CHANGED},
	{"partial", BOWIMG_FORCE_PARTIAL},
	{"forward", BOWIMG_FORCE_FORWARD},
	{NULL, 0},
};

/* A disk that the kernel's dm-bow left. */
static void say_done_dm_bow(struct bow_cli *cli, const struct bowimg_end_report *r)
{
	const char *image = cli->operands[0];

	if (r->forward) {
		bow_cli_say(cli, "%s: committed, because the log is damaged: the changes are kept",
			    image);
		return;
	}
	bow_cli_say(cli, "%s: rolled back%s: %s brought back", image,
		    r->before == BOWIMG_STATE_CHECKPOINT ? "" : " (finishing an interrupted run)",
		    bow_cli_human(r->restored_bytes).text);
	if (r->lost_entries)
		bow_cli_say(cli,
			    "Not all of it: %" PRIu64 " log entries or more were damaged, and what "
			    "they saved is as it was left. Check the file system.",
			    r->lost_entries);
	else
		bow_cli_say(cli, "Every block that was in use when dm-bow's checkpoint began is as "
				 "it was then.");
}

static void say_done(struct bow_cli *cli, const struct bowimg_end_options *opts,
		     const struct bowimg_end_report *r)
{
	const char *image = cli->operands[0];

	if (r->dm_bow) {
		say_done_dm_bow(cli, r);
		return;
	}
	if (r->before == BOWIMG_STATE_INTERRUPTED) {
		bow_cli_say(cli, "%s: the interrupted prepare is undone; no checkpoint is open",
			    image);
		return;
	}
	bow_cli_say(cli, "%s: rolled back%s: %s brought back, %s zeroed", image,
		    r->before == BOWIMG_STATE_CHECKPOINT ? "" : " (finishing an interrupted run)",
		    bow_cli_human(r->restored_bytes).text, bow_cli_human(r->zeroed_bytes).text);
	if (opts->again)
		bow_cli_say(cli, "A fresh checkpoint with the same free map is open.");
	else
		bow_cli_say(cli, "%s; no checkpoint is open.",
			    r->exact ? "The whole image is as it was, byte for byte"
				     : "Every block that was in use at prepare is as it was");
}

static void say_dry_run(struct bow_cli *cli, const struct bowimg_end_report *r)
{
	if (r->forward)
		bow_cli_say(cli,
			    "%s: nothing was changed; the log is damaged, so it would be "
			    "committed",
			    cli->operands[0]);
	else
		bow_cli_say(cli,
			    "%s: nothing was changed; rollback would bring back %s and zero %s",
			    cli->operands[0], bow_cli_human(r->restored_bytes).text,
			    bow_cli_human(r->zeroed_bytes).text);
}

static int rollback(struct bow_cli *cli, const struct bowimg_end_options *opts)
{
	const char *image = cli->operands[0];
	struct bowimg_end_report report = {0};
	struct bowimg_error err = {0};

	int ret = bowimg_rollback(image, opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(cli, image, ret, &err);
	if (opts->dry_run)
		say_dry_run(cli, &report);
	else
		say_done(cli, opts, &report);
	if (cli->verbose)
		bow_cli_say(cli, "%" PRIu64 " log entries, found in state %s", report.entries,
			    bowimg_state_name(report.before));
	return BOW_EXIT_DONE;
}

int bow_cmd_rollback(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_end_options opts = {0};
	const struct bow_cli_option options[] = {
		{"dry-run", 'n', BOW_CLI_FLAG, &opts.dry_run, 0, NULL},
		{"again", 0, BOW_CLI_FLAG, &opts.again, 0, NULL},
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
	return rollback(&cli, &opts);
}
