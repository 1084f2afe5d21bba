/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/progress_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MS = 100 };

void bow_progress_fd_begin(struct bow_cli *cli)
{
	if (!cli->progress_fd)
		return;
	signal(SIGPIPE, SIG_IGN);
	/* Helpers and commands must not keep it open: its end tells that the work has ended. */
	if (cli->progress_fd > STDERR_FILENO)
		fcntl(cli->progress_fd, F_SETFD, FD_CLOEXEC);
}

/*
 * A line that the reader has no room for now is left out: a later one says more. A pipe that poll()
 * finds ready takes a short line as a whole. After half a line no other can follow.
 */
static void put_line(struct bow_cli *cli, const char *line, size_t bytes)
{
	struct pollfd p = {.fd = cli->progress_fd, .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLOUT | POLLERR | POLLNVAL | POLLHUP)))
		return;
	n = write(cli->progress_fd, line, bytes);
	if (n < 0 ? errno != EAGAIN && errno != EINTR : (size_t)n < bytes)
		cli->progress_fd = 0;
}

static bool is_due(struct bow_cli *cli, const char *what, uint64_t done, uint64_t total,
		   int64_t now)
{
	const struct bow_progress_line *last = &cli->progress_line;
	bool begins = !last->what || strcmp(last->what, what) != 0 || done < last->done;
	bool ends = done >= total && last->done < last->total;

	return total && (begins || ends || now - last->ms >= LINE_MS);
}

void bow_progress_fd_put(struct bow_cli *cli, const char *what, uint64_t done, uint64_t total,
			 int64_t now)
{
	char text[256];
	json_t *line;
	size_t n;

	if (!cli->progress_fd || !is_due(cli, what, done, total, now))
		return;
	cli->progress_line = (struct bow_progress_line){what, done, total, now};
	line = json_pack("{s:s,s:I,s:I}", "what", what, "done", (json_int_t)done, "total",
			 (json_int_t)total);
	n = line ? json_dumpb(line, text, sizeof(text) - 1, JSON_COMPACT | JSON_ENSURE_ASCII) : 0;
	json_decref(line);
	if (!n || n >= sizeof(text))
		return;
	text[n] = '\n';
	put_line(cli, text, n + 1);
}
