/* SPDX-License-Identifier: MIT */
/*
 * Commit (rule 10): what was written stays, and what reads as zeros (pending) becomes zero.
 * The cost does not depend on how much was changed.
 *
 * Happy path: redo the last record's copies that a power cut took, barrier - state COMMITTING,
 * barrier - zero the blocks of pending zeros - finish.
 *
 * Failure modes: before COMMITTING is durable, nothing was zeroed, and a rollback is still
 * possible. After it, no backup is needed, only the log (for the pending zeros) and block 0's live
 * copy, and those go last, by the plan of finish.c.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"

/* Everything that must be zero in the end; the caller frees it. */
static int collect(const struct bow_checkpoint *cp, bool wipe, struct bow_bitmap **out,
		   struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_dup(cp->blocks.zero_pending);

	if (!map || (wipe && bow_bitmap_merge(map, cp->blocks.held))) {
		bow_bitmap_free(map);
		return bow_err_errno(err, -ENOMEM, "cannot list the blocks to zero");
	}
	*out = map;
	return 0;
}

static int begin(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	int rc;

	if (cp->sb.state != BOW_SUPER_CHECKPOINT)
		return 0;
	rc = bow_checkpoint_redo(cp, err);
	return rc ? rc : bow_checkpoint_set_state(cp, BOW_SUPER_COMMITTING, err);
}

static int keep_changes(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
			struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_bitmap *must_zero = NULL;
	uint8_t block0[BOW_BLOCK];
	int rc = collect(cp, opts->wipe, &must_zero, err);

	if (rc)
		return rc;
	report->entries = cp->entries;
	if (opts->dry_run) {
		report->zeroed_bytes = bow_bitmap_count(must_zero) * BOW_BLOCK;
	} else {
		rc = begin(cp, err);
		if (!rc)
			rc = bow_disk_read(cp->dev, block0, BOW_BLOCK, cp->sb.live0_blk * BOW_BLOCK,
					   err);
		if (!rc)
			rc = bow_finish(cp, must_zero, block0, false, &opts->events,
					&report->zeroed_bytes, err);
	}
	bow_bitmap_free(must_zero);
	return rc;
}

int bow_own_commit(struct bow_opened *o, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	switch (o->state) {
	case BOWIMG_STATE_CHECKPOINT:
	case BOWIMG_STATE_COMMITTING:
		return keep_changes(&o->cp, opts, report, err);
	case BOWIMG_STATE_FINISHING:
		return bow_finish_again(o, false, opts, err);
	case BOWIMG_STATE_NONE:
	case BOWIMG_STATE_ROLLING_BACK:
	case BOWIMG_STATE_INTERRUPTED:
		break;
	}
	return bow_own_refuse(o, "commit", err);
}
