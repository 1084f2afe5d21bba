/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/message.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/show.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/interrupted.h"
#include "bowimg/cli/next.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/waiting.h"

static void print_json(int status, const char *message, const char *hint)
{
	json_t *root = json_pack("{s:{s:i,s:o,s:o}}", "error", "exit", status, "message",
				 bow_cli_json_text(message), "hint", bow_cli_json_text(hint));

	if (root)
		bow_cli_put_json(root, stderr, JSON_COMPACT);
	else
		fputs("{\"error\":{\"exit\":1,\"message\":\"out of memory\",\"hint\":\"\"}}",
		      stderr);
	putc('\n', stderr);
	json_decref(root);
}

static void print_plain(const char *message, const char *hint)
{
	fputs("bowimg: ", stderr);
	bow_cli_put(stderr, message);
	if (hint[0]) {
		fputs("\n  ", stderr);
		bow_cli_put(stderr, hint);
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

/* What to do by exit status, if the library knows nothing better. Returns `out`. */
static const char *default_hint(const struct bow_cli *cli, int code, char *out, size_t bytes)
{
	static const char *const hints[] = {
		[1] = "see the state of the image: bowimg status %s",
		[3] = "see the state of the image: bowimg status %s",
		[4] = "end what uses the image, then run the command again",
		[5] = "make room on the disk that holds the image, then run the command again",
		[6] = "copy the image before you try anything else on it",
		[7] = "if the change is meant, add --force=changed",
		[8] = "see which command finishes it: bowimg status %s",
		[9] = "see what is supported: man bowimg",
	};
	unsigned status = (unsigned)bowimg_exit_status(code);
	const char *hint = status < sizeof(hints) / sizeof(hints[0]) ? hints[status] : NULL;
	const char *place = hint ? strstr(hint, "%s") : NULL;

	if (place)
		snprintf(out, bytes, "%.*s%s", (int)(place - hint), hint,
			 cli->image ? BOW_WORD(cli->image) : "IMAGE");
	else
		snprintf(out, bytes, "%s", hint ? hint : "");
	return out;
}

static int fail_interrupted(struct bow_cli *cli, const char *image, const struct bowimg_error *err)
{
	char *text = bow_interrupted_text(cli, image, err);

	cli->failure_status = bow_interrupt_arm();
	report(cli, cli->failure_status, text ? text : "interrupted: out of memory", "");
	free(text);
	return cli->failure_status;
}

int bow_cli_fail(struct bow_cli *cli, int code, const struct bowimg_error *err)
{
	const char *message = err->message[0] ? err->message : strerror(-code);
	char next[sizeof(err->hint) + PATH_MAX];
	const char *hint = err->hint[0] ? err->hint : default_hint(cli, code, next, sizeof(next));

	if (code == -EBUSY && cli->image && bow_next_hint(cli->image, message, next, sizeof(next)))
		hint = next;
	if (code == -ECANCELED && bow_interrupt_came(NULL))
		return fail_interrupted(cli, NULL, err);
	return report(cli, status_of(cli, code), message, hint);
}

/* Message and hint say already which state the image is in, and what comes next. */
static bool tells_state(int code)
{
	return code == -EBUSY || code == -ENODATA || code == -EALREADY || code == -EINPROGRESS;
}

int bow_cli_fail_image(struct bow_cli *cli, const char *image, int code,
		       const struct bowimg_error *err)
{
	const struct bowimg_options call = bow_cli_call(cli, BOWIMG_FORCE_CHANGED);
	struct bowimg_status now;
	struct bow_served served;
	char next[BOW_NEXT_MAX];

	if (code == -ECANCELED && bow_interrupt_came(NULL))
		return fail_interrupted(cli, image, err);
	int status = bow_cli_fail(cli, code, err);
	if (cli->json || tells_state(code) || bowimg_status(image, &call, &now, NULL) != 0)
		return status;
	fputs("  state of ", stderr);
	bow_cli_put(stderr, image);
	fprintf(stderr, " now: %s", bowimg_state_name(now.state));
	bool found = bow_served_find(image, &served);
	bow_next_step(image, &now, found ? &served : NULL, next, sizeof(next));
	if (next[0])
		fputs("; ", stderr);
	bow_cli_put(stderr, next);
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

static void put_stderr(struct bow_cli *cli, const char *before, const char *fmt, va_list args)
{
	char text[512];

	bow_cli_clear_bar(cli);
	vsnprintf(text, sizeof(text), fmt, args);
	flockfile(stderr);
	fputs(before, stderr);
	bow_cli_put(stderr, text);
	putc('\n', stderr);
	funlockfile(stderr);
}

void bow_cli_warn(struct bow_cli *cli, const char *fmt, ...)
{
	va_list args;

	cli->warned = true;
	va_start(args, fmt);
	put_stderr(cli, "bowimg: warning: ", fmt, args);
	va_end(args);
}

void bow_cli_note(struct bow_cli *cli, const char *fmt, ...)
{
	va_list args;

	if (cli->quiet)
		return;
	va_start(args, fmt);
	put_stderr(cli, "bowimg: ", fmt, args);
	va_end(args);
}
