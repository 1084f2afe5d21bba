/* SPDX-License-Identifier: MIT */
/* Many scenarios on all processors: processes that take the next one as long as there are any. */
#ifndef TESTS_CRASH_CREW_H
#define TESTS_CRASH_CREW_H

#include "crash.h"

/* Scenarios first, first + step, ... below end, until so many states were tried. */
struct crash_course {
	char kind;
	uint64_t first, step, end;
	uint64_t states;
};

/* How it is run; from the environment. */
struct crash_crew {
	uint32_t jobs;	 /* processes; twice as many where threads wait for each other */
	bool first_only; /* the first failure ends it, and is told without being minimised */
	FILE *trace;
};

/* Adds to *counts. Failures are printed as they come. 0 or -errno. */
int crash_crew_run(const struct crash_crew *crew, const struct crash_course *course,
		   struct crash_counts *counts);

/* Where the counts go besides stdout: descriptor SUMMARY_FD; NULL if that is not set. */
FILE *crash_summary(void);

#endif
