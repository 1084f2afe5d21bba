/* SPDX-License-Identifier: MIT */
/* bowimg attach: the disk as a loop device, or as a file. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <unistd.h>

#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/serving/options.h"
#include "bowimg/cli/serving/service.h"
#include "bowimg/cli/serving/via.h"

/* As it was, beside the disk: 1, with its device; 0: the disk is not served. */
static int attach_beside(struct bow_cli *cli, const struct bow_serving *serving, char *device,
			 struct bowimg_error *err)
{
	const struct bow_before what = {.mark = bow_mark_of(serving->before)};

	return bow_serving_add_before(cli, serving, &what, device, err);
}

static int attach(struct bow_cli *cli, const struct bow_serving *serving, const char *fuse_dir)
{
	char disk[PATH_MAX + 16];
	struct bow_service service;
	const struct bow_service_options opts = {
		.serve = bow_serving_by_fuse(cli, serving),
		.loop = !fuse_dir,
		.fuse_dir = fuse_dir,
		.beside = !serving->before,
	};
	struct bowimg_error err = {0};

	if (opts.loop && geteuid() != 0)
		return bow_via_need_root(cli, "create loop devices");
	int status = bow_via_check(cli, opts.loop ? BOW_VIA_LOOP : BOW_VIA_FUSE);
	if (status)
		return status;
	int ret = opts.loop && serving->before ? attach_beside(cli, serving, disk, &err) : 0;
	if (ret < 0)
		return bow_cli_fail(cli, ret, &err);
	if (ret > 0) {
		bow_cli_put_line(disk);
		return BOW_EXIT_DONE;
	}
	status = bow_serving_start(cli, cli->image, &opts, &service);
	if (status)
		return status;
	/* The one line of output: a script reads it, so that it is printed with any options. */
	bow_service_disk(&service, disk, sizeof(disk));
	bow_cli_put_line(disk);
	return BOW_EXIT_DONE;
}

int bow_verb_attach(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_serving serving = BOW_SERVING_DEFAULTS;
	const char *fuse_dir = NULL;
	bool loop = false;
	const struct bow_cli_option options[] = {
		{"fuse", 0, BOW_CLI_STRING, &fuse_dir, 0, NULL},
		{"loop", 0, BOW_CLI_FLAG, &loop, 0, NULL},
		BOW_SERVING_OPT_BEFORE(&serving),
		BOW_SERVING_OPTIONS(&cli, &serving),
		BOW_SERVING_OPT_STUCK_AFTER(&serving),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (!status && fuse_dir && loop)
		status = bow_cli_usage(&cli, "--fuse and --loop cannot be combined");
	if (!status)
		status = bow_serving_check(&cli, &serving);
	return status ? status : attach(&cli, &serving, fuse_dir);
}
