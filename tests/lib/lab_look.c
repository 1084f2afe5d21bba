/* SPDX-License-Identifier: MIT */
/* What only looks: verify, and the dry runs. */
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
