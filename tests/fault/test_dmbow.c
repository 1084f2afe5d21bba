/* SPDX-License-Identifier: MIT */
/*
 * Faults on disks that dm-bow left: the n-th operation or allocation of a verb fails, for n = 0, 1,
 * 2 ... until none is left to fail. It comes back with words, and afterwards the disk can be rolled
 * back (committed) all the same, counting only what is durable.
 */
#include "fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dmbow_gen.h"

#define KIND_ALLOC 6u /* after the kinds of the simulated disk */
#define DISKS 12u
#define LIMIT 3000u /* operations of a verb; more means that a loop does not end */

enum verb { STATUS, VERIFY, ROLLBACK, COMMIT, VERBS };

static const char *const verbs[VERBS] = {"status", "verify", "rollback", "commit"};

struct run {
	struct dmbow gen;
	struct sim_disk disk;
	struct bowimg_error err;
	uint64_t cases, fired;
	char why[768];
};

static bool wrong(struct run *r, const char *what)
{
	snprintf(r->why, sizeof(r->why), "%s: %s", what, r->err.message);
	return false;
}

static int call(struct run *r, enum verb verb)
{
	static const struct bowimg_end_options opts;
	struct bowimg_disk *dev = sim_open(&r->disk);
	struct bowimg_end_report report;
	struct bowimg_status st;
	int rc;

	memset(&r->err, 0, sizeof(r->err));
	switch (verb) {
	case STATUS:
		rc = bow_status_dev(dev, 0, &st, &r->err);
		break;
	case VERIFY:
		rc = bow_verify_dev(dev, &opts, &report, &r->err);
		break;
	case ROLLBACK:
		rc = bow_rollback_dev(dev, &opts, &report, &r->err);
		break;
	default:
		rc = bow_commit_dev(dev, &opts, &report, &r->err);
	}
	sim_kill(&r->disk);
	return rc;
}

static void load(struct run *r, uint64_t seed)
{
	uint64_t bytes;

	dmbow_make(&r->gen, seed);
	bytes = (uint64_t)r->gen.blocks * r->gen.block_size;
	sim_format(&r->disk, bytes, 512, false);
	sim_load(&r->disk, 0, r->gen.disk, bytes);
}

static bool compare(struct run *r, enum verb verb)
{
	const struct dmbow *g = &r->gen;
	size_t rest = (g->blocks - 1) * (size_t)g->block_size;

	if (verb != COMMIT)
		return dmbow_compare(g, r->disk.stable) < 0 || wrong(r, "a block is lost");
	return (!memcmp(r->disk.stable, g->live, g->block_size) &&
		!memcmp(r->disk.stable + g->block_size, g->disk + g->block_size, rest)) ||
	       wrong(r, "it is not what the file system had");
}

/* Nothing fails any more; what was in the cache only is gone. */
static bool recover(struct run *r, enum verb verb)
{
	static const struct sim_cut nothing_kept = {'p', 0, false};
	int rc;

	sim_power_cut(&r->disk, &r->disk, &nothing_kept);
	rc = call(r, verb == COMMIT ? COMMIT : ROLLBACK);
	if (rc && rc != -ENODATA)
		return wrong(r, "run again");
	sim_power_cut(&r->disk, &r->disk, &nothing_kept);
	return compare(r, verb);
}

/* True in *more if the fault found something to hit. */
static bool run_case(struct run *r, enum verb verb, uint32_t kind, uint32_t n, uint64_t seed,
		     bool *more)
{
	bool harmless = kind == SIM_FAULT_SHORT || kind == SIM_FAULT_EINTR;
	int rc;

	load(r, seed);
	if (kind == KIND_ALLOC)
		alloc_arm(n, false);
	else
		r->disk.fault =
			(struct sim_fault){.kind = (enum sim_fault_kind)kind, .countdown = n};
	rc = call(r, verb);
	*more = kind == KIND_ALLOC ? alloc_faults() > 0 : r->disk.fault.fired > 0;
	alloc_disarm();
	r->disk.fault = (struct sim_fault){0};
	r->cases++;
	r->fired += *more;
	if (rc && (!*more || harmless))
		return wrong(r, "failed");
	if (rc && !r->err.message[0])
		return wrong(r, "failed without a word");
	return recover(r, verb);
}

static uint32_t run_kind(struct run *r, enum verb verb, uint32_t kind)
{
	uint32_t bad = 0, n;

	for (uint64_t seed = 0; seed < DISKS; seed++) {
		bool more = true;

		for (n = 0; more && n < LIMIT && bad < 3; n++)
			if (!run_case(r, verb, kind, n, seed, &more)) {
				printf("# disk %" PRIu64 ", fault of kind %u at operation %u: %s\n",
				       seed, kind, n, r->why);
				bad++;
			}
		bad += n == LIMIT;
	}
	return bad;
}

int main(void)
{
	static const char *const kinds[] = {"",
					    "an I/O error",
					    "no space",
					    "a short transfer",
					    "an interrupted call",
					    "a lost barrier",
					    "no memory"};
	static struct run r;
	uint32_t number = 0, bad, failures = 0;

	lab_keep_memory();
	dmbow_init(&r.gen);
	if (sim_init(&r.disk, DMBOW_MAX_BYTES)) {
		fprintf(stderr, "out of memory\n");
		return 2;
	}
	printf("1..%u\n", VERBS * KIND_ALLOC);
	for (uint32_t verb = 0; verb < VERBS; verb++)
		for (uint32_t kind = 1; kind <= KIND_ALLOC; kind++) {
			bad = run_kind(&r, (enum verb)verb, kind);
			failures += bad;
			printf("%sok %u - dm-bow, %s: %s leaves a disk that can be brought back\n",
			       bad ? "not " : "", ++number, verbs[verb], kinds[kind]);
			fflush(stdout);
		}
	printf("# dm-bow: %" PRIu64 " cases, %" PRIu64 " faults fired\n", r.cases, r.fired);
	sim_release(&r.disk);
	dmbow_release(&r.gen);
	return failures || !r.fired;
}
