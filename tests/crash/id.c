/* SPDX-License-Identifier: MIT */
/* Names of crash states, to be printed and pasted back. */
#include "crash.h"

#include <inttypes.h>
#include <stdlib.h>

void crash_id_format(const struct crash_id *id, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "%c%" PRIu64, id->kind, id->number);
	uint32_t i;

	if (id->dropped && used < size)
		used += (size_t)snprintf(text + used, size - used, "-%" PRIx64, id->dropped);
	for (i = 0; i < id->steps && used < size; i++) {
		const struct crash_step *s = &id->step[i];

		used += (size_t)snprintf(text + used, size - used, "/%u.%c%" PRIx64 "%s",
					 s->barrier, s->cut.mode, s->cut.arg,
					 s->cut.garbage ? "g" : "");
	}
}

static bool parse_step(const char **text, struct crash_step *step)
{
	char *end;

	step->barrier = (uint32_t)strtoul(*text, &end, 10);
	if (end == *text || *end != '.' || !strchr("soplkrq", end[1]) || !end[1])
		return false;
	step->cut.mode = end[1];
	*text = end + 2;
	step->cut.arg = strtoull(*text, &end, 16);
	if (end == *text)
		return false;
	step->cut.garbage = *end == 'g';
	*text = end + step->cut.garbage;
	return true;
}

bool crash_id_parse(const char *text, struct crash_id *id)
{
	char *end;

	memset(id, 0, sizeof(*id));
	id->kind = *text;
	if (!id->kind || !strchr(CRASH_KINDS, id->kind))
		return false;
	id->number = strtoull(text + 1, &end, 10);
	if (end == text + 1)
		return false;
	if (*end == '-')
		id->dropped = strtoull(end + 1, &end, 16);
	text = end;
	while (*text == '/' && id->steps < CRASH_DEPTH) {
		text++;
		if (!parse_step(&text, &id->step[id->steps++]))
			return false;
	}
	return *text == '\0';
}
