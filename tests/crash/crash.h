/* SPDX-License-Identifier: MIT */
/*
 * The power-cut simulation. A timeline is a disk with its history; at every barrier of a timeline,
 * just before the barrier takes effect, the disk is copied once for each interesting subset of the
 * writes that are pending, and each copy becomes a timeline of its own: the power failed there. The
 * copy is followed as a user would follow it, status first, to the end of the checkpoint, and then
 * compared with the oracle. Its own barriers are cut in turn, so that a second cut hits recovery.
 *
 * The subsets at a barrier include the states of all earlier cuts since the barrier before it, so
 * nothing is lost by looking at barriers only.
 */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include "lib/lab.h"

#define CRASH_DEPTH 3 /* cuts in a row */

/* One cut: at which barrier of its timeline, and what was kept. */
struct crash_step {
	uint32_t barrier;
	struct sim_cut cut;
};

/* Names one state: scenario and the cuts that lead to it, as "r17/12.s1f/3.p2g". */
struct crash_id {
	char kind; /* 'r' random, 'x' one of all short sequences */
	uint64_t number;
	uint32_t steps;
	struct crash_step step[CRASH_DEPTH];
};

struct crash_run;

struct timeline {
	struct lab lab; /* first: the disk's hooks get its address */
	struct crash_run *run;
	uint32_t depth;
	uint32_t barriers; /* passed on this timeline */
	uint64_t path;	   /* hash of how it came to be; seeds every choice on it */
	struct crash_step made_by;
	bool power;   /* the last crash was a power cut, and nothing was read since */
	bool torn;    /* it left garbage in unsettled blocks */
	bool explore; /* cut this timeline's barriers */
};

struct crash_counts {
	uint64_t states, second, third, torn;
	uint64_t by_intent[5];
	uint64_t scenarios, refused, kills;
	uint64_t ended[2]; /* rolled back, committed */
};

struct crash_run {
	struct timeline timeline[CRASH_DEPTH + 1];
	struct crash_id id;	     /* of the scenario that runs now */
	const struct crash_id *only; /* NULL, or rerun just this state */
	uint32_t per_barrier;	     /* subsets tried at each barrier of a main line */
	struct crash_counts counts;
	bool failed;
	char failure[1280];
};

/* id.c */
bool crash_id_parse(const char *text, struct crash_id *id);
void crash_id_format(const struct crash_id *id, char *text, size_t size);

/* explore.c: set up the hook on a timeline that begins; and report what was found on it. */
void crash_watch(struct timeline *t);
void crash_fail(struct timeline *t);

/* recover.c: status, and what it says to do, until the checkpoint is over. 0 or LAB_BAD. */
int crash_follow(struct timeline *t);
/* The state must be one that the intent allows; PREPARE and an old state become SERVE. */
int crash_state(struct timeline *t, enum bowimg_state *state);
/* The process is killed; the power fails as well if `power`. */
void crash_kill(struct timeline *t, bool power);
/* Attach after a crash and settle the oracle. */
int crash_attach(struct timeline *t);

/* scenario.c, small.c: run one scenario to its end, exploring; 0, LAB_REFUSED or LAB_BAD. */
int crash_random_scenario(struct timeline *t, uint64_t number);
int crash_small_scenario(struct timeline *t, uint64_t number);
uint64_t crash_small_count(uint32_t length);

#endif
