/* SPDX-License-Identifier: MIT */
/* What only looks: verify, the dry runs, and the disk as it was. */
#include "lab_device.h"
#include "disk_before.h"

#include <errno.h>
#include "lib/base/bytes.h"

enum look { LOOK_VERIFY, LOOK_ROLLBACK, LOOK_COMMIT, LOOK_PREPARE, LOOK_TO, LOOKS };

#define BIT(state) (1u << (state))

/* Where it must be possible; FINISHING is the one end's or the other's, and so left out. */
static const unsigned possible[LOOKS] = {
	[LOOK_VERIFY] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_ROLLING_BACK) |
			BIT(BOWIMG_STATE_INTERRUPTED),
	[LOOK_ROLLBACK] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_ROLLING_BACK) |
			  BIT(BOWIMG_STATE_INTERRUPTED),
	[LOOK_COMMIT] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_COMMITTING),
	[LOOK_PREPARE] = BIT(BOWIMG_STATE_NONE),
	[LOOK_TO] = BIT(BOWIMG_STATE_CHECKPOINT),
};

/* To the newest mark; or the one that was begun, beside which nothing else may follow. */
static const char *mark_of(const struct lab *lab, bool going_back)
{
	const struct oracle *o = &lab->oracle;

	return going_back ? lab->subject : o->marks ? o->mark[o->marks - 1]->name : "nobody";
}

static bool may_be(const struct lab *lab, enum look what, enum bowimg_state state, bool going_back)
{
	if (going_back)
		return what == LOOK_TO || what == LOOK_VERIFY;
	if (what == LOOK_TO && !lab->oracle.marks)
		return false;
	return possible[what] & BIT(state);
}

static int look_once(struct lab *lab, enum look what, enum bowimg_state state)
{
	static const char *const names[LOOKS] = {"verify", "rollback -n", "commit -n", "prepare -n",
						 "rollback -n --to"};
	bool going_back = lab->intent == LAB_TO && state == BOWIMG_STATE_ROLLING_BACK;
	struct bowimg_end_options opts = {.dry_run = true};
	struct bowimg_end_report report;
	bool may, finishing = state == BOWIMG_STATE_FINISHING;
	int rc;

	/* Which marks there are is not known then. */
	if (what == LOOK_TO && (lab->intent == LAB_AGAIN || (lab_undecided(lab) && !going_back)))
		return LAB_OK;
	if (what == LOOK_TO)
		opts.to = mark_of(lab, going_back);
	if (what == LOOK_VERIFY)
		WITH_DEVICE(lab, rc, bow_verify_dev(dev, &opts, &report, &lab->err));
	else if (what == LOOK_ROLLBACK || what == LOOK_TO)
		WITH_DEVICE(lab, rc, bow_rollback_dev(dev, &opts, &report, &lab->err));
	else if (what == LOOK_COMMIT)
		WITH_DEVICE(lab, rc, bow_commit_dev(dev, &opts, &report, &lab->err));
	else if (lab_call_prepare(lab, true, &rc))
		return LAB_BAD;
	may = may_be(lab, what, state, going_back);
	/* With marks, once everything is restored, nothing is left to verify. */
	if (what == LOOK_VERIFY && state == BOWIMG_STATE_ROLLING_BACK &&
	    (lab->marked || lab->was_marked) && rc == -EINPROGRESS)
		return LAB_OK;
	if (what == LOOK_PREPARE && rc == -ENOSPC)
		return LAB_OK;
	if (may || !rc)
		return may || (finishing && what != LOOK_TO)
			       ? lab_judge(lab, rc, names[what])
			       : lab_bad(lab, "%s: works in the state %s", names[what],
					 bowimg_state_name(state));
	if (rc != -EINPROGRESS && rc != -EALREADY && rc != -ENODATA)
		return lab_bad(lab, "%s: error %d in the state %s", names[what], rc,
			       bowimg_state_name(state));
	return LAB_OK;
}

/* ---- both sides ------------------------------------------------------------------ */

int lab_check_before(struct lab *lab, uint64_t off, const uint8_t *bytes, uint64_t count)
{
	uint64_t bad = oracle_wrong_before(&lab->oracle, off, bytes, count);

	if (bad == off + count)
		return LAB_OK;
	return lab_bad(lab, "before: byte %llu is wrong (block %llu, %s)", (unsigned long long)bad,
		       (unsigned long long)(bad / SIM_BLOCK),
		       lab->oracle.is_free[bad / SIM_BLOCK] ? "free" : "in use");
}

/* What bowimg_disk_changes() told, held against what both sides read. */
struct told {
	struct lab *lab;
	const uint8_t *now;
	uint64_t reached; /* everything below was told of, or is the same */
};

/* Bytes up to the end of the block, or to `end`. */
static uint64_t left_of(const struct told *t, uint64_t end)
{
	return bow_min(SIM_BLOCK - t->reached % SIM_BLOCK, end - t->reached);
}

/* Blocks that nothing was told of: used ones are what they were. */
static int check_same(struct told *t, uint64_t end)
{
	struct lab *lab = t->lab;

	for (; t->reached < end; t->reached += left_of(t, end))
		if (!lab->oracle.is_free[t->reached / SIM_BLOCK] &&
		    memcmp(t->now + t->reached, lab->oracle.original + t->reached, left_of(t, end)))
			return lab_bad(lab, "changes: block %llu changed, and nobody told",
				       (unsigned long long)(t->reached / SIM_BLOCK));
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
	for (; t->reached < end; t->reached += left_of(t, end)) {
		uint64_t n = left_of(t, end);

		if (lab->oracle.is_free[t->reached / SIM_BLOCK] != c->was_free)
			return lab_bad(lab, "changes: free or not, that is wrong");
		if ((c->zero_now && !bow_is_zero(t->now + t->reached, n)) ||
		    (c->was_zero && !bow_is_zero(lab->oracle.original + t->reached, n)))
			return lab_bad(lab, "changes: said to be zeros, and is not");
	}
	return LAB_OK;
}

static int check_sides(struct lab *lab, bowimg_disk *look, bool settled)
{
	struct told t = {.lab = lab, .now = lab->image};
	int rc = lab_judge(lab, disk_read_before(look, lab->image, lab->p.size, 0, &lab->err),
			   "read what was before");

	if (!rc)
		rc = lab_check_before(lab, 0, lab->image, lab->p.size);
	if (!rc)
		rc = lab_judge(lab, bowimg_disk_read(look, lab->image, lab->p.size, 0, &lab->err),
			       "read what is now");
	if (!rc && settled && !oracle_check_read(&lab->oracle, 0, lab->image, lab->p.size))
		rc = lab_bad(lab, "look: %s", lab->oracle.why);
	if (!rc)
		rc = bowimg_disk_changes(look, check_change, &t, &lab->err);
	return rc ? rc : check_same(&t, lab->p.size);
}

int lab_look_at_both(struct lab *lab, bool settled)
{
	struct bowimg_disk *dev = sim_open(&lab->disk);
	bowimg_disk *look = NULL;
	uint64_t ops = lab->disk.ops;
	int rc;

	memset(&lab->err, 0, sizeof(lab->err));
	rc = lab_judge(lab, bow_view_open(dev, 0, &look, &lab->err), "look");
	if (!rc)
		rc = check_sides(lab, look, settled);
	if (look)
		bowimg_disk_close(look, NULL);
	else
		bow_disk_close(dev, NULL);
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
