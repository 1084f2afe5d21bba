/* SPDX-License-Identifier: MIT */
/* bowimg commit: keep the changes and end the checkpoint. */
#include "bowimg/cli/verbs.h"

#include <stddef.h>

#include "bowimg/cli/output.h"
#include "bowimg/cli/size.h"
#include "bowimg/cli/verbs/end.h"

static const struct bow_cli_choice force_values[] = {
	{"changed", BOWIMG_FORCE_CHANGED},
	{"forward", BOWIMG_FORCE_FORWARD},
	{NULL, 0},
};

static void print(struct bow_cli *cli, const struct bowimg_end_options *opts,
		  const struct bowimg_end_report *r)
{
	const char *image = cli->image;
	const struct bow_cli_size zeroed = bow_cli_human(r->zeroed_bytes);

	if (opts->dry_run) {
		bow_cli_print(cli,
			      "dry run: %s: nothing was changed; commit would keep the changes "
			      "and zero %s",
			      image, zeroed.text);
		return;
	}
	bow_cli_print(cli, "%s: committed%s: the changes are kept%s", image, bow_end_resumed(r),
		      opts->wipe ? "; what the backups held is zeroed" : "");
}

int bow_verb_commit(int argc, char **argv)
{
	static const struct bow_end_verb commit = {
		.end = bowimg_commit,
		.print = print,
		.flag = "wipe",
		.flag_at = offsetof(struct bowimg_end_options, wipe),
		.force_values = force_values,
	};

	return bow_end_run(&commit, argc, argv);
}
