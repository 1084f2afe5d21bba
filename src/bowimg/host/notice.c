/* SPDX-License-Identifier: MIT */
/* Notices of a serving process: standard error, later syslog. One destination per process. */
#include "bowimg/host/notice.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

#include "lib/base/show.h"

static atomic_bool in_background;

void bow_notice(const char *fmt, ...)
{
	char text[1024], shown[BOW_SHOWN_MAX(sizeof(text))];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	bow_show(shown, sizeof(shown), text);
	if (atomic_load(&in_background))
		syslog(LOG_WARNING, "%s", shown);
	else
		fprintf(stderr, "bowimg: warning: %s\n", shown);
}

void bow_notice_error(const struct bowimg_error *err)
{
	bow_notice("%s%s%s", err->message, err->hint[0] ? "; " : "", err->hint);
}

void bow_notice_to_syslog(void)
{
	/* LOG_NDELAY: the socket is opened now, not when memory has become short. */
	openlog("bowimg", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&in_background, true);
}

void bow_notice_event(void *ctx, const char *text)
{
	(void)ctx;
	bow_notice("%s", text);
}
