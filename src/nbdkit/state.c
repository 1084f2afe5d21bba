/* SPDX-License-Identifier: MIT */
/* What the parts of the plugin share, and its messages. */
#include "nbdkit/plugin.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/base/show.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

struct bow_nbdkit bow_nbdkit = {
	.control = -1,
	.in_use = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP,
	.marks_lock = PTHREAD_MUTEX_INITIALIZER,
};

/* Clients choose the names of exports, and may aim them at the terminal of the server's user. */
void bow_nbdkit_error(const char *fmt, ...)
{
	char text[1024], shown[BOW_SHOWN_MAX(sizeof(text))];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	nbdkit_error("%s", bow_show(shown, sizeof(shown), text));
}

void bow_nbdkit_complain(const char *text, const char *hint)
{
	const char *sep = hint[0] ? "; " : "";
	char line[1024], shown[BOW_SHOWN_MAX(sizeof(line))];

	snprintf(line, sizeof(line), "%s%s%s", text, sep, hint);
	if (bow_nbdkit.control >= 0)
		fprintf(stderr, "bowimg: warning: %s\n", bow_show(shown, sizeof(shown), line));
	else
		bow_nbdkit_error("%s", line);
}
