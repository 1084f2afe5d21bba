/* SPDX-License-Identifier: MIT */
/*
 * Error texts. Two pieces are joined with ": ". If both do not fit, the first loses its end: it
 * names the object, possibly by a very long path. If that is not enough, the second loses its
 * beginning: the reason stands at the very end and must survive.
 */
#include "lib/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES sizeof(((struct bowimg_error *)0)->message)
#define HINT_BYTES sizeof(((struct bowimg_error *)0)->hint)

/* At least so many bytes of the outermost context are kept. */
#define HEAD_MIN 160

/* err->message = head ": " tail; tail may be err->message itself. */
static void join(struct bowimg_error *err, const char *head, const char *tail)
{
	static const char dots[] = "...";
	const size_t dots_bytes = sizeof(dots) - 1, room = MESSAGE_BYTES - 1 - 2;
	size_t head_bytes = strlen(head), tail_bytes = strlen(tail);
	const char *head_cut = "", *tail_cut = "";
	char text[MESSAGE_BYTES];

	if (head_bytes + tail_bytes > room && head_bytes > HEAD_MIN) {
		head_bytes = tail_bytes + HEAD_MIN < room ? room - tail_bytes : HEAD_MIN;
		head_bytes -= dots_bytes;
		head_cut = dots;
	}
	if (head_bytes + strlen(head_cut) + tail_bytes > room) {
		size_t left = room - head_bytes - strlen(head_cut) - dots_bytes;

		tail += tail_bytes - left;
		tail_cut = dots;
	}
	snprintf(text, sizeof(text), "%.*s%s: %s%s", (int)head_bytes, head, head_cut, tail_cut,
		 tail);
	memcpy(err->message, text, sizeof(text));
}

static void append_reason(struct bowimg_error *err, const char *head, int code)
{
	char buf[128];

	join(err, head, strerror_r(-code, buf, sizeof(buf)));
}

/* What becomes of the message that is there when a new text comes. */
enum use { INSTEAD, INSTEAD_WITH_REASON, AS_CONTEXT };

static void record(struct bowimg_error *err, int code, enum use use, const char *fmt, va_list args)
{
	char text[MESSAGE_BYTES]; /* an argument may point into *err */

	if (!err)
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	if (use != AS_CONTEXT)
		bow_err_clear(err);
	err->code = code;
	/* A callee may give a code without a text: then the code's own text is the reason. */
	if (use == INSTEAD)
		memcpy(err->message, text, sizeof(text));
	else if (err->message[0])
		join(err, text, err->message);
	else
		append_reason(err, text, code);
}

int bow_err(struct bowimg_error *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	record(err, code, INSTEAD, fmt, args);
	va_end(args);
	return code;
}

int bow_err_errno(struct bowimg_error *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	record(err, code, INSTEAD_WITH_REASON, fmt, args);
	va_end(args);
	return code;
}

int bow_err_wrap(struct bowimg_error *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	record(err, code, AS_CONTEXT, fmt, args);
	va_end(args);
	return code;
}

void bow_err_take_out(struct bowimg_error *err, const char *name)
{
	const size_t n = strlen(name);
	char *at = err ? err->message : NULL;

	while (n && at && (at = strstr(at, name))) {
		bool begins = at == err->message ||
			      (at - err->message >= 2 && at[-2] == ':' && at[-1] == ' ');

		if (begins && at[n] == ':' && at[n + 1] == ' ')
			memmove(at, at + n + 2, strlen(at + n + 2) + 1);
		else
			at++;
	}
}

int bow_err_name(struct bowimg_error *err, int code, const char *name)
{
	bow_err_take_out(err, name);
	return bow_err_wrap(err, code, "%s", name);
}

void bow_err_hint(struct bowimg_error *err, const char *fmt, ...)
{
	char text[HINT_BYTES];
	va_list args;

	if (!err || err->hint[0])
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(err->hint, text, sizeof(text));
}

void bow_err_clear(struct bowimg_error *err)
{
	if (!err)
		return;
	err->code = 0;
	err->message[0] = '\0';
	err->hint[0] = '\0';
}
