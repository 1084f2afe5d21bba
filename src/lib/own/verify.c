/* SPDX-License-Identifier: MIT */
/* Would a rollback work now? Checks all that it would rely on, in any state that has backups. */
#include "lib/own/steps.h"

int bow_own_verify(struct bow_opened *o, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	int rc;

	/* A commit in progress has begun to zero blocks of which there are backups. */
	if (!o->loaded || o->state == BOWIMG_STATE_COMMITTING)
		return bow_own_refuse(o, "verify", err);
	/* After RESTORED no backup is needed, and some may be zeroed already. */
	if (o->cp.sb.flags & BOW_SUPER_RESTORED)
		return bow_own_refuse(o, "verify", err);
	rc = bow_restore_check(&o->cp, NULL, &opts->events, report, err);
	if (!rc)
		report->restored_bytes = o->cp.changed_blk * BOW_BLOCK;
	return rc;
}
