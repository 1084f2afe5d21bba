/* SPDX-License-Identifier: MIT */
/*
 * bowimg prepare --free-from=trim -- COMMAND: a guest trims what is free. Its writes stay,
 * whether the command succeeds or not: the checkpoint begins after its end.
 */
#include "bowimg/cli/verbs/trim.h"

#include <errno.h>

#include "bowimg/host/process.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/serving/nbd.h"

static int finish(struct bow_cli *cli, struct bow_nbd *server,
		  const struct bowimg_prepare_options *opts, struct bowimg_prepare_report *report)
{
	struct bowimg_error err = {0};
	int ret = bow_nbd_stop_tracker(server, opts, report, &err);

	return ret ? bow_cli_fail(cli, ret, &err) : 0;
}

/* A guest that failed may have trimmed too little, or blocks that it needs. */
static int give_up(struct bow_cli *cli, struct bow_nbd *server, int status, int caught)
{
	static const char stays[] = "no checkpoint was opened; the writes of the command stay";
	struct bowimg_error err = {0};
	int ret = bow_nbd_stop(server, &err);

	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (caught)
		return bow_cli_error(cli, -EINTR, stays,
				     "cannot prepare %s: interrupted by signal %d", cli->image,
				     caught);
	return bow_cli_error(cli, -EIO, stays,
			     "cannot prepare %s: the command ended with status %d", cli->image,
			     status);
}

int bow_prepare_by_command(struct bow_cli *cli, const struct bowimg_prepare_options *opts,
			   struct bowimg_prepare_report *report)
{
	const struct bow_nbd_options serve = {.track = true};
	struct bowimg_error err = {0};
	struct bow_nbd server;
	int status = 1, caught = 0;

	int signal_fd = bow_process_catch_signals(&err);
	int ret = signal_fd < 0 ? signal_fd
				: bow_nbd_start(&server, cli->image, &serve, signal_fd, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (bow_run_with_server(cli, &server, signal_fd, &status, &caught) == 0 && status == 0 &&
	    !caught)
		return finish(cli, &server, opts, report);
	return give_up(cli, &server, status, caught);
}
