/* SPDX-License-Identifier: MIT */
/* bowimg diff: what was changed since prepare, or since a mark: ranges, or files. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/diff/layer/layer.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/marks.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/waiting.h"
#include "bowimg/cli/print/diff.h"

static int no_partition(struct bow_diff_run *run)
{
	struct bowimg_error hint = {0};

	bow_err_hint(&hint, "list the partitions: fdisk -l %s", BOW_WORD(run->image));
	return bow_cli_error(run->cli, -EOPNOTSUPP, hint.hint,
			     "cannot compare: %s has no partition '%s'", run->image,
			     run->partition);
}

static int compare(struct bow_diff_run *run)
{
	struct bowimg_error err = {0};
	int rc;

	run->source =
		(struct bow_diff_source){.disk = {[BOW_NEW] = run->now, [BOW_OLD] = run->before},
					 .name = run->image,
					 .mark = run->mark,
					 .mountable = true};
	rc = bow_places_list(run->cli, bowimg_disk_size(run->now), &run->places, &err);
	if (rc)
		return bow_cli_fail(run->cli, rc, &err);
	if (run->partition && !bow_places_keep(&run->places, run->partition))
		return no_partition(run);
	return run->files || run->tar ? bow_diff_print_files(run) : bow_diff_print_ranges(run);
}

static int check_tar(const struct bow_diff_run *run)
{
	struct stat image, tar;

	if (!bow_layer_knows(run->tar))
		return bow_cli_usage(run->cli, "unknown suffix of '%s' for --tar; use one of: %s",
				     run->tar, BOW_LAYER_SUFFIXES);
	if (stat(run->image, &image) == 0 && stat(run->tar, &tar) == 0 &&
	    image.st_dev == tar.st_dev && image.st_ino == tar.st_ino)
		return bow_cli_usage(run->cli,
				     "cannot write the archive to %s: it is the image itself",
				     run->tar);
	return 0;
}

int bow_verb_diff(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_diff_run run = {.cli = &cli};
	const char *from = NULL;
	unsigned force = 0;
	const struct bow_cli_option options[] = {
		{"from", 0, BOW_CLI_STRING, &from, 0, NULL},
		{"files", 0, BOW_CLI_FLAG, &run.files, 0, NULL},
		{"summary", 0, BOW_CLI_FLAG, &run.summary, 0, NULL},
		{"tar", 0, BOW_CLI_STRING, &run.tar, 0, NULL},
		{"partition", 'p', BOW_CLI_STRING, &run.partition, 0, NULL},
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_FORCE(&force),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status)
		return status;
	run.image = cli.image;
	if (run.summary && !run.files)
		return bow_cli_usage(&cli, "--summary needs --files");
	run.mark = bow_mark_of(from);
	status = bow_mark_check(&cli, "--from", run.mark);
	if (!status && run.tar)
		status = check_tar(&run);
	if (status)
		return status;
	bow_interrupt_catch();
	const struct bowimg_options call = bow_cli_call(&cli, force);
	int ret = bowimg_open_view(run.image, &call, &run.now, &err);
	if (!ret)
		ret = bowimg_disk_at(run.now, run.mark, &run.before, &err);
	if (ret) {
		bowimg_disk_close(run.now, NULL);
		return bow_cli_fail_image(&cli, run.image, ret, &err);
	}
	status = compare(&run);
	bow_places_free(&run.places);
	bowimg_disk_close(run.before, NULL);
	ret = bowimg_disk_close(run.now, &err);
	return ret ? bow_cli_fail(&cli, ret, &err) : status;
}
