/* SPDX-License-Identifier: MIT */
/* bowimg mount: FUSE, a loop device on it, and the file system on that. */
#include "programs/serving.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fronts/service_before.h"

static int mount_image(struct bow_cli *cli, const struct bow_serving *serving, unsigned partition,
		       bool before, const char *options)
{
	struct bow_service service;
	struct bow_service_options opts = {
		.serve = bow_serving_options(cli, serving),
		.loop = true,
		.partition = partition,
		.mount_dir = cli->operands[1],
		.mount_options = options,
	};

	opts.serve.before = before;
	int status = bow_serving_start(cli, cli->operands[0], &opts, &service);
	if (!status && cli->verbose)
		bow_cli_say(cli, "%s is mounted at %s through %s, served by process %d",
			    cli->operands[0], service.entry.mount_dir, service.entry.loop,
			    (int)service.daemon.pid);
	return status;
}

/* As it was at prepare: beside the disk where that is served, else from an image left alone. */
static int mount_before(struct bow_cli *cli, const struct bow_serving *serving, unsigned partition,
			const char *options)
{
	struct bowimg_error err = {0};
	char readonly[1024];

	int ret = bow_service_add_before(cli->operands[0], partition, cli->operands[1], options,
					 &err);
	if (ret < 0)
		return bow_cli_fail(cli, ret, &err);
	if (ret > 0)
		return BOW_EXIT_DONE;
	if (snprintf(readonly, sizeof(readonly), "ro%s%s", options ? "," : "",
		     options ? options : "") >= (int)sizeof(readonly))
		return bow_cli_usage(cli, "the mount options are too long");
	return mount_image(cli, serving, partition, true, readonly);
}

int bow_cmd_mount(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_serving serving = BOW_SERVING_DEFAULTS;
	const char *mount_options = NULL;
	unsigned partition = 0;
	bool before = false;
	const struct bow_cli_option options[] = {
		{NULL, 'o', BOW_CLI_STRING, &mount_options, 0, NULL},
		BOW_SERVING_OPT_PARTITION(&partition),
		{"before", 0, BOW_CLI_FLAG, &before, 0, NULL},
		BOW_CLI_OPT_DURABILITY(&serving.durability),
		BOW_CLI_OPT_FORCE(&serving.force),
		BOW_SERVING_OPT_STUCK_AFTER(&serving),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&cli, 2, 2, "IMAGE DIR");
	if (status)
		return status;
	if (geteuid() != 0)
		return bow_cli_error(&cli, -EPERM, "as a user: bowimg attach --fuse DIR IMAGE",
				     "mounting %s: only root may mount", cli.operands[0]);
	return before ? mount_before(&cli, &serving, partition, mount_options)
		      : mount_image(&cli, &serving, partition, false, mount_options);
}
