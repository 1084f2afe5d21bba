/* SPDX-License-Identifier: MIT */
/* bowimg apply: bring a patch of bowimg export's into an image, whole or not at all. */
#include "programs/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "fronts/patch.h"
#include "fronts/process.h"

static bool stop(void *ctx)
{
	const int *signal_fd = ctx;
	bool from_terminal;

	return bow_process_take_signal(*signal_fd, &from_terminal) != 0;
}

static void say_done(struct bow_cli *cli, const struct bow_patch_apply_options *opts,
		     const struct bow_patch_apply_report *r)
{
	const char *image = cli->operands[1];
	const char *direction = r->head.direction == BOW_PATCH_UNDO ? "undo" : "redo";
	struct bow_cli_size size = bow_cli_human(r->totals.run_bytes);

	if (r->already)
		bow_cli_say(cli, "%s: already applied: the image is as this %s patch leaves it",
			    image, direction);
	else if (opts->dry_run)
		bow_cli_say(cli,
			    "%s: nothing was changed; the patch is whole and fits: apply would "
			    "write %s in %" PRIu64 " runs",
			    image, size.text, r->totals.runs);
	else
		bow_cli_say(cli, "%s: %s patch applied: %s in %" PRIu64 " runs", image, direction,
			    size.text, r->totals.runs);
}

static int apply(struct bow_cli *cli, const struct bow_patch_apply_options *opts, int fd)
{
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};

	int ret = bow_patch_apply(fd, cli->operands[1], opts, &report, &err);
	if (ret)
		return bow_cli_fail_image(cli, cli->operands[1], ret, &err);
	say_done(cli, opts, &report);
	return BOW_EXIT_DONE;
}

int bow_cmd_apply(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_patch_apply_options opts = {0};
	const struct bow_cli_option options[] = {
		{"dry-run", 'n', BOW_CLI_FLAG, &opts.dry_run, 0, NULL},
		{"free-from", 0, BOW_CLI_STRING, &opts.free_from, 0, NULL},
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};
	struct bowimg_error err = {0};
	int fd, signal_fd = -1;

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 2, 2, "FILE IMAGE")))
		return status;
	bow_cli_ignore_sigpipe();
	opts.name = cli.operands[0];
	opts.common = (struct bow_patch_options){bow_cli_events(&cli), stop, &signal_fd};
	int ret = bow_patch_input_open(cli.operands[0], &fd, &err);
	/* Not before: a pipe can take its time, and there is nothing to roll back yet. */
	if (!ret)
		ret = signal_fd = bow_process_catch_signals(&err);
	if (ret < 0)
		return bow_cli_fail(&cli, ret, &err);
	status = apply(&cli, &opts, fd);
	close(fd);
	return status;
}
