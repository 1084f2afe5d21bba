/* SPDX-License-Identifier: MIT */
/* bowimg mount: FUSE, a loop device on it, and the file system on that. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/serving/options.h"
#include "bowimg/cli/serving/service.h"
#include "bowimg/cli/serving/via.h"

static int mount_image(struct bow_cli *cli, const struct bow_serving *serving, const char *options)
{
	struct bow_service service;
	const struct bow_service_options opts = {
		.serve = bow_serving_by_fuse(cli, serving),
		.loop = true,
		.partition = serving->partition,
		.mount_dir = cli->operands[1],
		.mount_options = options,
		.beside = !serving->before,
	};

	int status = bow_serving_start(cli, cli->image, &opts, &service);
	if (!status && cli->verbose)
		bow_cli_print(cli, "%s is mounted at %s through %s, served by process %d",
			      cli->image, service.session.mount_dir, service.session.loop,
			      (int)service.session.pid);
	return status;
}

/* As it was: beside the disk where that is served, else from an image left alone. */
static int mount_before(struct bow_cli *cli, const struct bow_serving *serving, const char *options)
{
	struct bowimg_error err = {0};
	char readonly[1024], device[BOW_LOOP_NAME];

	const struct bow_before what = {.mark = bow_mark_of(serving->before),
					.partition = serving->partition,
					.dir = cli->operands[1],
					.mount_options = options};
	int ret = bow_serving_add_before(cli, serving, &what, device, &err);
	if (ret < 0)
		return bow_cli_fail(cli, ret, &err);
	if (ret > 0)
		return BOW_EXIT_DONE;
	if (snprintf(readonly, sizeof(readonly), "ro%s%s", options ? "," : "",
		     options ? options : "") >= (int)sizeof(readonly))
		return bow_cli_usage(cli, "the mount options are too long");
	return mount_image(cli, serving, readonly);
}

int bow_verb_mount(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_serving serving = BOW_SERVING_DEFAULTS;
	const char *mount_options = NULL;
	const struct bow_cli_option options[] = {
		{NULL, 'o', BOW_CLI_STRING, &mount_options, 0, NULL},
		BOW_SERVING_OPT_PARTITION(&serving),
		BOW_SERVING_OPT_BEFORE(&serving),
		BOW_SERVING_OPTIONS(&cli, &serving),
		BOW_SERVING_OPT_STUCK_AFTER(&serving),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE DIR");
	if (!status)
		status = bow_serving_check(&cli, &serving);
	if (status)
		return status;
	if (geteuid() != 0)
		return bow_via_need_root(&cli, "mount");
	status = bow_via_check(&cli, BOW_VIA_LOOP);
	if (status)
		return status;
	return serving.before ? mount_before(&cli, &serving, mount_options)
			      : mount_image(&cli, &serving, mount_options);
}
