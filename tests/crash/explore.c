/* SPDX-License-Identifier: MIT */
/* At each barrier of a timeline: which cuts are tried, and the timelines that grow from them. */
#include "crash.h"

#define RESCUE_ONE_IN 8u

/* The path from the main line to t, as an id. */
static void id_of(const struct timeline *t, struct crash_id *id)
{
	const struct crash_run *run = t->run;
	uint32_t i;

	*id = run->id;
	id->steps = t->depth;
	for (i = 0; i < t->depth; i++)
		id->step[i] = run->timeline[i + 1]->made_by;
}

void crash_fail(struct timeline *t)
{
	struct crash_run *run = t->run;
	struct crash_id id;
	char text[256];

	if (run->failed)
		return;
	run->failed = true;
	id_of(t, &id);
	crash_id_format(&id, text, sizeof(text));
	snprintf(run->failure, sizeof(run->failure), "CRASH_ID=%s: %s", text, t->lab.why);
}

static void count_state(struct timeline *t)
{
	struct crash_counts *c = &t->run->counts;

	c->states++;
	c->second += t->depth == 2;
	c->third += t->depth == 3;
	c->torn += t->made_by.cut.garbage;
	c->by_intent[t->lab.intent]++;
}

static struct timeline *fork_at(struct timeline *t, uint32_t barrier, const struct sim_cut *cut)
{
	struct timeline *next = t->run->timeline[t->depth + 1];
	uint64_t what = (uint64_t)cut->mode << 56 | (uint64_t)cut->garbage << 55 | cut->arg;

	next->depth = t->depth + 1;
	next->barriers = 0;
	next->made_by = (struct crash_step){barrier, *cut};
	next->path = rng_mix(rng_mix(t->path, barrier), what);
	next->power = true;
	next->torn = cut->garbage || t->torn;
	next->explore = true;
	next->once_more = false;
	next->marks = t->marks;
	lab_fork(&next->lab, &t->lab, cut, next->path);
	return next;
}

static void follow_fork(struct timeline *t)
{
	int rc = LAB_OK;

	count_state(t);
	/* Decided by where it comes from, since a choice at random would change what follows. */
	if (t->lab.intent == LAB_TO && t->depth < CRASH_DEPTH && t->path % RESCUE_ONE_IN == 0)
		rc = crash_rescue(t);
	crash_watch(t);
	if (rc == LAB_BAD || crash_follow(t) == LAB_BAD)
		crash_fail(t);
	lab_kill(&t->lab);
}

static void try_cut(struct timeline *t, uint32_t barrier, const struct sim_cut *cut)
{
	follow_fork(fork_at(t, barrier, cut));
}

/* True if a cut before this one has left the same; `n` of them are noted, and this one then. */
static bool is_known(const struct timeline *t, uint64_t *known, uint32_t *n)
{
	uint64_t trait = rng_mix(sim_cut_trait(&t->lab.disk), t->torn);
	uint32_t i;

	for (i = 0; i < *n; i++)
		if (known[i] == trait)
			return true;
	known[(*n)++] = trait;
	return false;
}

/* Cuts that leave the same disk are one state, with one way to go on that is chosen by chance. */
static void try_main_line(struct timeline *t, uint32_t barrier, uint64_t seed)
{
	uint64_t known[CRASH_PER_BARRIER];
	uint32_t n, distinct = 0;
	struct sim_cut cut;

	if ((seed >> 20) % t->run->one_in)
		return;
	for (n = 0; !t->run->failed &&
		    sim_cut_choose(&t->lab.disk, n, t->run->per_barrier, seed, true, &cut);
	     n++) {
		struct timeline *next = fork_at(t, barrier, &cut);

		if (is_known(next, known, &distinct)) {
			t->run->counts.same++;
			lab_kill(&next->lab);
		} else {
			follow_fork(next);
		}
	}
}

/* A second cut at some of the barriers of recovery, a third at few; more on the way to a mark. */
static void try_later(struct timeline *t, uint32_t barrier, uint64_t seed)
{
	static const uint32_t one_in[CRASH_DEPTH] = {1, 12, 25},
			      to_a_mark[CRASH_DEPTH] = {1, 5, 10};
	struct sim_cut cut;

	if (seed % (t->lab.intent == LAB_TO ? to_a_mark : one_in)[t->depth])
		return;
	if (sim_cut_choose(&t->lab.disk, (uint32_t)(seed >> 8) % 32, 32, seed, true, &cut) ||
	    sim_cut_choose(&t->lab.disk, 0, 32, seed, false, &cut))
		try_cut(t, barrier, &cut);
}

void crash_cut_here(struct timeline *t, uint32_t barrier)
{
	struct crash_run *run = t->run;
	uint64_t seed = rng_mix(t->path, barrier);

	if (run->only) {
		const struct crash_step *step = &run->only->step[t->depth];

		if (t->depth < run->only->steps && step->barrier == barrier)
			try_cut(t, barrier, &step->cut);
	} else if (t->depth == 0) {
		try_main_line(t, barrier, seed);
	} else {
		try_later(t, barrier, seed);
	}
}

static void at_barrier(void *ctx)
{
	struct timeline *t = ctx;
	uint32_t barrier = t->barriers++;

	if (!t->run->failed && t->explore && t->depth < CRASH_DEPTH)
		crash_cut_here(t, barrier);
}

void crash_watch(struct timeline *t)
{
	t->lab.disk.hooks.barrier = at_barrier;
}
