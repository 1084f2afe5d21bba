/* SPDX-License-Identifier: MIT */
/* bowimg run --via=nbd: an NBD server around a command, with what the command needs to find it. */
#include "bowimg/cli/serving/nbd.h"

#include <stdlib.h>

#include "bowimg/host/notice.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/servers.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/serving/command.h"

static void attend(struct bow_process_aside *aside)
{
	struct bow_nbd *server = aside->ctx;

	bow_nbd_attend(server);
	/* The command goes on without its disk, and may do so for long. */
	if (server->ended && server->last.err.code)
		bow_notice_error(&server->last.err);
	aside->fd = server->ended ? -1 : server->child.sock;
}

int bow_run_with_server(struct bow_cli *cli, struct bow_nbd *server, int signal_fd, int *status,
			int *caught)
{
	struct bow_process_aside aside = {.fd = server->child.sock, .turn = attend, .ctx = server};

	if (setenv("BOWIMG_URI", server->uri, 1) < 0 ||
	    setenv("BOWIMG_SOCKET", server->socket, 1) < 0)
		return bow_cli_error(cli, -ENOMEM, NULL, "cannot run %s: out of memory",
				     cli->command[0]);
	bow_servers_add(server->image, server->uri, server->opts.before);
	*status = bow_run_command(cli, server->uri, signal_fd, &aside, caught);
	bow_servers_remove();
	return 0;
}

int bow_run_over_nbd(struct bow_cli *cli, const char *image, const struct bow_nbd_options *opts,
		     int *status, int *caught)
{
	struct bowimg_error err = {0};
	struct bow_nbd server;

	int signal_fd = bow_process_catch_signals(&err);
	int ret = signal_fd < 0 ? signal_fd : bow_nbd_start(&server, image, opts, signal_fd, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	ret = bow_run_with_server(cli, &server, signal_fd, status, caught);
	int stopped = bow_nbd_stop(&server, &err);
	return stopped ? bow_cli_fail(cli, stopped, &err) : ret;
}
