/* SPDX-License-Identifier: MIT */
/* The phases of a checkpoint's life, each as set-up, act, and recovery with a healthy disk. */
#include "fault.h"

#include <errno.h>
#include "lib/base/bytes.h"

#define BLOCKS 24u
#define BLOCKS_WITH_MARKS 40u /* what a mark keeps, and the reserve of its prologue */

static bool is_of_marks(enum fault_phase phase)
{
	return phase == PHASE_MARK || phase == PHASE_UNMARK || phase == PHASE_TO;
}

static void phase_params(struct lab_params *p, enum fault_phase phase, uint32_t variant)
{
	uint32_t b, blocks = is_of_marks(phase) ? BLOCKS_WITH_MARKS : BLOCKS;

	memset(p, 0, sizeof(*p));
	p->can_grow = variant != 1;
	p->size = blocks * SIM_BLOCK + (p->can_grow ? 1000 : 0);
	p->sector_size = variant == 2 ? 4096 : 512;
	p->exact = variant & 1;
	p->store = variant == 3 ? BOWIMG_STORE_TAIL : BOWIMG_STORE_FREE;
	p->on_full = p->can_grow ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	p->has_mtime = variant == 2;
	for (b = 1; b < blocks; b++)
		p->is_free[b] = b % 4 != 1;
	rng_fill(p->uuid, sizeof(p->uuid), 0xfa017 + variant);
}

/* Requests chosen by seed, and a flush in the end; stops at the first that fails. */
static int serve(struct lab *lab, uint64_t seed, uint32_t count)
{
	struct lab_request req = {.kind = LAB_FLUSH};
	int rc = LAB_OK;

	lab->rng.state = seed;
	while (count-- > 0 && (rc == LAB_OK || rc == LAB_REFUSED)) {
		lab_choose(lab, 4, &req);
		rc = lab_request(lab, &req);
	}
	if (rc != LAB_OK && rc != LAB_REFUSED)
		return rc;
	req = (struct lab_request){.kind = LAB_FLUSH};
	return lab_request(lab, &req);
}

static int prepare_and_attach(struct lab *lab)
{
	int rc = lab_prepare(lab);

	return rc ? rc : lab_attach(lab);
}

/* The power fails in the middle of serving; by `variant`, early or late. */
static int setup_crashed(struct lab *lab, uint32_t variant)
{
	struct sim_cut cut = {'r', 4 * variant + 1, false};
	int rc = prepare_and_attach(lab);

	if (rc)
		return rc;
	lab->disk.die_at = lab->disk.ops + 12 + 9 * variant;
	rc = serve(lab, 77 + variant, 25);
	if (rc == LAB_BAD)
		return rc;
	lab_kill(lab);
	sim_power_cut(&lab->disk, &lab->disk, &cut);
	return LAB_OK;
}

/* A mark, and something that changes afterwards. */
static int setup_marked(struct lab *lab, uint32_t variant)
{
	int rc = lab_mark(lab, true, false);

	if (!rc)
		rc = lab_attach(lab);
	if (!rc)
		rc = serve(lab, 111 + variant, 15);
	return rc ? rc : lab_detach(lab);
}

int phase_setup(struct lab *lab, enum fault_phase phase, uint32_t variant)
{
	struct lab_params p;
	int rc;

	phase_params(&p, phase, variant);
	lab_make_image(lab, &p, variant);
	if (phase == PHASE_PREPARE)
		return LAB_OK;
	if (phase == PHASE_ATTACH)
		return setup_crashed(lab, variant);
	rc = prepare_and_attach(lab);
	if (rc || phase == PHASE_SERVE)
		return rc;
	rc = serve(lab, 99 + variant, 20);
	if (!rc)
		rc = lab_detach(lab);
	return !rc && is_of_marks(phase) ? setup_marked(lab, variant) : rc;
}

/*
 * After a failed barrier nothing may be accepted any more, since what it should have made durable
 * is lost for good while the cache still shows it.
 */
static int check_latched(struct lab *lab)
{
	struct bowimg_counters counters;
	uint8_t sector[SIM_SECTOR] = {1};
	int rc;

	bowimg_disk_get_counters(lab->engine, &counters);
	if (!counters.failed)
		return lab_bad(lab, "a barrier failed, and the counters do not say so");
	oracle_may_become(&lab->oracle, 0, sector, sizeof(sector));
	rc = bowimg_disk_write(lab->engine, sector, sizeof(sector), 0, 0, &lab->err);
	if (rc != -EIO)
		return lab_bad(lab, "a barrier failed, and the next write returned %d", rc);
	rc = bowimg_disk_flush(lab->engine, &lab->err);
	if (rc == 0)
		return lab_bad(lab, "a barrier failed, and the next flush succeeded");
	return LAB_FAULT;
}

static int act_serve(struct lab *lab)
{
	bool barrier = lab->disk.fault.kind == SIM_FAULT_LOST_SYNC;
	int rc = serve(lab, 55, 25), rc2;

	if (barrier && rc == LAB_FAULT)
		rc = check_latched(lab);
	if (rc == LAB_BAD)
		return rc;
	rc2 = lab_detach(lab);
	return rc2 == LAB_OK ? rc : rc2;
}

int phase_act(struct lab *lab, enum fault_phase phase)
{
	struct bowimg_status st;
	int rc;

	switch (phase) {
	case PHASE_PREPARE:
		return lab_prepare(lab);
	case PHASE_SERVE:
		return act_serve(lab);
	case PHASE_ATTACH:
		rc = lab_attach(lab);
		if (!rc)
			rc = lab_settle(lab, true, false);
		return rc ? rc : lab_detach(lab);
	case PHASE_ROLLBACK:
	case PHASE_COMMIT:
		return lab_end(lab, phase == PHASE_COMMIT ? LAB_END_COMMIT : LAB_END_ROLLBACK);
	case PHASE_VERIFY:
		return lab_verify(lab);
	case PHASE_MARK:
		return lab_mark(lab, true, false);
	case PHASE_UNMARK:
		return lab_unmark(lab, 0);
	case PHASE_TO:
		return lab_to(lab, 0);
	default:
		return lab_status(lab, &st);
	}
}

static int end(struct lab *lab, bool commit)
{
	static const struct sim_cut nothing_kept = {'p', 0, false};
	int rc = lab_end(lab, commit ? LAB_END_COMMIT : LAB_END_ROLLBACK);

	if (rc)
		return rc;
	/* Only what is durable counts: a success that rests on the cache is none. */
	sim_power_cut(&lab->disk, &lab->disk, &nothing_kept);
	return lab_check_ended(lab, lab->intent == LAB_COMMIT, false);
}

/* A mark was to be made, deleted or gone back to: what the log says decides, once it is durable. */
static int decide(struct lab *lab)
{
	bool happened;
	int rc = lab_marks_happened(lab, &happened);

	if (!rc)
		rc = lab_attach(lab);
	if (!rc)
		rc = lab_marks_decide(lab, happened, false, false);
	if (!rc)
		rc = lab_settle(lab, false, false);
	if (!rc)
		rc = lab_detach(lab);
	return rc ? rc : lab_check_marks(lab);
}

static int recover_checkpoint(struct lab *lab, bool attach)
{
	int rc;

	if (lab_undecided(lab)) {
		rc = decide(lab);
		return rc ? rc : end(lab, false);
	}
	if (lab->intent != LAB_PREPARE)
		lab->intent = LAB_SERVE;
	if (attach || lab->intent == LAB_PREPARE) {
		rc = lab_attach(lab);
		if (!rc)
			rc = lab_settle(lab, false, false);
		if (!rc)
			rc = lab_detach(lab);
		if (rc)
			return rc;
	}
	return end(lab, false);
}

int phase_recover(struct lab *lab, enum fault_phase phase, bool attach)
{
	static const struct sim_cut all_kept = {'r', 0, false};
	struct bowimg_status st;
	int rc;

	/* What is read of an unfinished prepare, or mark, may be in the cache and nowhere else. */
	if ((phase == PHASE_PREPARE || is_of_marks(phase)) && lab->disk.cache_lies)
		sim_power_cut(&lab->disk, &lab->disk, &all_kept);
	rc = lab_status(lab, &st);
	if (rc)
		return rc;
	switch (st.state) {
	case BOWIMG_STATE_CHECKPOINT:
		return recover_checkpoint(lab, attach);
	case BOWIMG_STATE_NONE:
		if (phase == PHASE_PREPARE)
			return lab_check_used(lab);
		lab->oracle.window = lab->p.can_grow ? 0 : LAB_DEVICE_WINDOW;
		if (phase == PHASE_ROLLBACK || phase == PHASE_COMMIT)
			return lab_check_ended(lab, phase == PHASE_COMMIT, false);
		return lab_bad(lab, "a fault ended the checkpoint");
	case BOWIMG_STATE_INTERRUPTED:
		rc = lab_end(lab, LAB_END_ROLLBACK);
		return rc ? rc : lab_check_used(lab);
	case BOWIMG_STATE_FINISHING:
		if (phase == PHASE_PREPARE) {
			rc = lab_end(lab, LAB_END_ROLLBACK);
			return rc ? rc : lab_check_used(lab);
		}
		/* fall through */
	default:
		if (lab->intent == LAB_TO) {
			rc = lab_to_again(lab);
			return rc ? rc : end(lab, attach);
		}
		return end(lab, phase == PHASE_COMMIT);
	}
}
