/* SPDX-License-Identifier: MIT */
/*
 * The power-cut simulation. A timeline is a disk with its history; at every barrier of a timeline,
 * just before the barrier takes effect, the disk is copied once for each interesting subset of the
 * writes that are pending, and each copy becomes a timeline of its own: the power failed there. The
 * copy is followed as a user would follow it, status first, to the end of the checkpoint, and then
 * compared with the oracle. Its own barriers are cut in turn, so that a second cut hits recovery.
 *
 * The subsets at a barrier include the states of all earlier cuts since the barrier before it, so
 * nothing is lost by looking at barriers only. (Where several threads make requests the disk is
 * frozen at some operation instead, and what is pending then is cut.)
 */
#ifndef TESTS_CRASH_H
#define TESTS_CRASH_H

#include "lab/lab.h"

#define CRASH_DEPTH 3	       /* cuts in a row */
#define CRASH_PER_BARRIER 128u /* cuts tried at one barrier, at most */

/* One cut: at which barrier of its timeline, and what was kept. */
struct crash_step {
	uint32_t barrier;
	struct sim_cut cut;
};

/*
 * Names one state: scenario, what was left out of it, and the cuts that lead to it, as
 * "r17/12.s1f/3.p2g", "r17-a0/5.s1".
 */
struct crash_id {
	char kind; /* see kinds in scenario.c */
	uint64_t number;
	uint64_t dropped; /* bit i: the main line's i-th request is not made */
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
	bool power;	   /* the last crash was a power cut, and nothing was read since */
	bool torn;	   /* it left garbage in unsettled blocks */
	bool explore;	   /* cut this timeline's barriers */
	bool once_more;	   /* it ended, and another checkpoint was opened */
	bool marks;	   /* marks are made on it */
	enum lab_end next; /* the end that status told to run */
};

struct crash_counts {
	uint64_t states, second, third, torn;
	uint64_t same; /* cuts that left what another one at the same barrier had left */
	uint64_t by_intent[LAB_INTENTS];
	uint64_t by_kind[6], scenarios[6]; /* in the order of CRASH_KINDS */
	uint64_t made, deleted, went_back; /* marks */
	uint64_t rescued, not_rescued; /* cuts in a rollback to a mark that took sector 0, too */
	uint64_t refused, kills, looks, wiped, process;
	uint64_t given;	   /* blocks given back by the guest, cut lines included */
	uint64_t ended[2]; /* rolled back, committed */
	uint64_t failures;
};

#define CRASH_KINDS "xrbtwm"

struct crash_run {
	struct timeline *timeline[CRASH_DEPTH + 1]; /* as many as needed, with labs of one size */
	uint32_t max_blocks;
	FILE *trace;
	struct crash_id id;	     /* of the scenario that runs now */
	const struct crash_id *only; /* NULL, or rerun just this state */
	uint32_t per_barrier;	     /* subsets tried at each barrier of a main line */
	uint32_t one_in;	     /* of its barriers so many are cut */
	uint32_t requests;	     /* made or dropped on the main line so far */
	struct crash_counts counts;
	bool failed;
	char failure[1536];
};

/* id.c */
bool crash_id_parse(const char *text, struct crash_id *id);
void crash_id_format(const struct crash_id *id, char *text, size_t size);

/* run.c: a run for images up to this size; NULL without memory. */
struct crash_run *crash_run_new(uint32_t max_blocks, FILE *trace);
void crash_run_free(struct crash_run *run);
uint32_t crash_kind_blocks(char kind);
/* One scenario with everything explored on the way. True if nothing was wrong. */
bool crash_run_scenario(struct crash_run *run, const struct crash_id *id);

/* explore.c: set up the hook on a timeline that begins; and report what was found on it. */
void crash_watch(struct timeline *t);
void crash_fail(struct timeline *t);
/* Cut what is pending now in all ways worth trying, or in the one asked for. */
void crash_cut_here(struct timeline *t, uint32_t barrier);

/* minimise.c: leave out what the failure does not need; then tell its story on stdout. */
void crash_minimise(struct crash_run *run);
void crash_tell(struct crash_run *run);

/* recover.c: status, and what it says to do, until the checkpoint is over. 0 or LAB_BAD. */
int crash_follow(struct timeline *t);
/* The state must be one that the intent allows; PREPARE and an old state become SERVE. */
int crash_state(struct timeline *t, enum bowimg_state *state);
/* The process is killed; the power fails as well if `power`. */
void crash_kill(struct timeline *t, bool power);
/* Attach after a crash and settle the oracle. */
int crash_attach(struct timeline *t);

/* The states that are left when a mark was begun, or settled: tell the oracle what happened. */
int crash_decide(struct timeline *t);

/* marks.c: with nobody serving: make a mark, delete one, go back to one. 0, LAB_REFUSED, ... */
int crash_mark_step(struct timeline *t);
int crash_mark(struct timeline *t);
int crash_unmark(struct timeline *t, uint32_t n);
int crash_to(struct timeline *t, uint32_t n);
/* The rollback to a mark that was cut. */
int crash_to_again(struct timeline *t);
/* The power cut that made this timeline took sector 0 as well: what rescue does then is right. */
int crash_rescue(struct timeline *t);

/*
 * scenario.c, small.c, threads.c: run one scenario to its end, exploring; 0, LAB_REFUSED or
 * LAB_BAD. Big and wide ones are random, or threaded, scenarios on an image of 64 MiB.
 */
int crash_random_scenario(struct timeline *t, uint64_t number, bool big);
int crash_small_scenario(struct timeline *t, uint64_t number);
int crash_threads_scenario(struct timeline *t, uint64_t number, bool wide);
uint64_t crash_small_count(uint32_t length);
/* A short sequence with marks, chosen by its number. */
int crash_small_marks_scenario(struct timeline *t, uint64_t number);
/* Begin with the next request of the main line; false: it is left out. */
bool crash_next_request(struct timeline *t);
void crash_params(struct lab_params *p, struct rng *r);
void crash_big_params(struct lab_params *p, struct rng *r);
/* Between two checkpoints: the same image, a fresh UUID, and what may be free now. */
void crash_next_params(struct lab *lab);

#endif
