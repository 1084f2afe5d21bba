/* SPDX-License-Identifier: MIT */
/* bowimg rollback: bring the image back to what it was at prepare, or at a mark. */
#include "bowimg/cli/verbs.h"

#include <inttypes.h>
#include <stddef.h>

#include "bowimg/cli/output.h"
#include "bowimg/cli/size.h"
#include "bowimg/cli/verbs/end.h"

static const struct bow_cli_choice force_values[] = {
	{"changed", BOWIMG_FORCE_CHANGED},
	{"partial", BOWIMG_FORCE_PARTIAL},
	{"forward", BOWIMG_FORCE_FORWARD},
	{NULL, 0},
};

/* A disk that the kernel's dm-bow left. */
static void print_done_dm_bow(struct bow_cli *cli, const struct bowimg_end_report *r)
{
	const char *image = cli->image;

	if (r->committed) {
		bow_cli_print(cli,
			      "%s: committed, because the log is damaged: the changes are kept",
			      image);
		return;
	}
	bow_cli_print(cli, "%s: rolled back%s: %s brought back", image, bow_end_resumed(r),
		      bow_cli_human(r->restored_bytes).text);
	if (r->lost_entries)
		bow_cli_print(cli,
			      "Not all of it: at least %" PRIu64
			      " log entries are damaged, and the blocks they saved were left as "
			      "they are. Check the file system.",
			      r->lost_entries);
	else
		bow_cli_print(cli,
			      "Every block that was in use when dm-bow's checkpoint began is as "
			      "it was then.");
}

static void print_done(struct bow_cli *cli, const struct bowimg_end_options *opts,
		       const struct bowimg_end_report *r)
{
	const char *image = cli->image;

	if (r->dm_bow) {
		print_done_dm_bow(cli, r);
		return;
	}
	if (r->before == BOWIMG_STATE_INTERRUPTED) {
		bow_cli_print(cli, "%s: the interrupted prepare is undone; no checkpoint is open",
			      image);
		return;
	}
	bow_cli_print(cli, "%s: rolled back%s: %s brought back; %s%s", image, bow_end_resumed(r),
		      bow_cli_human(r->restored_bytes).text,
		      r->exact ? "the whole image is as it was, byte for byte"
			       : "every block that was in use at prepare is as it was",
		      opts->again ? "; a fresh checkpoint with the same free map is open" : "");
}

/* The checkpoint stays open. */
static void print_to_mark(struct bow_cli *cli, const struct bowimg_end_options *opts,
			  const struct bowimg_end_report *r)
{
	const struct bow_cli_size restored = bow_cli_human(r->restored_bytes);

	if (opts->dry_run)
		bow_cli_print(cli,
			      "dry run: %s: nothing was changed; rollback to the mark '%s' would "
			      "bring back "
			      "%s",
			      cli->image, opts->to, restored.text);
	else
		bow_cli_print(cli,
			      "%s: the disk is as at the mark '%s'%s; %s brought back; the "
			      "checkpoint stays open",
			      cli->image, opts->to, bow_end_resumed(r), restored.text);
}

static void print_dry_run(struct bow_cli *cli, const struct bowimg_end_report *r)
{
	if (r->committed)
		bow_cli_print(
			cli,
			"dry run: %s: nothing was changed; the log is damaged, so it would be "
			"committed",
			cli->image);
	else
		bow_cli_print(cli,
			      "dry run: %s: nothing was changed; rollback would bring back %s and "
			      "zero %s",
			      cli->image, bow_cli_human(r->restored_bytes).text,
			      bow_cli_human(r->zeroed_bytes).text);
}

static void print(struct bow_cli *cli, const struct bowimg_end_options *opts,
		  const struct bowimg_end_report *r)
{
	if (opts->to)
		print_to_mark(cli, opts, r);
	else if (opts->dry_run)
		print_dry_run(cli, r);
	else
		print_done(cli, opts, r);
}

int bow_verb_rollback(int argc, char **argv)
{
	static const struct bow_end_verb rollback = {
		.end = bowimg_rollback,
		.print = print,
		.flag = "again",
		.flag_at = offsetof(struct bowimg_end_options, again),
		.force_values = force_values,
		.takes_mark = true,
	};

	return bow_end_run(&rollback, argc, argv);
}
