/* SPDX-License-Identifier: MIT */
/* bowimg apply: bring a patch of bowimg export's into an image, whole or not at all. */
#include "bowimg/cli/verbs.h"

#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

#include "bowimg/patch/patch.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/report.h"
#include "bowimg/cli/size.h"

static void print_done(struct bow_cli *cli, const struct bow_patch_apply_options *opts,
		       const struct bow_patch_apply_report *r)
{
	const char *image = cli->image;
	const char *direction = r->head.direction == BOW_PATCH_UNDO ? "undo" : "redo";
	struct bow_cli_size size = bow_cli_human(r->totals.run_bytes);

	if (r->already)
		bow_cli_print(cli, "%s: already applied: the image is as this %s patch leaves it",
			      image, direction);
	else if (opts->dry_run)
		bow_cli_print(cli,
			      "dry run: %s: nothing was changed; the patch is complete and fits: "
			      "apply would "
			      "write %s in %" PRIu64 " runs",
			      image, size.text, r->totals.runs);
	else
		bow_cli_print(cli, "%s: %s patch applied: %s in %" PRIu64 " runs", image, direction,
			      size.text, r->totals.runs);
}

static int print_json(struct bow_cli *cli, const struct bow_patch_apply_options *opts,
		      const struct bow_patch_apply_report *r)
{
	bool undo = r->head.direction == BOW_PATCH_UNDO;

	return bow_cli_report(cli,
			      json_pack("{s:b,s:s,s:b,s:s,s:I,s:b,s:I,s:I,s:I}", "dry-run",
					opts->dry_run, "direction", undo ? "undo" : "redo",
					"already", r->already, "uuid", r->head.checkpoint,
					"virtual-size", (json_int_t)r->head.image_size, "exact",
					r->head.exact, "runs", (json_int_t)r->totals.runs, "bytes",
					(json_int_t)r->totals.run_bytes, "data-bytes",
					(json_int_t)r->totals.data_bytes),
			      stdout);
}

static int apply(struct bow_cli *cli, const struct bow_patch_apply_options *opts, int fd)
{
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};

	int ret = bow_patch_apply(fd, cli->image, opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(cli, cli->image, ret, &err);
	if (cli->json)
		return print_json(cli, opts, &report);
	print_done(cli, opts, &report);
	if (cli->verbose)
		bow_cli_print(cli, "The patch is from the checkpoint %s of a disk of %s",
			      report.head.checkpoint, bow_cli_human(report.head.image_size).text);
	return BOW_EXIT_DONE;
}

int bow_verb_apply(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_patch_apply_options opts = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_DRY_RUN(&opts.dry_run),
		BOW_CLI_OPT_FREE_FROM(&opts.free_from),
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_PROGRESS_FD(&cli),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};
	struct bowimg_error err = {0};
	int fd;

	int status = bow_cli_parse(&cli, argc, argv, options, "FILE IMAGE");
	if (status)
		return status;
	opts.name = cli.operands[0];
	opts.events = bow_cli_events(&cli);
	int ret = bow_patch_input_open(cli.operands[0], &fd, &err);
	if (ret)
		return bow_cli_fail(&cli, ret, &err);
	/* Not before: a pipe can take its time, and there is nothing to roll back yet. */
	bow_interrupt_catch();
	status = apply(&cli, &opts, fd);
	close(fd);
	return status;
}
