/* SPDX-License-Identifier: MIT */
/* What the program says: failures with the next step, reports, warnings; plain or as JSON. */
#include "programs/cli.h"

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names and data from disk may carry terminal control sequences; they are shown, not obeyed. */
static void put_clean(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		putc(c < ' ' || c == 0x7f ? '?' : c, out);
	}
}

struct json_t *bow_cli_json_text(const char *text)
{
	json_t *value = json_string(text);
	char plain[1024];
	size_t i;

	if (value)
		return value;
	for (i = 0; i < sizeof(plain) - 1 && text[i]; i++)
		plain[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	plain[i] = '\0';
	return json_string(plain);
}

static void print_json(int status, const char *message, const char *hint)
{
	json_t *root = json_pack("{s:{s:i,s:o,s:o}}", "error", "exit", status, "message",
				 bow_cli_json_text(message), "hint", bow_cli_json_text(hint));

	if (root)
		json_dumpf(root, stderr, JSON_COMPACT);
	else
		fputs("{\"error\":{\"exit\":1,\"message\":\"out of memory\",\"hint\":\"\"}}",
		      stderr);
	putc('\n', stderr);
	json_decref(root);
}

static void print_plain(const char *message, const char *hint)
{
	fputs("bowimg: ", stderr);
	put_clean(stderr, message);
	if (hint[0]) {
		fputs("\n  ", stderr);
		put_clean(stderr, hint);
	}
	putc('\n', stderr);
}

static int report(struct bow_cli *cli, int status, const char *message, const char *hint)
{
	bow_cli_clear_bar(cli);
	fflush(stdout);
	if (cli->json)
		print_json(status, message, hint);
	else
		print_plain(message, hint);
	return cli->failure_status ? cli->failure_status : status;
}

int bow_cli_usage(struct bow_cli *cli, const char *fmt, ...)
{
	int status = cli->failure_status ? cli->failure_status : BOW_EXIT_USAGE;
	char what[512], message[600], hint[64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	snprintf(message, sizeof(message), "%s: %s", cli->verb, what);
	snprintf(hint, sizeof(hint), "see bowimg %s --help", cli->verb);
	return report(cli, status, message, hint);
}

/* A call that failed without leaving a code is a failure all the same. */
static int status_of(const struct bow_cli *cli, int code)
{
	int status = bowimg_exit_status(code);

	if (cli->failure_status)
		return cli->failure_status;
	return status == BOW_EXIT_DONE ? BOW_EXIT_FAILED : status;
}

/* Where the library knows nothing better, by exit status. */
static const char *default_hint(int code)
{
	static const char *const hints[] = {
		[1] = "bowimg status IMAGE says what state the image is in, and what can be done",
		[3] = "bowimg status IMAGE says what state the image is in, and what can be done",
		[4] = "end what uses the image, then run the command again",
		[5] = "make room on the disk that holds the image, then run the command again",
		[6] = "make a copy of the image before anything else is tried on it",
		[7] = "--force=changed goes on all the same",
		[8] = "bowimg status IMAGE says which command finishes it",
		[9] = "man bowimg says what is supported",
	};
	unsigned status = (unsigned)bowimg_exit_status(code);

	return status < sizeof(hints) / sizeof(hints[0]) && hints[status] ? hints[status] : "";
}

int bow_cli_fail(struct bow_cli *cli, int code, const struct bowimg_error *err)
{
	const char *message = err->message[0] ? err->message : strerror(-code);
	const char *hint = err->hint[0] ? err->hint : default_hint(code);

	return report(cli, status_of(cli, code), message, hint);
}

int bow_cli_fail_image(struct bow_cli *cli, const char *image, int code,
		       const struct bowimg_error *err)
{
	int status = bow_cli_fail(cli, code, err);
	struct bowimg_status now;

	if (cli->json || bowimg_status(image, BOWIMG_FORCE_CHANGED, &now, NULL) != 0)
		return status;
	fputs("  state of ", stderr);
	put_clean(stderr, image);
	fprintf(stderr, " now: %s", bowimg_state_name(now.state));
	if (now.next[0])
		fputs("; ", stderr);
	put_clean(stderr, now.next);
	putc('\n', stderr);
	return status;
}

int bow_cli_error(struct bow_cli *cli, int code, const char *hint, const char *fmt, ...)
{
	char message[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	return report(cli, status_of(cli, code), message, hint ? hint : "");
}

void bow_cli_say(struct bow_cli *cli, const char *fmt, ...)
{
	char text[BOW_CLI_LINE_MAX];
	va_list args;

	if (cli->quiet)
		return;
	bow_cli_clear_bar(cli);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put_clean(stdout, text);
	putchar('\n');
}

void bow_cli_warn(struct bow_cli *cli, const char *fmt, ...)
{
	char text[512];
	va_list args;

	bow_cli_clear_bar(cli);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	flockfile(stderr);
	fputs("bowimg: warning: ", stderr);
	put_clean(stderr, text);
	putc('\n', stderr);
	funlockfile(stderr);
}

void bow_cli_ignore_sigpipe(void)
{
	signal(SIGPIPE, SIG_IGN);
}
