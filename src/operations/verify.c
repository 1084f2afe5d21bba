/* SPDX-License-Identifier: MIT */
/* Would a rollback work, right now? The dry half of one, for any state that has a log. */
#include <string.h>

#include "operations/dmbow.h"

int bow_verify_dev(struct bow_dev *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	static const struct bowimg_end_options defaults;
	struct bow_opened o;
	int rc;

	if (!opts)
		opts = &defaults;
	memset(report, 0, sizeof(*report));
	rc = bow_checkpoint_open(dev, 0, opts->force, &o, err);
	report->before = o.state;
	report->exact = o.cp.sb.flags & BOW_SUPER_EXACT;
	if (!rc && o.dmbow)
		return bow_dmbow_verify(dev, o.state, opts, report, err);
	if (!rc && !o.loaded)
		rc = bow_wrong_state(o.state, "verify", err);
	/* A commit in progress has begun to give its backups up. */
	if (!rc && o.state == BOWIMG_STATE_COMMITTING)
		rc = bow_wrong_state(o.state, "verify", err);
	if (!rc)
		rc = bow_restore_check(&o.cp, &opts->events, report, err);
	if (!rc)
		report->restored_bytes = o.cp.changed_blk * BOW_BLOCK;
	bow_opened_release(&o);
	return rc;
}
