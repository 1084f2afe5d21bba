/* SPDX-License-Identifier: MIT */
/* Test, go back, test, go back: what a loop of it costs, and what it must not cost. */
#include "property.h"

#include "lib/base/bytes.h"

#define ROUNDS 60u
#define FIRST 6u    /* the prologue of one lies beside that of the one before: two places */
#define CHANGED 20u /* rounds of the same requests, then of others */

struct round {
	uint64_t free_left, log, tail, size;
};

static int measure(struct lab *lab, struct round *r)
{
	struct bowimg_status st;
	int rc = lab_status(lab, &st);

	*r = (struct round){st.free_left_bytes, st.log_bytes, st.tail_bytes, lab->disk.size};
	return rc;
}

static int make_requests(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct lab_request req;
	uint32_t n = 12;
	int rc = lab_attach(lab);

	lab->rng.state = seed;
	while (rc == LAB_OK && n-- > 0) {
		lab_choose(lab, 8, &req);
		rc = lab_request(lab, &req);
		counts->requests++;
		counts->refused += rc == LAB_REFUSED;
		if (rc == LAB_REFUSED)
			rc = LAB_OK;
	}
	return rc ? rc : property_detach(lab, counts);
}

static int compare(struct lab *lab, uint32_t n, const struct round *now, const struct round *worst)
{
	if (now->free_left >= worst->free_left && now->log <= worst->log &&
	    now->tail <= worst->tail && now->size <= worst->size)
		return LAB_OK;
	return lab_bad(
		lab,
		"round %u left %llu bytes free, a log of %llu, a tail of %llu; the first ones "
		"left %llu, %llu, %llu",
		n, (unsigned long long)now->free_left, (unsigned long long)now->log,
		(unsigned long long)now->tail, (unsigned long long)worst->free_left,
		(unsigned long long)worst->log, (unsigned long long)worst->tail);
}

static void note(struct round *worst, const struct round *now)
{
	worst->free_left = bow_min(worst->free_left, now->free_left);
	worst->log = bow_max(worst->log, now->log);
	worst->tail = bow_max(worst->tail, now->tail);
	worst->size = bow_max(worst->size, now->size);
}

/* The prologue has 32 bytes for each run of blocks that were free at the mark, and a header. */
static int check_bound(struct lab *lab, const struct round *now, uint64_t log_at_mark)
{
	uint64_t most = log_at_mark + SIM_BLOCK * (2 + lab->oracle.blocks / 2 / 100);

	if (now->log <= most)
		return LAB_OK;
	return lab_bad(lab, "a log of %llu bytes, %llu at the mark", (unsigned long long)now->log,
		       (unsigned long long)log_at_mark);
}

static int one_round(struct lab *lab, uint64_t seed, uint32_t n, struct round *worst,
		     uint64_t log_at_mark, struct property_counts *counts)
{
	struct round now = {0};
	int rc = make_requests(lab, n < CHANGED ? seed : rng_mix(seed, n), counts);

	if (!rc)
		rc = lab_to(lab, 0);
	counts->went_back++;
	if (!rc)
		rc = measure(lab, &now);
	if (!rc)
		rc = check_bound(lab, &now, log_at_mark);
	if (!rc && n >= FIRST && n < CHANGED)
		rc = compare(lab, n, &now, worst);
	else if (n < FIRST)
		note(worst, &now);
	return rc;
}

int property_marks(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct rng r = {seed};
	struct lab_params p;
	struct round now, worst = {.free_left = UINT64_MAX};
	uint64_t log_at_mark;
	uint32_t n;
	int rc;

	property_params(&p, &r, 60, LAB_SMALL_BLOCKS - 1);
	lab_make_image(lab, &p, seed);
	property_renew(lab);
	rc = lab_prepare(lab);
	counts->checkpoints++;
	if (!rc)
		rc = make_requests(lab, rng_mix(seed, 1), counts);
	if (!rc)
		rc = lab_mark(lab, true, false);
	if (!rc)
		rc = measure(lab, &now);
	log_at_mark = rc ? 0 : now.log;
	for (n = 0; n < ROUNDS && !rc; n++)
		rc = one_round(lab, rng_mix(seed, 2), n, &worst, log_at_mark, counts);
	if (!rc)
		rc = lab_end(lab, rng_chance(&r, 50) ? LAB_END_COMMIT : LAB_END_ROLLBACK);
	if (!rc)
		rc = lab_check_ended(lab, lab->intent == LAB_COMMIT, false);
	return rc == LAB_REFUSED ? LAB_OK : rc;
}

/* ---- no room but the reserve ------------------------------------------------------ */

/* Writes that cost nothing but the log: what they overwrite is zeros. */
static int fill_with_log(struct lab *lab, struct property_counts *counts)
{
	uint32_t k, b, blocks = lab->oracle.blocks, refused = 0;
	int rc = lab_attach(lab);

	/* Far apart, so that nothing is prepared ahead. */
	for (k = 1; k < blocks && rc == LAB_OK && refused < 20; k++) {
		b = (uint32_t)((uint64_t)k * 1009 % blocks);

		struct lab_request req = {LAB_WRITE, (uint64_t)b * SIM_BLOCK, SIM_BLOCK, false};

		if (lab->p.is_free[b] || b == 0)
			continue;
		counts->requests++;
		rc = lab_request(lab, &req);
		refused += rc == LAB_REFUSED;
		counts->refused += rc == LAB_REFUSED;
		if (rc == LAB_REFUSED)
			rc = LAB_OK;
	}
	if (!rc && !refused)
		rc = lab_bad(lab, "the log filled the free space, and nothing was refused");
	return rc ? rc : property_detach(lab, counts);
}

int property_marks_full(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct rng r = {seed};
	struct lab_params p;
	uint32_t b, n;
	int rc;

	property_params(&p, &r, 15000, 16000);
	p.exact = p.blank = p.sparse = true;
	p.can_grow = seed % 4 > 0;
	p.has_mtime = false;
	p.size -= p.size % SIM_BLOCK;
	p.store = BOWIMG_STORE_FREE;
	p.on_full = BOWIMG_ON_FULL_STOP;
	for (b = 1; b < p.size / SIM_BLOCK; b++)
		p.is_free[b] = b % 16 == 1;
	lab_make_image(lab, &p, seed);
	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), seed);
	rc = lab_prepare(lab);
	counts->checkpoints++;
	if (!rc)
		rc = lab_mark(lab, true, false);
	/* Of the blocks that were free at the mark hardly any is not the log's. */
	for (n = 0; n < 2 && !rc; n++) {
		rc = fill_with_log(lab, counts);
		if (!rc)
			rc = lab_to(lab, 0);
		counts->went_back++;
	}
	if (!rc)
		rc = lab_end(lab, rng_chance(&r, 50) ? LAB_END_COMMIT : LAB_END_ROLLBACK);
	return rc ? rc : lab_check_ended(lab, lab->intent == LAB_COMMIT, false);
}
