/* SPDX-License-Identifier: MIT */
#include "lib/disk/nbd/silence.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/uri.h"

#define SILENT_MS (BOWIMG_SILENT_S * 1000)

void bow_silence_init(struct bow_silence *s, const char *uri, const struct bowimg_events *events)
{
	*s = (struct bow_silence){.uri = uri};
	if (!events)
		return;
	s->waiting = events->waiting;
	s->ctx = events->ctx;
}

void bow_silence_begin(struct bow_silence *s)
{
	if (s->waiting)
		s->since_ms = bow_now_ms();
}

int bow_silence_poll_ms(const struct bow_silence *s)
{
	if (!s->waiting || s->told)
		return -1;
	int64_t left = s->since_ms + SILENT_MS - bow_now_ms();

	return left < 0 ? 0 : (int)left;
}

void bow_silence_check(struct bow_silence *s)
{
	char server[PATH_MAX], text[2 * PATH_MAX + 128];

	if (!s->waiting || s->told || bow_now_ms() < s->since_ms + SILENT_MS)
		return;
	s->told = true;
	bow_uri_server(s->uri, server);
	snprintf(text, sizeof(text), "waiting for %s, which has not answered for %u seconds (%s)",
		 server, BOWIMG_SILENT_S, s->uri);
	s->waiting(s->ctx, text);
}

bool bow_silence_end(struct bow_silence *s)
{
	if (!s->waiting)
		return false;
	s->lasted_ms = bow_now_ms() - s->since_ms;
	s->since_ms += s->lasted_ms;
	return s->told;
}

void bow_silence_tell_end(struct bow_silence *s)
{
	char server[PATH_MAX], text[PATH_MAX + 64];

	s->told = false;
	bow_uri_server(s->uri, server);
	snprintf(text, sizeof(text), "%s answers again, after %" PRId64 " seconds", server,
		 s->lasted_ms / 1000);
	s->waiting(s->ctx, text);
}
