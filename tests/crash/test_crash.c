/* SPDX-License-Identifier: MIT */
/*
 * The power-cut simulation as a program. Environment:
 *   CRASH_STATES=N    crash states to try in all (default 300000)
 *   CRASH_KINDS=xrbtwm only scenarios of these kinds
 *   CRASH_SHORT=1/N   instead: the first of N parts (2/N the second, 1/1 the whole) of all
 *                     sequences of up to three operations, which have some 13 million states
 *   CRASH_SEED=N      number of the first random scenario (default 1)
 *   CRASH_ID=...      rerun one state, as a failure printed it
 *   CRASH_TRACE=1     print every guest and device operation on the way to it
 *   CRASH_FIRST=1     the first failure ends the run
 *   SUMMARY_FD=N      write the counts to this descriptor as well
 *   JOBS=N            processes (default: as many as there are processors)
 */
#include "crew.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "lib/base/bytes.h"

#define SEQUENCE_STATES 155u  /* that one short sequence gives, roughly */
#define SEQUENCE3_STATES 118u /* one of three operations, which is cut more sparingly */
#define COURSES 7u
#define BIG_STATES_EVERY 2000u	/* of so many states one is on a large image, */
#define WIDE_STATES_EVERY 4000u /* of so many one there under several threads */

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

static void print_counts(FILE *f, const struct crash_counts *c, double took)
{
	fprintf(f, "# %" PRIu64 " crash states in %.1f s, %.0f a second\n", c->states, took,
		(double)c->states / took);
	fprintf(f,
		"# of short sequences %" PRIu64 " (%" PRIu64 " scenarios), random %" PRIu64
		" (%" PRIu64 "), on 64 MiB %" PRIu64 " (%" PRIu64 "), several threads %" PRIu64
		" (%" PRIu64 "), these on 64 MiB %" PRIu64 " (%" PRIu64
		"), short ones with marks %" PRIu64 " (%" PRIu64 ")\n",
		c->by_kind[0], c->scenarios[0], c->by_kind[1], c->scenarios[1], c->by_kind[2],
		c->scenarios[2], c->by_kind[3], c->scenarios[3], c->by_kind[4], c->scenarios[4],
		c->by_kind[5], c->scenarios[5]);
	fprintf(f,
		"# while preparing %" PRIu64 ", serving %" PRIu64 ", rolling back %" PRIu64
		", committing %" PRIu64 ", rolling back again %" PRIu64 "\n",
		c->by_intent[LAB_PREPARE], c->by_intent[LAB_SERVE], c->by_intent[LAB_ROLLBACK],
		c->by_intent[LAB_COMMIT], c->by_intent[LAB_AGAIN]);
	fprintf(f,
		"# while making a mark %" PRIu64 ", deleting one %" PRIu64
		", rolling back to one %" PRIu64 "; marks made %" PRIu64 ", deleted %" PRIu64
		", gone back to %" PRIu64 "; without sector 0 rescued %" PRIu64 ", refused %" PRIu64
		"\n",
		c->by_intent[LAB_MARK], c->by_intent[LAB_UNMARK], c->by_intent[LAB_TO], c->made,
		c->deleted, c->went_back, c->rescued, c->not_rescued);
	fprintf(f,
		"# second cuts %" PRIu64 ", third %" PRIu64 ", with garbage %" PRIu64
		"; processes killed %" PRIu64 ", looked at without a change %" PRIu64 "\n",
		c->second, c->third, c->torn, c->kills, c->looks);
	fprintf(f,
		"# %" PRIu64
		" cuts in all: each state is a disk that one of them left, followed to "
		"the end; %" PRIu64 " left the same as another at their barrier\n",
		c->states + c->same, c->same);
	fprintf(f,
		"# ended by rollback %" PRIu64 ", by commit %" PRIu64
		"; scenarios with a wipe %" PRIu64 ", without barriers %" PRIu64
		", refused for space %" PRIu64 ", blocks given back %" PRIu64 "\n",
		c->ended[0], c->ended[1], c->wiped, c->process, c->refused, c->given);
}

/* One test of the plan: a course, and whether it found anything. */
static bool run_course(const struct crash_crew *crew, uint32_t number,
		       const struct crash_course *course, const char *what,
		       struct crash_counts *counts)
{
	uint64_t before = counts->failures;
	const char *only = getenv("CRASH_KINDS");
	int rc = 0;

	if (only && *only && !strchr(only, course->kind)) {
		printf("ok %u - %s # SKIP\n", number, what);
		return true;
	}
	if (!crew->first_only || !counts->failures)
		rc = crash_crew_run(crew, course, counts);
	printf("%sok %u - %s\n", rc || counts->failures > before ? "not " : "", number, what);
	fflush(stdout);
	return !rc && counts->failures == before;
}

/* Every step-th of the sequences, so that those which fit are spread over all of them. */
static struct crash_course sequences(uint64_t from, uint64_t end, uint64_t states, uint64_t each,
				     uint64_t seed)
{
	struct crash_course course = {'x', from, 1, end, states * 4};

	while ((end - from) / course.step * each > states)
		course.step++;
	course.first += seed % course.step;
	return course;
}

static void print_course(const struct crash_course *c, const char *what, uint64_t of)
{
	printf("# %" PRIu64 " of %" PRIu64 " sequences of %s\n",
	       (c->end - c->first + c->step - 1) / c->step, of, what);
}

static bool run_courses(const struct crash_crew *crew, uint64_t states, uint64_t seed,
			struct crash_counts *counts)
{
	uint64_t upto2 = crash_small_count(2), upto3 = crash_small_count(3);
	/* Of several threads a state costs ten times as much: an eighth, and a third of random
	 * ones. What the shortest sequences do not have, the longer ones give. */
	uint64_t of_2 = bow_min(states / 3, upto2 * SEQUENCE_STATES), of_marks = states / 6,
		 of_3 = states * 13 / 24 - of_2 - of_marks;
	struct crash_course x2 = sequences(0, upto2, of_2, SEQUENCE_STATES, seed);
	struct crash_course x3 = sequences(upto2, upto3, of_3, SEQUENCE3_STATES, seed);
	struct crash_course random = {'r', seed, 1, UINT64_MAX, states / 3};
	struct crash_course marks = {'m', seed, 1, UINT64_MAX, of_marks};
	struct crash_course big = {'b', seed, 1, UINT64_MAX, states / BIG_STATES_EVERY + 1};
	struct crash_course threads = {'t', seed, 1, UINT64_MAX, states / 8};
	struct crash_course wide = {'w', seed, 1, UINT64_MAX, states / WIDE_STATES_EVERY + 1};
	bool good;

	print_course(&x2, "one or two operations", upto2);
	print_course(&x3, "three operations", upto3 - upto2);
	good = run_course(crew, 1, &x2,
			  "every cut of the short sequences leaves a disk that recovers", counts);
	good &= run_course(crew, 2, &random,
			   "every cut of the random scenarios leaves a disk that recovers", counts);
	good &= run_course(crew, 3, &threads,
			   "a disk frozen under several threads and cut recovers", counts);
	good &= run_course(crew, 4, &big, "a cut on a large image leaves a disk that recovers",
			   counts);
	good &= run_course(crew, 5, &wide, "several threads on a large image, too", counts);
	good &= run_course(crew, 6, &marks, "every cut of the short sequences with marks, too",
			   counts);
	good &= run_course(crew, 7, &x3, "every cut of the longer sequences, too", counts);
	return good;
}

/* For a change of the order of writes, not for every day: all takes half an hour of two processors.
 */
static bool run_short(const struct crash_crew *crew, const char *part, struct crash_counts *counts)
{
	struct crash_course all = {'x', 0, 1, crash_small_count(3), UINT64_MAX};
	unsigned number, parts;

	if (sscanf(part, "%u/%u", &number, &parts) != 2 || number < 1 || number > parts) {
		printf("not ok 1 - CRASH_SHORT=%s: not a part like 1/8\n", part);
		return false;
	}
	all.first = number - 1;
	all.step = parts;
	print_course(&all, "up to three operations", all.end);
	return run_course(crew, 1, &all,
			  "every cut of every short sequence leaves a disk that recovers", counts);
}

static int run_all(const struct crash_crew *crew)
{
	uint64_t states = env_number("CRASH_STATES", 300000);
	uint64_t seed = env_number("CRASH_SEED", 1);
	struct crash_counts counts = {0};
	double start = seconds();
	const char *part = getenv("CRASH_SHORT");
	bool good;
	FILE *f;

	printf("1..%u\n# CRASH_SEED=%" PRIu64 " CRASH_STATES=%" PRIu64 " JOBS=%u\n",
	       part ? 1 : COURSES, seed, states, crew->jobs);
	good = part ? run_short(crew, part, &counts) : run_courses(crew, states, seed, &counts);
	print_counts(stdout, &counts, seconds() - start);
	f = crash_summary();
	if (f) {
		print_counts(f, &counts, seconds() - start);
		fclose(f);
	}
	return !good;
}

static int run_one(const struct crash_crew *crew, const char *text)
{
	struct crash_run *run;
	struct crash_id id;
	bool good;

	if (!crash_id_parse(text, &id)) {
		fprintf(stderr, "CRASH_ID=%s: not the name of a crash state\n", text);
		return 2;
	}
	run = crash_run_new(crash_kind_blocks(id.kind), crew->trace);
	if (!run) {
		fprintf(stderr, "out of memory\n");
		return 2;
	}
	run->only = &id;
	printf("1..1\n");
	good = crash_run_scenario(run, &id);
	printf("%s%s%sok 1 - %s\n", good ? "" : "# ", good ? "" : run->failure,
	       good ? "" : "\nnot ", text);
	crash_run_free(run);
	return !good;
}

int main(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct crash_crew crew = {
		.jobs = (uint32_t)env_number("JOBS", processors > 0 ? (uint64_t)processors : 1),
		.first_only = env_number("CRASH_FIRST", 0),
		.trace = env_number("CRASH_TRACE", 0) ? stdout : NULL,
	};
	const char *id = getenv("CRASH_ID");

	lab_keep_memory();
	return id && *id ? run_one(&crew, id) : run_all(&crew);
}
