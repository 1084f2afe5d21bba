/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/verbs/end.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/marks.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/size.h"

int bow_end_print_json(struct bow_cli *cli, const struct bowimg_end_options *opts,
		       const struct bowimg_end_report *report)
{
	json_t *root = json_pack("{s:s,s:o,s:s,s:b,s:b,s:s?,s:s,s:s,s:b,s:I,s:I,s:I,s:b,s:I}",
				 "version", bowimg_version(), "image",
				 bow_cli_json_text(cli->image), "verb", cli->verb, "dry-run",
				 opts->dry_run, "again", opts->again, "to", opts->to, "format",
				 report->dm_bow ? "dm-bow" : "bowimg", "found",
				 bowimg_state_name(report->before), "exact", report->exact,
				 "entries", (json_int_t)report->entries, "restored-bytes",
				 (json_int_t)report->restored_bytes, "zeroed-bytes",
				 (json_int_t)report->zeroed_bytes, "committed", report->committed,
				 "lost-entries", (json_int_t)report->lost_entries);
	int status = BOW_EXIT_DONE;

	if (!root || bow_cli_put_json(root, stdout, JSON_INDENT(2)) != 0)
		status = bow_cli_error(cli, -ENOMEM, NULL,
				       "%s of %s is done, but the report cannot be printed: out of "
				       "memory",
				       cli->verb, cli->image);
	putchar('\n');
	json_decref(root);
	return status;
}

static int end(const struct bow_end_verb *verb, struct bow_cli *cli,
	       const struct bowimg_end_options *opts)
{
	const char *image = cli->image;
	struct bowimg_end_report report = {0};
	struct bowimg_error err = {0};

	int ret = verb->end(image, opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(cli, image, ret, &err);
	if (cli->json)
		return bow_end_print_json(cli, opts, &report);
	verb->print(cli, opts, &report);
	if (cli->verbose)
		bow_cli_print(cli, "%s zeroed; %" PRIu64 " log entries, found in state %s",
			      bow_cli_human(report.zeroed_bytes).text, report.entries,
			      bowimg_state_name(report.before));
	return BOW_EXIT_DONE;
}

int bow_end_run(const struct bow_end_verb *verb, int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_end_options opts = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_DRY_RUN(&opts.dry_run),
		{verb->flag, 0, BOW_CLI_FLAG, (char *)&opts + verb->flag_at, 0, NULL},
		{"force", 0, BOW_CLI_BITS, &opts.force, 0, verb->force_values},
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_PROGRESS_FD(&cli),
		BOW_CLI_OPT_VERBOSE(&cli),
		{"to", 0, verb->takes_mark ? BOW_CLI_STRING : 0, &opts.to, 0, NULL},
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (!status)
		status = bow_mark_check(&cli, "--to", opts.to);
	if (!status && opts.to && opts.again)
		status = bow_cli_usage(&cli, "--to and --again cannot be combined");
	if (status)
		return status;
	bow_interrupt_catch();
	opts.events = bow_cli_events(&cli);
	return end(verb, &cli, &opts);
}

const char *bow_end_resumed(const struct bowimg_end_report *report)
{
	return report->before == BOWIMG_STATE_CHECKPOINT ? "" : " (finishing an interrupted run)";
}
