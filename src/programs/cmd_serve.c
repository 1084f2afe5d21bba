/* SPDX-License-Identifier: MIT */
/* bowimg serve: the disk over NBD on a unix socket, until a signal comes. */
#include "programs/cli.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fronts/nbd.h"
#include "fronts/process.h"

static int serve(struct bow_cli *cli, const struct bow_nbd_options *opts)
{
	const char *image = cli->operands[0];
	struct bowimg_error err = {0};
	struct bow_nbd server;

	int signal_fd = bow_process_catch_signals(&err);
	int ret = signal_fd < 0 ? signal_fd : bow_nbd_start(&server, image, opts, signal_fd, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	/* The one line of output: a script waits for it, so that it is printed with any options. */
	puts(server.uri);
	fflush(stdout);
	int signo = bow_nbd_wait(&server, signal_fd);
	ret = bow_nbd_stop(&server, &err);
	if (!ret && cli->verbose)
		fprintf(stderr, "bowimg: %s: %s (%s)\n", image,
			opts->before ? "nothing was changed" : "everything is on disk",
			signo ? "ended by a signal" : "nbdkit was told to end");
	return ret ? bow_cli_fail_image(cli, image, ret, &err) : BOW_EXIT_DONE;
}

int bow_cmd_serve(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_nbd_options opts = {0};
	int durability = BOWIMG_DURABILITY_POWER;
	const struct bow_cli_option options[] = {
		{"socket", 0, BOW_CLI_STRING, &opts.socket, 0, NULL},
		{"before", 0, BOW_CLI_FLAG, &opts.before, 0, NULL},
		BOW_CLI_OPT_DURABILITY(&durability),
		BOW_CLI_OPT_FORCE(&opts.force),
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&cli, 1, 1, "IMAGE");
	if (!status && (!opts.socket || !opts.socket[0]))
		status = bow_cli_usage(&cli, "say where clients connect: --socket PATH");
	opts.durability = (enum bowimg_durability)durability;
	return status ? status : serve(&cli, &opts);
}
