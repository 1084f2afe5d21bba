/* SPDX-License-Identifier: MIT */
/* bowimg verify: check whether a rollback would work right now; write nothing. */
#include "bowimg/cli/verbs.h"

#include <inttypes.h>

#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/size.h"
#include "bowimg/cli/verbs/end.h"

int bow_verb_verify(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_end_options opts = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_FORCE(&opts.force), BOW_CLI_OPT_JSON(&cli),	   BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_PROGRESS_FD(&cli),	BOW_CLI_OPT_VERBOSE(&cli), {0},
	};
	struct bowimg_end_report report = {0};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status)
		return status;
	bow_interrupt_catch();
	opts.events = bow_cli_events(&cli);
	int ret = bowimg_verify(cli.image, &opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(&cli, cli.image, ret, &err);
	if (cli.json)
		return bow_end_print_json(&cli, &opts, &report);
	bow_cli_print(&cli, "%s: a rollback would work: %" PRIu64 " log entries, %s to bring back",
		      cli.image, report.entries, bow_cli_human(report.restored_bytes).text);
	if (cli.verbose)
		bow_cli_print(&cli, "It would bring back %s; the image was found in state %s",
			      report.exact ? "the whole image, byte for byte"
					   : "every block that was in use",
			      bowimg_state_name(report.before));
	return BOW_EXIT_DONE;
}
