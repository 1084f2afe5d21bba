/* SPDX-License-Identifier: MIT */
/* After a failure: the scenario without what it does not need, and its story. */
#include "crash.h"

#include <stdlib.h>

#define LINES 100u /* of a story, the last ones */
#define ROUNDS 3u

/* The scenario with this left out; what is counted on the way is not. True: it still fails. */
static bool still_fails(struct crash_run *run, uint64_t dropped)
{
	struct crash_counts counts = run->counts;
	struct crash_id id = run->id;
	bool good;

	id.dropped = dropped;
	good = crash_run_scenario(run, &id);
	run->counts = counts;
	return !good;
}

/*
 * One request after the other is left out; where any state of what remains still fails, it was not
 * needed. What threads do is not repeatable, so it stays as it is.
 */
void crash_minimise(struct crash_run *run)
{
	uint64_t dropped = run->id.dropped, before;
	uint32_t requests = run->requests < 64 ? run->requests : 64, i, rounds = ROUNDS;
	char failure[sizeof(run->failure)];

	if (run->only || strchr("tw", run->id.kind))
		return;
	memcpy(failure, run->failure, sizeof(failure));
	do {
		before = dropped;
		for (i = requests; i-- > 0;) {
			uint64_t more = dropped | (uint64_t)1 << i;

			if (more == dropped || !still_fails(run, more))
				continue;
			dropped = more;
			memcpy(failure, run->failure, sizeof(failure));
		}
	} while (dropped != before && --rounds > 0);
	run->failed = true;
	memcpy(run->failure, failure, sizeof(failure));
}

static void print_end_of(const char *text, size_t bytes)
{
	const char *from = text + bytes, *line, *end;
	uint32_t lines = 0;

	while (from > text && lines <= LINES)
		lines += *--from == '\n';
	if (from > text)
		printf("#    ...\n");
	for (line = from + (*from == '\n'); *line; line = *end ? end + 1 : end) {
		end = strchr(line, '\n');
		if (!end)
			end = line + strlen(line);
		printf("#    %.*s\n", (int)(end - line), line);
	}
}

/* Follow run->failure's state once more, and print every request and device operation. */
void crash_tell(struct crash_run *run)
{
	struct crash_counts counts = run->counts;
	struct crash_id id;
	char name[256], *story = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&story, &bytes);
	struct crash_run *again = f ? crash_run_new(run->max_blocks, f) : NULL;

	printf("# %s\n", run->failure);
	if (again && sscanf(run->failure, "CRASH_ID=%255[^:]", name) == 1 &&
	    crash_id_parse(name, &id) && !strchr("tw", id.kind)) {
		again->only = &id;
		crash_run_scenario(again, &id);
		fflush(f);
		print_end_of(story, bytes);
	}
	if (again)
		crash_run_free(again);
	if (f)
		fclose(f);
	free(story);
	fflush(stdout);
	run->counts = counts;
}
