/* SPDX-License-Identifier: MIT */
/* bowimg diff: what was changed since prepare: ranges, or files. */
#include "programs/diff_report.h"

#include <errno.h>
#include <sys/stat.h>

#include "fronts/layer.h"

static int read_side(void *ctx, enum bowimg_side side, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	return bowimg_look_read(ctx, side, buf, bytes, off, err);
}

static int list_changes(void *ctx, int (*run)(void *ctx, const struct bowimg_change *change),
			void *run_ctx, struct bowimg_error *err)
{
	return bowimg_look_changes(ctx, run, run_ctx, err);
}

static int compare(struct bow_diff_run *run)
{
	struct bowimg_error err = {0};
	int rc;

	run->source = (struct bow_diff_source){.read = read_side,
					       .changes = list_changes,
					       .ctx = run->look,
					       .look = run->look,
					       .name = run->image,
					       .size = bowimg_look_size(run->look)};
	rc = bow_places_list(run->image, run->source.size, &run->places, &err);
	if (rc)
		return bow_cli_fail(run->cli, rc, &err);
	if (run->partition && !bow_places_keep(&run->places, run->partition))
		return bow_cli_error(run->cli, -EOPNOTSUPP,
				     "fdisk -l lists the partitions of a disk",
				     "%s: there is no partition '%s' on the disk", run->image,
				     run->partition);
	return run->files || run->tar ? bow_diff_list_files(run) : bow_diff_ranges(run);
}

static int check_tar(const struct bow_diff_run *run)
{
	struct stat image, tar;

	if (!bow_layer_knows(run->tar))
		return bow_cli_usage(run->cli, "--tar: the suffix of '%s' is none of %s", run->tar,
				     BOW_LAYER_SUFFIXES);
	if (stat(run->image, &image) == 0 && stat(run->tar, &tar) == 0 &&
	    image.st_dev == tar.st_dev && image.st_ino == tar.st_ino)
		return bow_cli_usage(run->cli, "--tar: %s is the image itself", run->tar);
	return 0;
}

int bow_cmd_diff(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_diff_run run = {.cli = &cli};
	unsigned force = 0;
	const struct bow_cli_option options[] = {
		{"files", 0, BOW_CLI_FLAG, &run.files, 0, NULL},
		{"tar", 0, BOW_CLI_STRING, &run.tar, 0, NULL},
		{"partition", 'p', BOW_CLI_STRING, &run.partition, 0, NULL},
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_FORCE(&force),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")))
		return status;
	run.image = cli.operands[0];
	if (run.tar && (status = check_tar(&run)))
		return status;
	int ret = bowimg_look_open(run.image, force, &run.look, &err);
	if (ret)
		return bow_cli_fail_image(&cli, run.image, ret, &err);
	status = compare(&run);
	bow_places_free(&run.places);
	ret = bowimg_look_close(run.look, &err);
	return ret ? bow_cli_fail(&cli, ret, &err) : status;
}
