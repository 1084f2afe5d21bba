/* SPDX-License-Identifier: MIT */
/*
 * Random operations of all kinds on small images, with a plain array as oracle. Environment:
 *   OPS=N    requests to make in all (default 120000)
 *   SEED=N   the first case's seed (default: from the clock); every failure names its own
 *   CASE=K   one kind only, with OPS so many requests, without one case: "random", "threads",
 *            "stop", "tail", "again", "marks", "big", "divided", "reserve"
 *   TRACE=1  print every request and device operation
 */
#include "property.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

enum kind { RANDOM, THREADED, STOP, TAIL, AGAIN, MARKS, BIG, DIVIDED, RESERVE, KINDS };

static const char *const kinds[KINDS] = {"random", "threads", "stop",	 "tail",   "again",
					 "marks",  "big",     "divided", "reserve"};
static const char *const sentences[KINDS] = {
	"random requests read back what was written, roll back and commit exactly",
	"several threads on shared blocks lose nothing",
	"a full disk refuses writes, keeps what it has and rolls back",
	"with a tail nothing is refused",
	"rollback --again leaves a checkpoint that works",
	"going back to a mark again and again takes no more room each time",
	"the same is true of a sparse image of 64 MiB",
	"a full device whose log has hundreds of pieces can be ended",
	"where the log took all room but the reserve a mark can be gone back to",
};
/* Of the requests, in percent; what is left goes to random cases. */
static const uint32_t share[KINDS] = {62, 15, 5, 5, 5, 5, 1, 1, 1};

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static int run_case(struct lab *lab, enum kind kind, uint64_t seed, struct property_counts *counts)
{
	int rc;

	switch (kind) {
	case THREADED:
		rc = property_threads(lab, seed, counts);
		break;
	case STOP:
	case TAIL:
		rc = property_full(lab, seed, kind == TAIL, counts);
		counts->requests += 2 * lab->oracle.blocks;
		break;
	case AGAIN:
		rc = property_again(lab, seed, counts);
		break;
	case MARKS:
		rc = property_marks(lab, seed, counts);
		break;
	case BIG:
		rc = property_big(lab, seed, counts);
		break;
	case DIVIDED:
		rc = property_divided(lab, seed, counts);
		break;
	case RESERVE:
		rc = property_marks_full(lab, seed, counts);
		break;
	default:
		rc = property_case(lab, seed, counts);
	}
	lab_kill(lab);
	if (rc)
		printf("# SEED=%" PRIu64 " CASE=%s: %s\n", seed, kinds[kind], lab->why);
	return rc;
}

/* Cases of one kind until its share of the requests is made; at most a few failures. */
static uint32_t run_kind(struct lab *lab, enum kind kind, uint64_t seed, uint64_t requests,
			 struct property_counts *counts)
{
	uint64_t stop = counts->requests + requests, n;
	uint32_t failures = 0;

	/* A case may be refused for space; their number is bounded all the same. */
	for (n = 0; counts->requests < stop && failures < 5 && n < requests; n++)
		failures += run_case(lab, kind, seed + n, counts) != LAB_OK;
	printf("%sok %d - %s\n", failures ? "not " : "", kind + 1, sentences[kind]);
	fflush(stdout);
	return failures;
}

static void print_counts(const struct property_counts *c)
{
	printf("# %" PRIu64 " requests (%" PRIu64 " refused for space) on %" PRIu64
	       " checkpoints: %" PRIu64 " rolled back, %" PRIu64 " committed\n",
	       c->requests, c->refused, c->checkpoints, c->rolled_back, c->committed);
	printf("# reattached %" PRIu64 ", killed %" PRIu64 ", gone back to a mark %" PRIu64
	       "; bytes backed up %" PRIu64 ", given back %" PRIu64 ", relocated %" PRIu64
	       ", in tails %" PRIu64 "\n",
	       c->reattached, c->killed, c->went_back, c->backup_bytes, c->given_bytes,
	       c->relocated_bytes, c->tail_bytes);
}

/* Labs are as large as the images in them. */
static struct lab *lab_for(enum kind kind)
{
	static struct lab small, big;
	static bool have_small, have_big;
	struct lab *lab = kind >= BIG ? &big : &small;
	bool *have = kind >= BIG ? &have_big : &have_small;

	if (!*have && lab_init(lab, kind >= BIG ? LAB_MAX_BLOCKS : LAB_SMALL_BLOCKS)) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	*have = true;
	if (env_number("TRACE", 0))
		lab->trace = stdout;
	return lab;
}

static uint32_t run_all(uint64_t seed)
{
	uint64_t ops = env_number("OPS", 120000);
	struct property_counts counts = {0};
	uint32_t kind, failures = 0;

	printf("1..%d\n# SEED=%" PRIu64 " OPS=%" PRIu64 "\n", KINDS, seed, ops);
	for (kind = 0; kind < KINDS; kind++)
		failures += run_kind(lab_for((enum kind)kind), (enum kind)kind, seed,
				     ops * share[kind] / 100 + 1, &counts);
	print_counts(&counts);
	return failures;
}

static uint32_t run_named(const char *name, uint64_t seed)
{
	struct property_counts counts = {0};
	uint64_t ops = env_number("OPS", 0);
	uint32_t n, failures = 1;

	printf("1..1\n# SEED=%" PRIu64 "\n", seed);
	for (n = 0; n < KINDS; n++) {
		enum kind kind = (enum kind)n;

		if (strcmp(name, kinds[kind]) != 0)
			continue;
		if (ops)
			return run_kind(lab_for(kind), kind, seed, ops, &counts);
		failures = run_case(lab_for(kind), kind, seed, &counts) != LAB_OK;
	}
	printf("%sok 1 - %s with seed %" PRIu64 "\n", failures ? "not " : "", name, seed);
	return failures;
}

int main(void)
{
	const char *name = getenv("CASE");
	uint64_t seed = env_number("SEED", (uint64_t)time(NULL));

	lab_keep_memory();
	return (name && *name ? run_named(name, seed) : run_all(seed)) != 0;
}
