/* SPDX-License-Identifier: MIT */
/* bowimg serve: the disk over NBD on a unix socket, until a signal comes. */
#include "bowimg/cli/verbs.h"

#include <stdio.h>

#include "bowimg/nbd/nbd.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/servers.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/serving/options.h"

static int serve(struct bow_cli *cli, const struct bow_nbd_options *opts)
{
	const char *image = cli->image;
	struct bowimg_error err = {0};
	struct bow_nbd server;

	int signal_fd = bow_process_catch_signals(&err);
	int ret = signal_fd < 0 ? signal_fd : bow_nbd_start(&server, image, opts, signal_fd, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	bow_servers_add(server.image, server.uri, opts->before);
	/* The one line of output: a script waits for it, so that it is printed with any options. */
	bow_cli_put_line(server.uri);
	fflush(stdout);
	int signo = bow_nbd_wait(&server, signal_fd);
	ret = bow_nbd_stop(&server, &err);
	bow_servers_remove();
	if (!ret && cli->verbose)
		bow_cli_note(cli, "%s: %s (%s)", image,
			     opts->before ? "nothing was changed" : "everything is on disk",
			     signo ? "ended by a signal" : "nbdkit was told to end");
	return ret ? bow_cli_fail_image(cli, image, ret, &err) : BOW_EXIT_DONE;
}

int bow_verb_serve(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bow_serving serving = BOW_SERVING_DEFAULTS;
	const char *socket = NULL;
	const struct bow_cli_option options[] = {
		{"socket", 0, BOW_CLI_STRING, &socket, 0, NULL},
		BOW_SERVING_OPT_BEFORE(&serving),
		BOW_SERVING_OPTIONS(&cli, &serving),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (!status && (!socket || !socket[0]))
		status = bow_cli_usage(&cli, "missing option: --socket PATH");
	if (!status)
		status = bow_serving_check(&cli, &serving);
	if (status)
		return status;
	struct bow_nbd_options opts = bow_serving_by_nbd(&serving);
	opts.socket = socket;
	return serve(&cli, &opts);
}
