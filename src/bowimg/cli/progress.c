/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/progress_fd.h"
#include "bowimg/cli/size.h"
#include "bowimg/cli/waiting.h"

/* A bar is redrawn at this pace; a log file gets a line so seldom that it stays readable. */
enum { BAR_MS = 100, LINE_MS = 5000, BAR_CELLS = 30 };

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* "12 KiB of 4.0 MiB", or "" if the work is not counted in bytes. */
struct amount {
	char text[80];
};

static struct amount amount(const char *before, uint64_t done, uint64_t total, bool bytes,
			    const char *after)
{
	struct amount a = {""};

	if (bytes)
		snprintf(a.text, sizeof(a.text), "%s%s of %s%s", before, bow_cli_human(done).text,
			 bow_cli_human(total).text, after);
	return a;
}

static void draw_bar(const char *what, double part, uint64_t done, uint64_t total, bool bytes)
{
	int full = (int)(part * BAR_CELLS);
	char bar[BAR_CELLS + 1];

	memset(bar, '.', BAR_CELLS);
	memset(bar, '#', (size_t)full);
	bar[BAR_CELLS] = '\0';
	fprintf(stderr, "\r\033[K%s [%s] %3d %%%s", what, bar, (int)(part * 100),
		amount(", ", done, total, bytes, "").text);
	fflush(stderr);
}

static void show(struct bow_cli *cli, const char *what, uint64_t done, uint64_t total, bool bytes)
{
	int64_t now = now_ms();

	bow_progress_fd_put(cli, what, done, total, now);
	if (cli->quiet || cli->json)
		return;
	if (cli->progress_ms == 0)
		cli->progress_ms = now; /* short work shows nothing at all */
	if (total == 0 || now - cli->progress_ms < (cli->on_terminal ? BAR_MS : LINE_MS))
		return;
	cli->progress_ms = now;
	double part = done < total ? (double)done / (double)total : 1.0;
	if (cli->on_terminal) {
		draw_bar(what, part, done, total, bytes);
		cli->bar_shown = true;
	} else {
		fprintf(stderr, "bowimg: %s: %d %%%s\n", what, (int)(part * 100),
			amount(" (", done, total, bytes, ")").text);
	}
}

static void on_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	show(ctx, what, done, total, true);
}

static void on_count(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	show(ctx, what, done, total, false);
}

static void on_notice(void *ctx, const char *text)
{
	bow_cli_warn(ctx, "%s", text);
}

struct bowimg_events bow_cli_events(struct bow_cli *cli)
{
	struct bowimg_events events = {.notice = on_notice,
				       .stop = bow_interrupt_came,
				       .waiting = bow_cli_waiting,
				       .ctx = cli};

	cli->on_terminal = isatty(STDERR_FILENO); /* once, as some work has a million steps */
	bow_progress_fd_begin(cli);
	if (cli->progress_fd || (!cli->quiet && !cli->json))
		events.progress = on_progress;
	return events;
}

struct bowimg_events bow_cli_count_events(struct bow_cli *cli)
{
	struct bowimg_events events = bow_cli_events(cli);

	if (events.progress)
		events.progress = on_count;
	return events;
}
