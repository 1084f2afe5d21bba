/* SPDX-License-Identifier: MIT */
/* One scenario of any kind, run from its name. */
#include "crash.h"

#include <stdlib.h>

uint32_t crash_kind_blocks(char kind)
{
	return kind == 'b' || kind == 'w' ? LAB_MAX_BLOCKS : LAB_SMALL_BLOCKS;
}

static struct timeline *new_timeline(struct crash_run *run)
{
	struct timeline *t = calloc(1, sizeof(*t));

	if (t && lab_init(&t->lab, run->max_blocks)) {
		free(t);
		return NULL;
	}
	if (t) {
		t->run = run;
		t->lab.trace = run->trace;
	}
	return t;
}

struct crash_run *crash_run_new(uint32_t max_blocks, FILE *trace)
{
	struct crash_run *run = calloc(1, sizeof(*run));
	uint32_t i;

	if (!run)
		return NULL;
	run->max_blocks = max_blocks;
	run->trace = trace;
	for (i = 0; i <= CRASH_DEPTH; i++) {
		run->timeline[i] = new_timeline(run);
		if (!run->timeline[i]) {
			crash_run_free(run);
			return NULL;
		}
	}
	return run;
}

void crash_run_free(struct crash_run *run)
{
	uint32_t i;

	for (i = 0; i <= CRASH_DEPTH; i++) {
		if (run->timeline[i])
			lab_release(&run->timeline[i]->lab);
		free(run->timeline[i]);
	}
	free(run);
}

static int run_kind(struct timeline *t, char kind, uint64_t number)
{
	switch (kind) {
	case 'x':
		return crash_small_scenario(t, number);
	case 'm':
		return crash_small_marks_scenario(t, number);
	case 't':
	case 'w':
		return crash_threads_scenario(t, number, kind == 'w');
	default:
		return crash_random_scenario(t, number, kind == 'b');
	}
}

bool crash_run_scenario(struct crash_run *run, const struct crash_id *id)
{
	struct timeline *t = run->timeline[0];
	uint32_t kind = (uint32_t)(strchr(CRASH_KINDS, id->kind) - CRASH_KINDS);
	uint64_t states = run->counts.states;
	int rc;

	run->id = *id;
	run->id.steps = 0;
	run->failed = false;
	run->one_in = 1;
	run->requests = 0;
	t->depth = t->barriers = 0;
	t->path = rng_mix(id->number, (uint64_t)id->kind);
	t->power = t->torn = t->once_more = t->marks = false;
	rc = run_kind(t, id->kind, id->number);
	if (rc == LAB_DEAD)
		rc = lab_bad(&t->lab, "a dead disk was not revived");
	if (rc == LAB_BAD)
		crash_fail(t);
	lab_kill(&t->lab);
	run->counts.refused += rc == LAB_REFUSED;
	for (uint32_t i = 0; i <= CRASH_DEPTH; i++) {
		run->counts.given += run->timeline[i]->lab.given_blk;
		run->timeline[i]->lab.given_blk = 0;
	}
	run->counts.scenarios[kind]++;
	run->counts.by_kind[kind] += run->counts.states - states;
	run->counts.failures += run->failed;
	return !run->failed;
}

bool crash_next_request(struct timeline *t)
{
	uint32_t i = t->run->requests++;

	/* Seeded one by one, so that leaving one out changes nothing of the others' choice. */
	t->lab.rng.state = rng_mix(t->path, 0x57e9 + i);
	return i >= 64 || !(t->run->id.dropped >> i & 1);
}
