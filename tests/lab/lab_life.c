/* SPDX-License-Identifier: MIT */
/* The life of a checkpoint in the laboratory: prepare, attach, detach, the two ends. */
#include "lab_device.h"

#include <errno.h>
#include "lib/base/bytes.h"
#include "lib/engine/open.h"

static struct bow_bitmap *free_map(const struct lab_params *p)
{
	uint32_t b, blocks = (uint32_t)bow_div_up(p->size, SIM_BLOCK);
	struct bow_bitmap *map = bow_bitmap_new(blocks);

	for (b = 0; map && b < blocks; b++)
		if (p->is_free[b] && bow_bitmap_set(map, b, 1)) {
			bow_bitmap_free(map);
			return NULL;
		}
	return map;
}

static void begin(struct lab *lab)
{
	oracle_start(&lab->oracle, lab->disk.cache, lab->disk.touched, lab->p.size, lab->p.is_free,
		     lab->p.exact);
	order_start(&lab->order, &lab->disk, &lab->oracle);
	lab->order.on = lab->p.durability == BOWIMG_DURABILITY_POWER;
	lab->before = lab->intent;
	lab->intent = LAB_PREPARE;
	lab->reverted = 0;
	lab->was_marked |= lab->marked;
	lab->marked = false;
	lab->unbroken = true;
}

int lab_call_prepare(struct lab *lab, bool dry_run, int *rc)
{
	struct bow_prepare_plan plan = {
		.free_source = "test",
		.exact = lab->p.exact,
		.store = lab->p.store,
		.on_full = lab->p.on_full,
		.dry_run = dry_run,
	};
	struct bowimg_prepare_report report;
	struct bow_bitmap *map = free_map(&lab->p);

	if (!map)
		return lab_faulted(lab) ? LAB_FAULT : lab_bad(lab, "no memory for the free map");
	plan.free = map;
	memcpy(plan.uuid, lab->p.uuid, sizeof(plan.uuid));
	WITH_DEVICE(lab, *rc, bow_prepare_dev(dev, &plan, &report, &lab->err));
	bow_bitmap_free(map);
	return LAB_OK;
}

int lab_prepare(struct lab *lab)
{
	int result, rc;

	begin(lab);
	lab_trace(lab, "PREPARE");
	result = lab_call_prepare(lab, false, &rc);
	if (result)
		return result;
	if (rc == -ENOSPC && !lab->disk.dead && !lab_faulted(lab))
		return lab_check_used(lab) ? LAB_BAD : LAB_REFUSED;
	rc = lab_judge(lab, rc, "prepare");
	if (!rc)
		lab->intent = LAB_SERVE;
	return rc;
}

int lab_attach(struct lab *lab)
{
	struct bowimg_open_options opts = {.durability = lab->p.durability, .carry = lab->carry};
	struct bowimg_disk *dev = sim_open(&lab->disk);
	int rc;

	lab_trace(lab, "ATTACH");
	memset(&lab->err, 0, sizeof(lab->err));
	rc = bow_serve_dev(dev, &opts, &lab->engine, &lab->err);
	if (rc) {
		lab->engine = NULL;
		bow_disk_close(dev, NULL);
	} else if (lab->intent == LAB_PREPARE) {
		lab->intent = LAB_SERVE;
	}
	return lab_judge(lab, rc, "attach");
}

static void count_given(struct lab *lab)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(lab->engine, &c);
	lab->given_blk += c.given_bytes / SIM_BLOCK;
}

int lab_detach(struct lab *lab)
{
	bowimg_disk *engine = lab->engine;
	int rc;

	lab_trace(lab, "DETACH");
	count_given(lab);
	lab->engine = NULL;
	memset(&lab->err, 0, sizeof(lab->err));
	rc = lab_judge(lab, bowimg_disk_close(engine, &lab->err), "detach");
	if (lab->disk.open)
		rc = lab_bad(lab, "detach: the device was not closed");
	lab->disk.open = false;
	if (rc == LAB_OK)
		oracle_flushed(&lab->oracle, 0, lab->p.size);
	return rc;
}

void lab_kill(struct lab *lab)
{
	if (lab->engine || lab->disk.dead)
		lab->unbroken = false;
	if (lab->engine) {
		count_given(lab);
		bow_engine_free(lab->engine);
	}
	lab->engine = NULL;
	sim_kill(&lab->disk);
}

int lab_status(struct lab *lab, struct bowimg_status *st)
{
	int rc;

	WITH_DEVICE(lab, rc, bow_status_dev(dev, 0, st, &lab->err));
	rc = lab_judge(lab, rc, "status");
	if (rc == LAB_OK)
		lab_trace(lab, "status: %s", bowimg_state_name(st->state));
	return rc;
}

int lab_verify(struct lab *lab)
{
	struct bowimg_end_options opts = {0};
	struct bowimg_end_report report;
	uint64_t ops = lab->disk.ops;
	int rc;

	lab_trace(lab, "VERIFY");
	WITH_DEVICE(lab, rc, bow_verify_dev(dev, &opts, &report, &lab->err));
	if (lab->disk.ops != ops)
		return lab_bad(lab, "verify wrote something");
	return lab_judge(lab, rc, "verify");
}

/* What the order of writes still forbids once an end was chosen. */
static void relax_order(struct lab *lab)
{
	if (lab->intent == LAB_COMMIT)
		lab->order.on = false;
	else
		lab->order.block_0_may_move = true;
}

int lab_end(struct lab *lab, enum lab_end how)
{
	static const char *const names[] = {"ROLLBACK", "ROLLBACK --again", "COMMIT",
					    "COMMIT --wipe"};
	bool commit = how >= LAB_END_COMMIT, again = how == LAB_END_AGAIN;
	bool wipe = how == LAB_END_WIPE && lab->unbroken && lab->intent == LAB_SERVE;
	struct bowimg_end_options opts = {.again = again, .wipe = how == LAB_END_WIPE};
	struct bowimg_end_report report;
	int rc;

	/* An end that was begun is finished by either command, and stays what it was. */
	if (lab->intent == LAB_SERVE)
		lab->intent = commit ? LAB_COMMIT : again ? LAB_AGAIN : LAB_ROLLBACK;
	relax_order(lab);
	lab_trace(lab, "%s", names[how]);
	if (commit)
		WITH_DEVICE(lab, rc, bow_commit_dev(dev, &opts, &report, &lab->err));
	else
		WITH_DEVICE(lab, rc, bow_rollback_dev(dev, &opts, &report, &lab->err));
	rc = lab_judge(lab, rc, commit ? "commit" : "rollback");
	if (rc || !wipe)
		return rc;
	if (!oracle_check_wiped(&lab->oracle, lab->disk.cache, lab->disk.touched))
		rc = lab_bad(lab, "%s", lab->oracle.why);
	return rc;
}

int lab_check_ended(struct lab *lab, bool commit, bool torn)
{
	struct bowimg_status st;
	const uint8_t *bytes = lab->disk.cache;
	const bool *touched = lab->disk.touched;
	uint64_t size = lab->disk.size;
	int rc = lab_status(lab, &st);

	if (rc)
		return rc;
	if (st.state != BOWIMG_STATE_NONE)
		return lab_bad(lab, "%s ended, but the state is %s", commit ? "commit" : "rollback",
			       bowimg_state_name(st.state));
	if (commit ? !oracle_check_committed(&lab->oracle, bytes, touched, size, torn)
		   : !oracle_check_rolled_back(&lab->oracle, bytes, touched, size))
		return lab_bad(lab, "%s", lab->oracle.why);
	return LAB_OK;
}

int lab_check_used(struct lab *lab)
{
	if (oracle_check_used(&lab->oracle, lab->disk.cache, lab->disk.touched))
		return LAB_OK;
	return lab_bad(lab, "%s", lab->oracle.why);
}

int lab_begin_again(struct lab *lab)
{
	struct bowimg_status st;
	int rc = lab_status(lab, &st);

	if (rc)
		return rc;
	if (st.state != BOWIMG_STATE_CHECKPOINT)
		return lab_bad(lab, "rollback --again left the state %s",
			       bowimg_state_name(st.state));
	/* Block 0 is the checkpoint's own; what the others hold is the disk as it was. */
	memset(lab->image, 0, (size_t)lab->oracle.blocks * SIM_BLOCK);
	memcpy(lab->image, lab->disk.cache, lab->p.size);
	memcpy(lab->image, lab->oracle.original, SIM_BLOCK);
	if (!oracle_check_used(&lab->oracle, lab->image, NULL))
		return lab_bad(lab, "rollback --again: %s", lab->oracle.why);
	if (lab->p.exact)
		memcpy(lab->image, lab->oracle.original, lab->p.size);
	oracle_start(&lab->oracle, lab->image, NULL, lab->p.size, lab->p.is_free, lab->p.exact);
	order_start(&lab->order, &lab->disk, &lab->oracle);
	lab->order.on = lab->p.durability == BOWIMG_DURABILITY_POWER;
	lab->intent = LAB_SERVE;
	lab->reverted = 0;
	lab->was_marked |= lab->marked;
	lab->marked = false;
	return LAB_OK;
}

static int settle_piece(struct lab *lab, uint64_t off, uint64_t bytes, bool power, bool torn)
{
	uint64_t padded = bow_div_up(bytes, SIM_SECTOR) * SIM_SECTOR;
	int rc;

	memset(lab->image + bytes, 0, padded - bytes);
	rc = bowimg_disk_read(lab->engine, lab->image, bytes, off, &lab->err);
	rc = lab_judge(lab, rc, "read after a crash");
	if (rc)
		return rc;
	if (!oracle_settle(&lab->oracle, lab->image, off, bytes, power, torn))
		return lab_bad(lab, "%s", lab->oracle.why);
	return LAB_OK;
}

int lab_settle(struct lab *lab, bool power, bool torn)
{
	uint64_t off, n;
	int rc = LAB_OK;

	for (off = 0; off < lab->p.size && !rc; off += n) {
		n = bow_min(LAB_PIECE, lab->p.size - off);
		rc = settle_piece(lab, off, n, power, torn);
	}
	return rc;
}
