/* SPDX-License-Identifier: MIT */
/*
 * Error texts. Two pieces are joined with ": ". When both do not fit, the first, which names the
 * object (possibly by a very long path), loses its end, and if that is not enough, the second its
 * beginning: the reason is at the very end and must survive.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES sizeof(((struct bowimg_error *)0)->message)

/* However much there is to tell, this much of the outermost context is kept. */
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

int bow_err(struct bowimg_error *err, int code, const char *fmt, ...)
{
	char text[MESSAGE_BYTES]; /* an argument may point into *err */
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	bow_err_clear(err);
	err->code = code;
	memcpy(err->message, text, sizeof(text));
	return code;
}

int bow_err_errno(struct bowimg_error *err, int code, const char *fmt, ...)
{
	char text[MESSAGE_BYTES];
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	bow_err_clear(err);
	err->code = code;
	append_reason(err, text, code);
	return code;
}

int bow_err_wrap(struct bowimg_error *err, int code, const char *fmt, ...)
{
	char text[MESSAGE_BYTES];
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* A callee that gave no text still gave a code, and that says more than nothing. */
	if (err->message[0])
		join(err, text, err->message);
	else
		append_reason(err, text, code);
	err->code = code;
	return code;
}

void bow_err_hint(struct bowimg_error *err, const char *fmt, ...)
{
	char text[sizeof(err->hint)];
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
