/* SPDX-License-Identifier: MIT */
/* Progress of long work on standard error, sizes for people, names for shells. */
#include "programs/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A bar is redrawn at this pace; a log file gets a line so seldom that it stays readable. */
enum { BAR_MS = 100, LINE_MS = 5000, BAR_CELLS = 30 };

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void bow_cli_clear_bar(struct bow_cli *cli)
{
	if (!cli->bar_shown)
		return;
	fputs("\r\033[K", stderr);
	cli->bar_shown = false;
}

/* "12 KiB of 4.0 MiB", or nothing where what is counted are no bytes. */
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
	bool terminal = isatty(STDERR_FILENO);
	int64_t now = now_ms();

	if (cli->progress_ms == 0)
		cli->progress_ms = now; /* short work shows nothing at all */
	if (total == 0 || now - cli->progress_ms < (terminal ? BAR_MS : LINE_MS))
		return;
	cli->progress_ms = now;
	double part = done < total ? (double)done / (double)total : 1.0;
	if (terminal) {
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
	struct bowimg_events events = {.notice = on_notice, .ctx = cli};

	if (!cli->quiet && !cli->json)
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

struct bow_cli_size bow_cli_human(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct bow_cli_size size;
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(size.text, sizeof(size.text), "%" PRIu64 " bytes", bytes);
		return size;
	}
	/* 1023.95 would print as "1024.0" */
	for (; value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1024;
	snprintf(size.text, sizeof(size.text), "%.1f %s", value, units[unit]);
	return size;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_@%+=:,./-", c));
}

const char *bow_cli_quote(struct bow_cli_quoted *out, const char *path)
{
	size_t plain = 0, n = 0;

	while (is_plain(path[plain]))
		plain++;
	if (plain && !path[plain] && plain < sizeof(out->text))
		return strcpy(out->text, path);
	out->text[n++] = '\'';
	/* Room for one escaped quote, the closing one, and the end. */
	for (; *path && n + 6 < sizeof(out->text); path++) {
		if (*path == '\'')
			n += (size_t)sprintf(out->text + n, "'\\''");
		else
			out->text[n++] = *path;
	}
	out->text[n++] = '\'';
	out->text[n] = '\0';
	return out->text;
}
