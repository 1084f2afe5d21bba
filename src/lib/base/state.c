/* SPDX-License-Identifier: MIT */
/* The states of an image, in words. */
#include "lib/base/state.h"

const char *bowimg_state_name(enum bowimg_state state)
{
	static const char *const names[] = {"none",	  "checkpoint", "rolling-back",
					    "committing", "finishing",	"interrupted"};

	return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

int bow_wrong_state(enum bowimg_state state, const char *verb, struct bowimg_error *err)
{
	switch (state) {
	case BOWIMG_STATE_NONE:
		bow_err(err, -ENODATA, "there is nothing to %s: no checkpoint is open", verb);
		bow_err_hint(err, "it is an ordinary image; 'bowimg prepare' opens a checkpoint");
		return -ENODATA;
	case BOWIMG_STATE_CHECKPOINT:
		bow_err(err, -EALREADY, "a checkpoint is open already");
		bow_err_hint(err, "end it first with 'bowimg rollback' or 'bowimg commit'");
		return -EALREADY;
	case BOWIMG_STATE_ROLLING_BACK:
		bow_err(err, -EINPROGRESS, "a rollback was interrupted");
		bow_err_hint(err, "nothing is lost; run 'bowimg rollback' again to finish it");
		return -EINPROGRESS;
	case BOWIMG_STATE_COMMITTING:
		bow_err(err, -EINPROGRESS, "a commit was interrupted");
		bow_err_hint(err, "nothing is lost; run 'bowimg commit' again to finish it");
		return -EINPROGRESS;
	case BOWIMG_STATE_FINISHING:
		bow_err(err, -EINPROGRESS, "the last step was interrupted");
		bow_err_hint(err, "nothing is lost; 'bowimg status' says which command ends it");
		return -EINPROGRESS;
	case BOWIMG_STATE_INTERRUPTED:
		break;
	}
	bow_err(err, -EINPROGRESS, "'bowimg prepare' was interrupted");
	bow_err_hint(err, "nothing is lost; 'bowimg rollback' puts the first sector back");
	return -EINPROGRESS;
}
