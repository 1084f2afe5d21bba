/* SPDX-License-Identifier: MIT */
/* bowimg attach: the disk as a loop device, or as a file. */
#include "programs/serving.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static int attach(struct bow_cli *cli, const struct bow_serving *serving, const char *fuse_dir)
{
	char disk[PATH_MAX + 16];
	struct bow_service service;
	const struct bow_service_options opts = {
		.serve = bow_serving_options(cli, serving),
		.loop = !fuse_dir,
		.fuse_dir = fuse_dir,
	};

	if (opts.loop && geteuid() != 0)
		return bow_cli_error(cli, -EPERM, "as a user: bowimg attach --fuse DIR IMAGE",
				     "attaching %s: only root may make loop devices",
				     cli->operands[0]);
	int status = bow_serving_start(cli, cli->operands[0], &opts, &service);
	if (status)
		return status;
	/* The one line of output: a script reads it, so that it is printed with any options. */
	bow_service_disk(&service, disk, sizeof(disk));
	puts(disk);
	return BOW_EXIT_DONE;
}

int bow_cmd_attach(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_serving serving = BOW_SERVING_DEFAULTS;
	const char *fuse_dir = NULL;
	bool loop = false;
	const struct bow_cli_option options[] = {
		{"fuse", 0, BOW_CLI_STRING, &fuse_dir, 0, NULL},
		{"loop", 0, BOW_CLI_FLAG, &loop, 0, NULL},
		BOW_CLI_OPT_DURABILITY(&serving.durability),
		BOW_CLI_OPT_FORCE(&serving.force),
		BOW_SERVING_OPT_STUCK_AFTER(&serving),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&cli, 1, 1, "IMAGE");
	if (!status && fuse_dir && loop)
		status = bow_cli_usage(&cli, "--fuse and --loop exclude each other");
	return status ? status : attach(&cli, &serving, fuse_dir);
}
