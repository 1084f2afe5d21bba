/* SPDX-License-Identifier: MIT */
/*
 * The power-cut simulation as a program. Environment:
 *   CRASH_STATES=N   crash states to try in all (default 60000)
 *   CRASH_SEED=N     number of the first random scenario (default 1)
 *   CRASH_LENGTH=N   short sequences up to this length, 1 to 3 (default 2)
 *   CRASH_ID=...     rerun one state, as a failure printed it
 *   CRASH_TRACE=1    print every guest and device operation on the way to it
 */
#include "crash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define MAX_FAILURES 10

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One scenario with everything explored on the way. True if nothing was wrong. */
static bool run_scenario(struct crash_run *run, char kind, uint64_t number)
{
	struct timeline *t = &run->timeline[0];
	int rc;

	run->id = (struct crash_id){.kind = kind, .number = number};
	run->failed = false;
	t->run = run;
	t->depth = t->barriers = 0;
	t->path = rng_mix(number, (uint64_t)kind);
	t->power = t->torn = false;
	run->counts.scenarios++;
	rc = kind == 'x' ? crash_small_scenario(t, number) : crash_random_scenario(t, number);
	if (rc == LAB_DEAD)
		rc = lab_bad(&t->lab, "a dead disk was not revived");
	if (rc == LAB_BAD)
		crash_fail(t);
	run->counts.refused += rc == LAB_REFUSED;
	lab_kill(&t->lab);
	return !run->failed;
}

/* Scenarios first, first + step, ... until the states are used up or `end` is reached. */
static uint32_t run_many(struct crash_run *run, char kind, uint64_t first, uint64_t step,
			 uint64_t end, uint64_t states)
{
	uint64_t stop = run->counts.states + states, n;
	uint32_t failures = 0;

	for (n = first; n < end && run->counts.states < stop && failures < MAX_FAILURES; n += step)
		if (!run_scenario(run, kind, n)) {
			failures++;
			printf("# %s\n", run->failure);
			fflush(stdout);
		}
	return failures;
}

static void print_counts(const struct crash_counts *c, double took)
{
	printf("# %" PRIu64 " scenarios (%" PRIu64 " refused for space), %" PRIu64
	       " crash states in %.1f s, %.0f a second\n",
	       c->scenarios, c->refused, c->states, took, (double)c->states / took);
	printf("# while preparing %" PRIu64 ", serving %" PRIu64 ", rolling back %" PRIu64
	       ", committing %" PRIu64 ", rolling back again %" PRIu64 "\n",
	       c->by_intent[LAB_PREPARE], c->by_intent[LAB_SERVE], c->by_intent[LAB_ROLLBACK],
	       c->by_intent[LAB_COMMIT], c->by_intent[LAB_AGAIN]);
	printf("# second cuts %" PRIu64 ", third %" PRIu64 ", with garbage %" PRIu64
	       ", processes killed %" PRIu64 "\n",
	       c->second, c->third, c->torn, c->kills);
	printf("# ended by rollback %" PRIu64 ", by commit %" PRIu64 "\n", c->ended[0],
	       c->ended[1]);
}

static int report(uint32_t number, uint32_t failures, const char *what)
{
	printf("%sok %u - %s\n", failures ? "not " : "", number, what);
	fflush(stdout);
	return failures != 0;
}

static int run_all(struct crash_run *run)
{
	uint64_t states = env_number("CRASH_STATES", 60000), seed = env_number("CRASH_SEED", 1);
	uint32_t length = (uint32_t)env_number("CRASH_LENGTH", 2);
	uint64_t small = crash_small_count(length < 1 ? 1 : length > 3 ? 3 : length);
	uint64_t share = states / 3, step = 1;
	double start = seconds();
	int bad;

	printf("1..2\n# CRASH_SEED=%" PRIu64 " CRASH_STATES=%" PRIu64 "\n", seed, states);
	/* A sequence gives some hundreds of states: spread those that fit over all of them. */
	while (small / step * 300 > share)
		step++;
	bad = report(1, run_many(run, 'x', seed % step, step, small, share),
		     "every cut of the short sequences leaves a disk that recovers");
	bad |= report(2, run_many(run, 'r', seed, 1, UINT64_MAX, states - run->counts.states),
		      "every cut of the random scenarios leaves a disk that recovers");
	print_counts(&run->counts, seconds() - start);
	return bad;
}

static int run_one(struct crash_run *run, const char *text)
{
	struct crash_id id;
	bool good;

	if (!crash_id_parse(text, &id)) {
		fprintf(stderr, "CRASH_ID=%s: not the name of a crash state\n", text);
		return 2;
	}
	run->only = &id;
	printf("1..1\n");
	good = run_scenario(run, id.kind, id.number);
	if (!good)
		printf("# %s\n", run->failure);
	return report(1, !good, text);
}

int main(void)
{
	static struct crash_run run;
	const char *id = getenv("CRASH_ID");
	uint32_t i;
	int rc;

	lab_keep_memory();
	for (i = 0; i <= CRASH_DEPTH; i++) {
		if (lab_init(&run.timeline[i].lab)) {
			fprintf(stderr, "out of memory\n");
			return 2;
		}
		if (env_number("CRASH_TRACE", 0))
			run.timeline[i].lab.trace = stdout;
	}
	rc = id && *id ? run_one(&run, id) : run_all(&run);
	for (i = 0; i <= CRASH_DEPTH; i++)
		lab_release(&run.timeline[i].lab);
	return rc;
}
