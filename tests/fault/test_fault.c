/* SPDX-License-Identifier: MIT */
/*
 * Faults one by one: the n-th operation fails, for n = 0, 1, 2 ... until none is left to fail, once
 * and for ever after. Environment:
 *   FAULT_ID=...   rerun one case, as a failure printed it
 *   FAULT_TRACE=1  print every guest and device operation of it
 */
#include "fault.h"

#include <inttypes.h>
#include <stdlib.h>

#define KIND_ALLOC 6u /* after the kinds of the simulated disk */
#define KINDS 6u
#define LIMIT 5000u /* operations in a phase; more means that a loop does not end */

struct fault_id {
	uint32_t phase, kind, variant, forever, n;
};

static const char *const phases[PHASES] = {"prepare",	   "serving", "attach after a crash",
					   "rollback",	   "commit",  "verify",
					   "status",	   "mark",    "mark --delete",
					   "rollback --to"};
static const char *const kinds[] = {"",
				    "an I/O error",
				    "no space",
				    "a short transfer",
				    "an interrupted call",
				    "a lost barrier",
				    "no memory"};

static uint64_t cases, fired, without_hint;

static int act(struct lab *lab, const struct fault_id *id)
{
	int rc;

	if (id->kind == KIND_ALLOC)
		alloc_arm(id->n, id->forever);
	else
		lab->disk.fault = (struct sim_fault){.kind = (enum sim_fault_kind)id->kind,
						     .countdown = id->n,
						     .forever = id->forever};
	rc = phase_act(lab, (enum fault_phase)id->phase);
	alloc_disarm();
	return rc;
}

/* Transfers that are short or interrupted are nobody's error. */
static int check_harmless(struct lab *lab, const struct fault_id *id, int rc)
{
	bool harmless = id->kind == SIM_FAULT_SHORT || id->kind == SIM_FAULT_EINTR;

	if (rc == LAB_FAULT && harmless)
		return lab_bad(lab, "failed: %s", lab->err.message);
	if (rc == LAB_FAULT && !lab->err.hint[0])
		without_hint++;
	return rc == LAB_FAULT || rc == LAB_REFUSED ? LAB_OK : rc;
}

/* True in *more if the fault found something to hit. */
static int run_case(struct lab *lab, const struct fault_id *id, bool *more)
{
	int rc = phase_setup(lab, (enum fault_phase)id->phase, id->variant);

	if (rc)
		return rc == LAB_BAD ? rc : lab_bad(lab, "the set-up failed");
	rc = check_harmless(lab, id, act(lab, id));
	*more = lab_faulted(lab);
	cases++;
	fired += *more;
	lab->disk.fault = (struct sim_fault){0};
	alloc_arm(UINT64_MAX, false);
	alloc_disarm();
	lab_kill(lab);
	if (!rc)
		rc = phase_recover(lab, (enum fault_phase)id->phase, id->n & 1);
	return rc;
}

static bool run_and_print(struct lab *lab, const struct fault_id *id, bool *more)
{
	int rc = run_case(lab, id, more);

	lab_kill(lab);
	if (rc == LAB_OK)
		return true;
	printf("# FAULT_ID=%u.%u.%u.%u.%u: %s at operation %u of %s%s: %s\n", id->phase, id->kind,
	       id->variant, id->forever, id->n, kinds[id->kind], id->n, phases[id->phase],
	       id->forever ? " and ever after" : "", lab->why);
	fflush(stdout);
	return false;
}

/* All n of one kind in one phase; a few failures are enough. */
static uint32_t run_kind(struct lab *lab, uint32_t phase, uint32_t kind)
{
	struct fault_id id = {.phase = phase, .kind = kind};
	uint32_t failures = 0;
	bool more;

	for (id.variant = 0; id.variant < FAULT_VARIANTS; id.variant++)
		for (id.forever = 0; id.forever < 2; id.forever++) {
			more = true;
			for (id.n = 0; more && id.n < LIMIT && failures < 3; id.n++)
				failures += !run_and_print(lab, &id, &more);
			failures += id.n == LIMIT;
		}
	return failures;
}

/* An allocator that cannot be made to fail would make a third of this test a formality. */
static uint32_t check_allocator(uint32_t number)
{
	void *volatile p;
	bool works;

	alloc_arm(0, true);
	p = malloc(1);
	alloc_disarm();
	works = !p;
	free(p);
	printf("%sok %u - allocations can be made to fail (see tests/fault/LDFLAGS)\n",
	       works ? "" : "not ", number);
	return !works;
}

static uint32_t run_all(struct lab *lab)
{
	uint32_t phase, kind, bad, number = 1, failures;

	printf("1..%u\n", PHASES * KINDS + 1);
	failures = check_allocator(number);
	for (phase = 0; phase < PHASES; phase++)
		for (kind = 1; kind <= KINDS; kind++) {
			bad = run_kind(lab, phase, kind);
			failures += bad;
			printf("%sok %u - %s: %s leaves an image that can be brought back\n",
			       bad ? "not " : "", ++number, phases[phase], kinds[kind]);
			fflush(stdout);
		}
	printf("# %" PRIu64 " cases, %" PRIu64 " faults fired, %" PRIu64
	       " failures without a hint\n",
	       cases, fired, without_hint);
	return failures;
}

static uint32_t run_one(struct lab *lab, const char *text)
{
	struct fault_id id;
	bool more, good;

	if (sscanf(text, "%u.%u.%u.%u.%u", &id.phase, &id.kind, &id.variant, &id.forever, &id.n) !=
		    5 ||
	    id.phase >= PHASES || id.kind < 1 || id.kind > KINDS || id.variant >= FAULT_VARIANTS) {
		fprintf(stderr, "FAULT_ID=%s: not the name of a case\n", text);
		return 1;
	}
	printf("1..1\n");
	good = run_and_print(lab, &id, &more);
	printf("%sok 1 - %s\n", good ? "" : "not ", text);
	return !good;
}

int main(void)
{
	static struct lab lab;
	const char *id = getenv("FAULT_ID"), *trace = getenv("FAULT_TRACE");
	uint32_t failures;

	lab_keep_memory();
	if (lab_init(&lab, LAB_SMALL_BLOCKS)) {
		fprintf(stderr, "out of memory\n");
		return 2;
	}
	lab.alloc_faults = alloc_faults;
	if (trace && *trace && *trace != '0')
		lab.trace = stdout;
	failures = id && *id ? run_one(&lab, id) : run_all(&lab);
	lab_release(&lab);
	return failures != 0;
}
