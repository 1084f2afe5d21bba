/* SPDX-License-Identifier: MIT */
#include "lib/freespace/helpers/output.h"

#include <ctype.h>
#include <string.h>

void bow_helper_output_add(struct bow_helper_output *out, const char *text, size_t bytes)
{
	const size_t room = sizeof(out->text) - 1;
	size_t drop;

	if (bytes > room) {
		text += bytes - room;
		bytes = room;
	}
	drop = out->bytes + bytes > room ? out->bytes + bytes - room : 0;
	memmove(out->text, out->text + drop, out->bytes - drop);
	memcpy(out->text + out->bytes - drop, text, bytes);
	out->bytes += bytes - drop;
	out->text[out->bytes] = '\0';
}

void bow_helper_output_forget(struct bow_helper_output *out, const char *name)
{
	const size_t n = strlen(name);

	for (char *at = out->text; (at = strstr(at, name)) != NULL;) {
		memcpy(at, "it", 2);
		memmove(at + 2, at + n, strlen(at + n) + 1);
	}
	out->bytes = strlen(out->text);
}

static bool begins_with_any(const char *line, const char *const list[])
{
	for (; *list; list++)
		if (!strncmp(line, *list, strlen(*list)))
			return true;
	return false;
}

void bow_helper_line(struct bow_helper_output *out, const char *const noise[],
		     bool (*is_noise)(const char *line), char *line, size_t room)
{
	char *save = NULL;
	size_t n = 0;

	line[0] = '\0';
	for (char *at = strtok_r(out->text, "\r\n", &save); at;
	     at = strtok_r(NULL, "\r\n", &save)) {
		at += strspn(at, " \t");
		if (!*at || begins_with_any(at, noise) || (is_noise && is_noise(at)))
			continue;
		if (n && n + 2 < room) {
			line[n++] = ';';
			line[n++] = ' ';
		}
		/* A helper may repeat bytes of a hostile disk. */
		for (; *at && n + 1 < room; at++)
			line[n++] = isprint((unsigned char)*at) ? *at : '?';
		line[n] = '\0';
	}
}
