/* SPDX-License-Identifier: MIT */
/*
 * Several threads on one handle. The disk is cut into stripes shorter than a block, dealt out to
 * the threads in turn: every block is shared, no byte is. So each thread knows what it must read.
 */
#include "property.h"

#include <errno.h>
#include "lib/base/bytes.h"
#include "disk_before.h"
#include "pieces.h"

#define THREADS 4u
#define STRIPE 1536u
#define REQUESTS 400u
#define TOGETHER 6u /* writes in one call */
#define BEFORE_BYTES (16u * SIM_BLOCK)

struct worker {
	pthread_t thread;
	struct lab *lab;
	struct rng rng;
	uint32_t number;
	uint8_t *expected; /* of the whole disk; this worker uses its own stripes */
	bool *known;	   /* per byte */
	uint64_t refused;
	char why[640];
};

static void fail(struct worker *w, const char *what, int rc, const struct bowimg_error *err)
{
	snprintf(w->why, sizeof(w->why), "%s: error %d: %s", what, rc, err->message);
}

static void choose(struct worker *w, uint64_t *off, uint32_t *bytes)
{
	uint64_t size = w->lab->p.size, stripes = size / STRIPE;
	uint64_t mine = rng_below(&w->rng, (uint32_t)(stripes / THREADS)) * THREADS + w->number;
	uint32_t start = rng_chance(&w->rng, 50) ? 0 : rng_below(&w->rng, STRIPE);

	*off = mine * STRIPE + start;
	*bytes = rng_between(&w->rng, 1, STRIPE - start);
}

static void check(struct worker *w, uint64_t off, uint32_t bytes)
{
	struct bowimg_error err = {0};
	uint8_t got[STRIPE];
	int rc = bowimg_disk_read(w->lab->engine, got, bytes, off, &err);
	uint32_t i;

	if (rc) {
		fail(w, "read", rc, &err);
		return;
	}
	for (i = 0; i < bytes; i++)
		if (w->known[off + i] && got[i] != w->expected[off + i]) {
			snprintf(w->why, sizeof(w->why), "thread %u reads a wrong byte at %llu",
				 w->number, (unsigned long long)(off + i));
			return;
		}
}

/* What is said to be zeros: nobody else writes there meanwhile. */
static void check_extent(struct worker *w, uint64_t off, uint32_t bytes)
{
	struct bowimg_error err = {0};
	uint64_t reach = 0, i;
	bool zero = false;
	int rc = bowimg_disk_extent(w->lab->engine, off, &zero, &reach, &err);

	if (rc)
		fail(w, "extent", rc, &err);
	for (i = 0; !rc && zero && i < bow_min(bytes, reach); i++)
		if (w->known[off + i] && w->expected[off + i]) {
			snprintf(w->why, sizeof(w->why), "thread %u: no zeros at %llu", w->number,
				 (unsigned long long)(off + i));
			return;
		}
}

/* What was there at prepare, whoever writes there now. */
static void check_before(struct worker *w)
{
	uint64_t size = w->lab->p.size, off = rng_below(&w->rng, (uint32_t)size), bad;
	uint64_t bytes = bow_min(rng_between(&w->rng, 1, BEFORE_BYTES), size - off);
	struct bowimg_error err = {0};
	uint8_t got[BEFORE_BYTES];
	int rc = disk_read_before(w->lab->engine, got, bytes, off, &err);

	bad = rc ? 0 : oracle_wrong_before(&w->lab->oracle, off, got, bytes);
	if (rc)
		fail(w, "read what was before", rc, &err);
	else if (bad < off + bytes)
		snprintf(w->why, sizeof(w->why), "thread %u: before: byte %llu is wrong", w->number,
			 (unsigned long long)bad);
}

static void change(struct worker *w, uint64_t off, uint32_t bytes, bool zeros)
{
	struct bowimg_error err = {0};
	unsigned flags = rng_chance(&w->rng, 5) ? BOWIMG_FUA : 0;
	uint8_t data[STRIPE] = {0};
	int rc;

	if (!zeros)
		rng_fill(data, bytes, rng_next(&w->rng));
	if (zeros)
		rc = bowimg_disk_zero(w->lab->engine, off, bytes, flags, &err);
	else
		rc = bowimg_disk_write(w->lab->engine, data, bytes, off, flags, &err);
	memcpy(w->expected + off, data, bytes);
	memset(w->known + off, rc == 0, bytes);
	if (rc == -ENOSPC)
		w->refused++;
	else if (rc)
		fail(w, zeros ? "zero" : "write", rc, &err);
}

/* Stripes of this thread one after the other, with those of the others between them. */
static void change_many(struct worker *w, uint64_t off)
{
	uint64_t last = w->lab->p.size / STRIPE * STRIPE - STRIPE;
	struct bow_write writes[TOGETHER];
	uint8_t data[TOGETHER][STRIPE];
	struct bowimg_error err = {0};
	uint32_t n = 0;

	for (off -= off % STRIPE; n < TOGETHER && off <= last; off += THREADS * STRIPE) {
		rng_fill(data[n], STRIPE, rng_next(&w->rng));
		writes[n] = (struct bow_write){.buf = data[n], .bytes = STRIPE, .off = off};
		n++;
	}
	pieces_write_many(w->lab->engine, writes, n, &err);
	for (uint32_t i = 0; i < n; i++) {
		int rc = writes[i].result;

		memcpy(w->expected + writes[i].off, data[i], STRIPE);
		memset(w->known + writes[i].off, rc == 0, STRIPE);
		w->refused += rc == -ENOSPC;
		if (rc && rc != -ENOSPC)
			fail(w, "write together", rc, &err);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct bowimg_error err = {0};
	uint32_t i, bytes;
	uint64_t off;
	int rc;

	for (i = 0; i < REQUESTS && !w->why[0]; i++) {
		uint32_t n = rng_below(&w->rng, 100);

		choose(w, &off, &bytes);
		if (n < 15) {
			check_before(w);
		} else if (n < 35) {
			check(w, off, bytes);
			check_extent(w, off, bytes);
		} else if (n < 84) {
			change(w, off, bytes, n < 45);
		} else if (n < 94) {
			change_many(w, off);
		} else {
			rc = bowimg_disk_flush(w->lab->engine, &err);
			if (rc)
				fail(w, "flush", rc, &err);
		}
	}
	return NULL;
}

static int run_workers(struct lab *lab, struct worker *workers, struct property_counts *counts)
{
	uint32_t i, started;
	int rc = LAB_OK;

	for (started = 0; started < THREADS; started++)
		if (pthread_create(&workers[started].thread, NULL, work, &workers[started]))
			break;
	for (i = 0; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	if (started < THREADS)
		return lab_bad(lab, "thread %u could not be started", started);
	for (i = 0; i < THREADS; i++) {
		counts->requests += REQUESTS;
		counts->refused += workers[i].refused;
		if (workers[i].why[0])
			rc = lab_bad(lab, "%s", workers[i].why);
	}
	return rc;
}

static int check_bytes(struct lab *lab, const struct worker *w, const uint8_t *bytes,
		       const char *when)
{
	uint64_t i;

	for (i = 0; i < lab->p.size; i++)
		if (w->known[i] && bytes[i] != w->expected[i])
			return lab_bad(lab, "%s: byte %llu is wrong (block %llu)", when,
				       (unsigned long long)i, (unsigned long long)(i / SIM_BLOCK));
	return LAB_OK;
}

/* Flushed, killed, attached anew: all is there. Then one of the two ends. */
static int finish(struct lab *lab, const struct worker *w, struct property_counts *counts)
{
	bool commit = rng_chance(&lab->rng, 50);
	int rc = lab_judge(lab, bowimg_disk_flush(lab->engine, &lab->err), "flush");

	property_count(lab, counts);
	lab_kill(lab);
	if (!rc)
		rc = lab_attach(lab);
	if (!rc)
		rc = lab_judge(lab,
			       bowimg_disk_read(lab->engine, lab->image, lab->p.size, 0, &lab->err),
			       "read");
	if (!rc)
		rc = check_bytes(lab, w, lab->image, "after a kill");
	if (!rc)
		rc = lab_detach(lab);
	if (!rc)
		rc = lab_end(lab, commit ? LAB_END_COMMIT : LAB_END_ROLLBACK);
	if (rc)
		return rc;
	if (commit)
		return check_bytes(lab, w, lab->disk.cache, "after a commit");
	return lab_check_ended(lab, false, false);
}

int property_threads(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	static uint8_t expected[(LAB_SMALL_BLOCKS + 1) * SIM_BLOCK];
	static bool known[sizeof(expected)];
	struct worker workers[THREADS] = {0};
	struct rng r = {seed};
	struct lab_params p;
	uint32_t i;
	int rc;

	property_params(&p, &r, 24, 160);
	p.queue_depth = seed % 2 ? 8 : 0;
	lab_make_image(lab, &p, seed);
	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), seed);
	rc = lab_prepare(lab);
	if (rc)
		return rc == LAB_REFUSED ? LAB_OK : rc;
	rc = lab_attach(lab);
	if (rc)
		return rc;
	memcpy(expected, lab->disk.cache, p.size);
	memcpy(expected, lab->oracle.original, SIM_BLOCK);
	for (i = 0; i < p.size; i++)
		known[i] = !p.is_free[i / SIM_BLOCK];
	for (i = 0; i < THREADS; i++) {
		workers[i].lab = lab;
		workers[i].number = i;
		workers[i].rng.state = rng_mix(seed, i);
		workers[i].expected = expected;
		workers[i].known = known;
	}
	rc = run_workers(lab, workers, counts);
	return rc ? rc : finish(lab, &workers[0], counts);
}
