/* SPDX-License-Identifier: MIT */
/* Random requests on one thread: what is read, and both ends, against a plain array. */
#include "property.h"

#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

void property_params(struct lab_params *p, struct rng *r, uint32_t min_blocks, uint32_t max_blocks)
{
	static const uint32_t odd[] = {0, 0, 512, 1000, 2048, 3584, 1};
	uint32_t used_percent = rng_chance(r, 60) ? 30 : rng_between(r, 5, 95), b;

	memset(p, 0, sizeof(*p));
	p->can_grow = rng_chance(r, 60);
	p->sector_size = rng_chance(r, 70) ? 512 : 4096;
	p->size = (uint64_t)rng_between(r, min_blocks, max_blocks) * SIM_BLOCK;
	if (p->can_grow)
		p->size += odd[rng_below(r, 7)];
	p->exact = rng_chance(r, 40);
	if (p->can_grow && rng_chance(r, 25))
		p->store = BOWIMG_STORE_TAIL;
	p->on_full = p->can_grow && rng_chance(r, 60) ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	p->has_mtime = p->can_grow && rng_chance(r, 30);
	if (rng_chance(r, 10))
		p->durability = BOWIMG_DURABILITY_PROCESS;
	for (b = 1; b < p->size / SIM_BLOCK; b++)
		p->is_free[b] = !rng_chance(r, used_percent);
}

void property_count(const struct lab *lab, struct property_counts *counts)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(lab->engine, &c);
	counts->given_bytes += c.given_bytes;
	counts->relocated_bytes += c.relocated_bytes;
	counts->tail_bytes += c.tail_bytes;
	counts->backup_bytes += c.backup_bytes;
}

int property_detach(struct lab *lab, struct property_counts *counts)
{
	property_count(lab, counts);
	return lab_detach(lab);
}

static int reattach(struct lab *lab, struct property_counts *counts)
{
	int rc = property_detach(lab, counts);

	counts->reattached++;
	return rc ? rc : lab_attach(lab);
}

/* Requests until the disk dies in one of them; whatever returned before that counts as durable. */
static int die_in_a_request(struct lab *lab)
{
	struct lab_request req;
	int rc;

	lab->disk.die_at = lab->disk.ops + rng_between(&lab->rng, 1, 30);
	do {
		oracle_flushed(&lab->oracle, 0, lab->p.size);
		lab_choose(lab, 4, &req);
		rc = lab_request(lab, &req);
	} while (rc == LAB_OK || rc == LAB_REFUSED);
	return rc == LAB_DEAD ? LAB_OK : rc;
}

/*
 * Without a power cut, so what is lost can only be what was still in memory; and where that was
 * carried, nothing that a call had returned for.
 */
static int kill_and_attach(struct lab *lab, struct property_counts *counts)
{
	int rc = LAB_OK;

	counts->killed++;
	property_count(lab, counts);
	if (lab->carry && !lab->p.sparse && rng_chance(&lab->rng, 70))
		rc = die_in_a_request(lab);
	else if (lab->carry)
		oracle_flushed(&lab->oracle, 0, lab->p.size);
	lab_kill(lab);
	lab->disk.die_at = 0;
	if (!rc)
		rc = lab_attach(lab);
	if (!rc && lab->carry && !bow_engine_of(lab->engine)->carried)
		return lab_bad(lab, "what was carried was not taken over");
	return rc ? rc : lab_settle(lab, false, false);
}

/* As it was, in the middle of everything. */
static int look_back(struct lab *lab)
{
	uint64_t off = rng_below(&lab->rng, (uint32_t)lab->p.size);
	uint64_t most = bow_min(lab->p.size - off, rng_chance(&lab->rng, 70) ? 20000 : 1 << 20);

	return lab_read_before(lab, off, rng_between(&lab->rng, 1, (uint32_t)most));
}

static int step(struct lab *lab, struct property_counts *counts)
{
	uint32_t n = rng_below(&lab->rng, 1000);
	struct lab_request req;
	int rc;

	if (n < 12)
		return reattach(lab, counts);
	if (n < 20)
		return kill_and_attach(lab, counts);
	if (n < (lab->p.sparse ? 22 : 30))
		return lab_read_all(lab);
	if (n < 100)
		return look_back(lab);
	if (lab->p.sparse)
		lab_choose_near(lab, &req);
	else
		lab_choose(lab, n < 800 ? 4 : lab->oracle.blocks, &req);
	counts->requests++;
	rc = lab_request(lab, &req);
	if (rc != LAB_REFUSED)
		return rc;
	counts->refused++;
	return LAB_OK;
}

static int finish(struct lab *lab, struct property_counts *counts)
{
	static const enum lab_end ends[] = {LAB_END_ROLLBACK, LAB_END_ROLLBACK, LAB_END_COMMIT,
					    LAB_END_WIPE};
	enum lab_end how = ends[rng_below(&lab->rng, 4)];
	bool commit = how >= LAB_END_COMMIT;
	int rc = lab_read_all(lab);

	if (!rc)
		rc = lab_read_before(lab, 0, lab->p.size);
	if (!rc)
		rc = property_detach(lab, counts);
	if (!rc)
		rc = lab_look(lab, BOWIMG_STATE_CHECKPOINT);
	if (!rc)
		rc = lab_look_at_both(lab, true);
	if (!rc)
		rc = lab_end(lab, how);
	if (!rc)
		rc = lab_check_ended(lab, commit, false);
	*(commit ? &counts->committed : &counts->rolled_back) += 1;
	return rc;
}

int property_one_checkpoint(struct lab *lab, struct property_counts *counts)
{
	uint32_t steps = rng_between(&lab->rng, 20, 400);
	int rc = lab_prepare(lab);

	if (rc == LAB_REFUSED)
		return rc;
	counts->checkpoints++;
	if (!rc)
		rc = lab_attach(lab);
	while (rc == LAB_OK && steps-- > 0)
		rc = step(lab, counts);
	return rc ? rc : finish(lab, counts);
}

/* A new checkpoint on the image as it is: what is free now, and a new UUID. */
void property_renew(struct lab *lab)
{
	uint32_t b;

	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), rng_next(&lab->rng));
	for (b = 1; b < lab->p.size / SIM_BLOCK; b++)
		if (lab->p.exact)
			lab->p.is_free[b] =
				bow_is_zero(lab->disk.cache + (size_t)b * SIM_BLOCK, SIM_BLOCK);
}

int property_case(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct rng r = {seed};
	struct lab_params p;
	uint32_t rounds = rng_between(&r, 1, 3);
	int rc = LAB_OK;

	property_params(&p, &r, 16, rng_chance(&r, 70) ? 64 : LAB_SMALL_BLOCKS - 1);
	lab_make_image(lab, &p, seed);
	lab->carry = seed % 2 ? memfd_create("carry", MFD_CLOEXEC) : 0;
	while (rc == LAB_OK && rounds-- > 0) {
		property_renew(lab);
		rc = property_one_checkpoint(lab, counts);
	}
	if (lab->carry > 0)
		close(lab->carry);
	lab->carry = 0;
	return rc == LAB_REFUSED ? LAB_OK : rc;
}

/* Every block of the disk, in random order; counts what is refused. */
static int write_everything(struct lab *lab, uint64_t *refused)
{
	uint32_t i, blocks = lab->oracle.blocks, start = rng_below(&lab->rng, blocks);
	int rc = LAB_OK;

	for (i = 0; i < blocks && rc == LAB_OK; i++) {
		uint64_t off = (uint64_t)((start + i * 7) % blocks) * SIM_BLOCK;
		struct lab_request req = {
			.kind = LAB_WRITE,
			.off = off,
			.bytes = bow_min(SIM_BLOCK, lab->p.size - off),
		};

		rc = lab_request(lab, &req);
		*refused += rc == LAB_REFUSED;
		if (rc == LAB_REFUSED)
			rc = LAB_OK;
	}
	return rc;
}

int property_full(struct lab *lab, uint64_t seed, bool tail, struct property_counts *counts)
{
	struct lab_request flush = {.kind = LAB_FLUSH};
	struct rng r = {seed};
	struct lab_params p;
	uint64_t refused = 0;
	int rc;

	/* Not a multiple of 7, or the walk would not meet every block. */
	property_params(&p, &r, 64, 68);
	p.can_grow = p.can_grow || tail;
	p.store = BOWIMG_STORE_FREE;
	p.on_full = tail ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	lab_make_image(lab, &p, seed);
	property_renew(lab);
	rc = lab_prepare(lab);
	if (rc)
		return rc == LAB_REFUSED ? LAB_OK : rc;
	rc = lab_attach(lab);
	if (!rc)
		rc = write_everything(lab, &refused);
	if (!rc)
		rc = lab_request(lab, &flush);
	if (!rc)
		rc = write_everything(lab, &refused);
	counts->refused += refused;
	if (!rc && tail && refused)
		return lab_bad(lab, "%llu writes were refused although the file may grow",
			       (unsigned long long)refused);
	if (!rc && !tail && !refused)
		return lab_bad(lab, "the whole disk was overwritten and nothing was refused");
	return rc ? rc : finish(lab, counts);
}

int property_again(struct lab *lab, uint64_t seed, struct property_counts *counts)
{
	struct rng r = {seed};
	struct lab_params p;
	uint32_t rounds = 3, steps;
	int rc;

	property_params(&p, &r, 24, 64);
	lab_make_image(lab, &p, seed);
	property_renew(lab);
	rc = lab_prepare(lab);
	if (rc == LAB_REFUSED)
		return LAB_OK;
	while (rc == LAB_OK && rounds-- > 0) {
		rc = lab_attach(lab);
		for (steps = 30; rc == LAB_OK && steps > 0; steps--)
			rc = step(lab, counts);
		if (!rc)
			rc = property_detach(lab, counts);
		if (!rc)
			rc = lab_end(lab, LAB_END_AGAIN);
		if (!rc)
			rc = lab_begin_again(lab);
	}
	if (!rc)
		rc = lab_attach(lab);
	return rc ? rc : finish(lab, counts);
}
