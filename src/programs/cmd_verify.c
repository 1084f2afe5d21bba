/* SPDX-License-Identifier: MIT */
/* bowimg verify: would a rollback work, right now? Writes nothing. */
#include "programs/cli.h"

#include <inttypes.h>

int bow_cmd_verify(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_end_options opts = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_FORCE(&opts.force),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};
	struct bowimg_end_report report = {0};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")))
		return status;
	opts.events = bow_cli_events(&cli);
	int ret = bowimg_verify(cli.operands[0], &opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(&cli, cli.operands[0], ret, &err);
	bow_cli_say(&cli, "%s: a rollback would work: %" PRIu64 " log entries, %s to bring back",
		    cli.operands[0], report.entries, bow_cli_human(report.restored_bytes).text);
	return BOW_EXIT_DONE;
}
