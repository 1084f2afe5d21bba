/* SPDX-License-Identifier: MIT */
/* Images so large that the log has long segments, or hundreds of short ones. */
#include "property.h"

int property_big(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct rng r = {seed};
	struct lab_params p;
	uint32_t b, run;
	bool is_free = false;
	int rc;

	property_params(&p, &r, LAB_MAX_BLOCKS - 200, LAB_MAX_BLOCKS - 1);
	p.sparse = true;
	for (b = 1; b < p.size / SIM_BLOCK; is_free = !is_free)
		for (run = rng_between(&r, 1, 400); run > 0 && b < p.size / SIM_BLOCK; run--)
			p.is_free[b++] = is_free;
	lab_make_image(lab, &p, seed);
	property_renew(lab);
	rc = property_one_checkpoint(lab, counts);
	return rc == LAB_REFUSED ? LAB_OK : rc;
}

/* A write to each block of odd number, refused or not. */
static int write_free(struct lab *lab, struct property_counts *counts)
{
	uint32_t b;
	int rc = LAB_OK;

	for (b = 1; b < lab->oracle.blocks && rc == LAB_OK; b += 2) {
		struct lab_request req = {LAB_WRITE, (uint64_t)b * SIM_BLOCK, SIM_BLOCK, false};

		counts->requests++;
		rc = lab_request(lab, &req);
		counts->refused += rc == LAB_REFUSED;
		if (rc == LAB_REFUSED)
			rc = LAB_OK;
	}
	return rc;
}

int property_divided(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct rng r = {seed};
	struct lab_params p;
	uint32_t b;
	int rc;

	property_params(&p, &r, 10000, 14000);
	p.exact = p.blank = true;
	p.can_grow = p.has_mtime = false;
	p.size -= p.size % SIM_BLOCK;
	p.store = BOWIMG_STORE_FREE;
	p.on_full = BOWIMG_ON_FULL_STOP;
	for (b = 1; b < p.size / SIM_BLOCK; b++)
		p.is_free[b] = b % 2;
	lab_make_image(lab, &p, seed);
	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), seed);
	rc = lab_prepare(lab);
	if (!rc)
		rc = lab_attach(lab);
	counts->checkpoints++;
	/* Free blocks alone: hardly anything but the log is left of them, and no backup. */
	if (!rc)
		rc = write_free(lab, counts);
	if (!rc)
		rc = property_detach(lab, counts);
	if (!rc)
		rc = lab_end(lab, rng_chance(&r, 70) ? LAB_END_WIPE : LAB_END_ROLLBACK);
	return rc ? rc : lab_check_ended(lab, lab->intent == LAB_COMMIT, false);
}
