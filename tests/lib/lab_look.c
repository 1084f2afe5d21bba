/* SPDX-License-Identifier: MIT */
/* What only looks: verify, the dry runs, and the disk as it was. */
#include "lab_device.h"

#include <errno.h>

enum look { LOOK_VERIFY, LOOK_ROLLBACK, LOOK_COMMIT, LOOK_PREPARE, LOOKS };

#define BIT(state) (1u << (state))

/* Where it must be possible; FINISHING is the one end's or the other's, and so left out. */
static const unsigned possible[LOOKS] = {
	[LOOK_VERIFY] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_ROLLING_BACK) |
			BIT(BOWIMG_STATE_INTERRUPTED),
	[LOOK_ROLLBACK] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_ROLLING_BACK) |
			  BIT(BOWIMG_STATE_INTERRUPTED),
	[LOOK_COMMIT] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_COMMITTING),
	[LOOK_PREPARE] = BIT(BOWIMG_STATE_NONE),
};

static int look_once(struct lab *lab, enum look what, enum bowimg_state state)
{
	static const char *const names[LOOKS] = {"verify", "rollback -n", "commit -n",
						 "prepare -n"};
	struct bowimg_end_options opts = {.dry_run = true};
	struct bowimg_end_report report;
	bool may, finishing = state == BOWIMG_STATE_FINISHING;
	int rc;

	if (what == LOOK_VERIFY)
		WITH_DEVICE(lab, rc, bow_verify_dev(dev, &opts, &report, &lab->err));
	else if (what == LOOK_ROLLBACK)
		WITH_DEVICE(lab, rc, bow_rollback_dev(dev, &opts, &report, &lab->err));
	else if (what == LOOK_COMMIT)
		WITH_DEVICE(lab, rc, bow_commit_dev(dev, &opts, &report, &lab->err));
	else if (lab_call_prepare(lab, true, &rc))
		return LAB_BAD;
	may = possible[what] & BIT(state);
	if (what == LOOK_PREPARE && rc == -ENOSPC)
		return LAB_OK;
	if (may || !rc)
		return may || finishing ? lab_judge(lab, rc, names[what])
					: lab_bad(lab, "%s: works in the state %s", names[what],
						  bowimg_state_name(state));
	if (rc != -EINPROGRESS && rc != -EALREADY && rc != -ENODATA)
		return lab_bad(lab, "%s: error %d in the state %s", names[what], rc,
			       bowimg_state_name(state));
	return LAB_OK;
}

/* ---- both sides -------------------------------------------------------------------------------
 */

int lab_check_before(struct lab *lab, uint64_t off, const uint8_t *bytes, uint64_t count)
{
	uint64_t bad = oracle_wrong_before(&lab->oracle, off, bytes, count);

	if (bad == off + count)
		return LAB_OK;
	return lab_bad(lab, "before: byte %llu is wrong (block %llu, %s)", (unsigned long long)bad,
		       (unsigned long long)(bad / SIM_BLOCK),
		       lab->oracle.is_free[bad / SIM_BLOCK] ? "free" : "in use");
}

/* What bowimg_look_changes() told, held against what both sides read. */
struct told {
	struct lab *lab;
	const uint8_t *now;
	uint64_t reached; /* everything below was told of, or is the same */
};

/* Blocks that nothing was told of: used ones are what they were. */
static int check_same(struct told *t, uint64_t end)
{
	struct lab *lab = t->lab;

	for (; t->reached < end; t->reached++)
		if (!lab->oracle.is_free[t->reached / SIM_BLOCK] &&
		    t->now[t->reached] != lab->oracle.original[t->reached])
			return lab_bad(lab, "changes: byte %llu changed, and nobody told",
				       (unsigned long long)t->reached);
	return LAB_OK;
}

static int check_change(void *ctx, const struct bowimg_change *c)
{
	struct told *t = ctx;
	struct lab *lab = t->lab;
	uint64_t end = c->off + c->bytes;

	if (!c->bytes || c->off < t->reached || end > lab->p.size || c->off % SIM_BLOCK)
		return lab_bad(lab, "changes: a run out of order");
	if (check_same(t, c->off))
		return LAB_BAD;
	for (; t->reached < end; t->reached++) {
		if (lab->oracle.is_free[t->reached / SIM_BLOCK] != c->was_free)
			return lab_bad(lab, "changes: free or not, that is wrong");
		if ((c->zero_now && t->now[t->reached]) ||
		    (c->was_zero && lab->oracle.original[t->reached]))
			return lab_bad(lab, "changes: said to be zeros, and is not");
	}
	return LAB_OK;
}

static int check_sides(struct lab *lab, bowimg_look *look, bool settled)
{
	struct told t = {.lab = lab, .now = lab->image};
	int rc = lab_judge(
		lab, bowimg_look_read(look, BOWIMG_BEFORE, lab->image, lab->p.size, 0, &lab->err),
		"read what was before");

	if (!rc)
		rc = lab_check_before(lab, 0, lab->image, lab->p.size);
	if (!rc)
		rc = lab_judge(lab,
			       bowimg_look_read(look, BOWIMG_NOW, lab->image, lab->p.size, 0,
						&lab->err),
			       "read what is now");
	if (!rc && settled && !oracle_check_read(&lab->oracle, 0, lab->image, lab->p.size))
		rc = lab_bad(lab, "look: %s", lab->oracle.why);
	if (!rc)
		rc = bowimg_look_changes(look, check_change, &t, &lab->err);
	return rc ? rc : check_same(&t, lab->p.size);
}

int lab_look_at_both(struct lab *lab, bool settled)
{
	struct bow_dev *dev = sim_open(&lab->disk);
	bowimg_look *look = NULL;
	uint64_t ops = lab->disk.ops;
	int rc;

	memset(&lab->err, 0, sizeof(lab->err));
	rc = lab_judge(lab, bow_look_open_dev(dev, 0, &look, &lab->err), "look");
	if (!rc)
		rc = check_sides(lab, look, settled);
	if (look)
		bowimg_look_close(look, NULL);
	else
		bow_dev_close(dev, NULL);
	if (!rc && lab->disk.ops != ops)
		return lab_bad(lab, "looking wrote something");
	return rc;
}

int lab_look(struct lab *lab, enum bowimg_state state)
{
	uint64_t ops = lab->disk.ops;
	int what, rc = LAB_OK;

	for (what = 0; what < LOOKS && !rc; what++)
		rc = look_once(lab, (enum look)what, state);
	if (!rc && lab->disk.ops != ops)
		return lab_bad(lab, "a dry run wrote something");
	return rc;
}
