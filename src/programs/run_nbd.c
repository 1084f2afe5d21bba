/* SPDX-License-Identifier: MIT */
/* bowimg run --via=nbd: an NBD server around a command, with what the command needs to find it. */
#include "programs/run_nbd.h"

#include <stdlib.h>
#include <unistd.h>

#include "fronts/process.h"
#include "programs/run_command.h"

int bow_run_with_server(struct bow_cli *cli, const struct bow_nbd *server, int signal_fd,
			int *status, int *caught)
{
	if (setenv("BOWIMG_URI", server->uri, 1) < 0 ||
	    setenv("BOWIMG_SOCKET", server->socket, 1) < 0)
		return bow_cli_error(cli, -ENOMEM, NULL, "running %s: out of memory",
				     cli->command[0]);
	*status = bow_run_command(cli, cli->command, server->uri, signal_fd, caught);
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
