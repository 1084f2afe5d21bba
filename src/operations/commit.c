/* SPDX-License-Identifier: MIT */
/*
 * Commit (rule 10): what was written stays, and what was promised to read as zeros becomes zero.
 * The cost does not depend on how much was changed.
 *
 * Happy path: redo what a power cut took of the last record, barrier - state COMMITTING, barrier -
 * zero what carries a promise - finish.
 *
 * Failure modes: before COMMITTING is durable nothing was zeroed, and a rollback is still possible;
 * after it the backups are not needed, only the log (for the promises) and block 0's live copy, and
 * those go last, by the plan of finish.c.
 */
#include <string.h>

#include "base/bytes.h"
#include "operations/dmbow.h"

/* Everything that must be zero in the end; the caller frees it. */
static int collect(const struct bow_checkpoint *cp, bool wipe, struct bow_bitmap **out,
		   struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_dup(cp->blocks.zero);

	if (!map || (wipe && bow_bitmap_merge(map, cp->blocks.held))) {
		bow_bitmap_free(map);
		return bow_err_errno(err, -ENOMEM, "list what is to be zeroed");
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
			rc = bow_dev_read(cp->dev, block0, BOW_BLOCK, cp->sb.live0_blk * BOW_BLOCK,
					  err);
		if (!rc)
			rc = bow_finish(cp, must_zero, block0, false, &opts->events,
					&report->zeroed_bytes, err);
	}
	bow_bitmap_free(must_zero);
	return rc;
}

static int finishing(struct bow_opened *o, const struct bowimg_end_options *opts,
		     struct bowimg_error *err)
{
	struct bow_super *sb = &o->cp.sb;

	if (!o->cut_only && sb->flags & BOW_SUPER_UNDOING) {
		bow_err(err, -EINPROGRESS, "a rollback is all but finished");
		bow_err_hint(err, "run 'bowimg rollback' to finish it");
		return -EINPROGRESS;
	}
	if (opts->dry_run)
		return 0;
	return o->cut_only ? bow_finish_cut(o->cp.dev, sb->image_size, err)
			   : bow_finish_resume(o->cp.dev, sb, err);
}

int bow_commit_dev(struct bow_dev *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	static const struct bowimg_end_options defaults;
	struct bow_opened o;
	int rc;

	if (!opts)
		opts = &defaults;
	memset(report, 0, sizeof(*report));
	rc = bow_checkpoint_open(dev, opts->dry_run ? 0 : BOW_OPEN_TO_WRITE, opts->force, &o, err);
	report->before = o.state;
	report->exact = o.cp.sb.flags & BOW_SUPER_EXACT;
	if (!rc && o.dmbow)
		return bow_dmbow_commit(dev, o.state, opts, report, err);
	if (!rc && (o.state == BOWIMG_STATE_CHECKPOINT || o.state == BOWIMG_STATE_COMMITTING))
		rc = keep_changes(&o.cp, opts, report, err);
	else if (!rc && o.state == BOWIMG_STATE_FINISHING)
		rc = finishing(&o, opts, err);
	else if (!rc)
		rc = bow_wrong_state(o.state, "commit", err);
	bow_opened_release(&o);
	return rc;
}
