/* SPDX-License-Identifier: MIT */
/*
 * Rollback (rule 10).
 *
 * Happy path: check every backup - redo the last record's copies that a power cut took, barrier -
 * state ROLLING_BACK, barrier - restore, barrier - zero the free space (exact mode) - finish.
 *
 * Failure modes: damage is found before the first write. Killed before ROLLING_BACK is durable: the
 * checkpoint is as it was, and may even be served again. Killed later: the backups are whole until
 * the restore has passed its barrier; after it, they are not needed. Running it again comes to the
 * same end.
 *
 * With marks, a part of a backup may decide, and after the restore the rest of it may be zeroed: a
 * second run could not tell that from damage. So the superblock says RESTORED, past a barrier,
 * before anything is zeroed; then nothing is checked and restored again.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"

/* Block 0's original; bow_restore_check() has compared it with its hash. */
static int read_original0(struct bow_checkpoint *cp, uint8_t block0[BOW_BLOCK],
			  struct bowimg_error *err)
{
	int rc = bow_disk_read(cp->dev, block0, BOW_BLOCK, cp->original0_blk * BOW_BLOCK, err);

	return rc ? bow_err_wrap(err, rc, "cannot read block 0's original") : 0;
}

static int finish(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_bitmap *none = NULL;
	const struct bow_bitmap *must_zero = bow_checkpoint_free0(cp);
	uint8_t block0[BOW_BLOCK];
	int rc = read_original0(cp, block0, err);

	if (!(cp->sb.flags & BOW_SUPER_EXACT)) {
		must_zero = none = bow_bitmap_new(cp->blocks.count);
		if (!none)
			rc = bow_err_errno(err, -ENOMEM, "cannot roll back");
	}
	if (!rc)
		rc = bow_finish(cp, must_zero, block0, true, &opts->events, &report->zeroed_bytes,
				err);
	bow_bitmap_free(none);
	return rc;
}

/*
 * Prepare got no further than sector 0, so there is nothing to restore. The state comes first here,
 * too: the plan of the last step makes the file longer, and a checkpoint without a tail is refused
 * if its file is longer.
 */
static int undo_prepare(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
			struct bowimg_end_report *report, struct bowimg_error *err)
{
	int rc = bow_restore_check(cp, NULL, &opts->events, report, err);

	if (rc || opts->dry_run)
		return rc;
	rc = bow_checkpoint_set_state(cp, BOW_SUPER_ROLLING_BACK, err);
	return rc ? rc : finish(cp, opts, report, err);
}

static int bring_back(struct bow_checkpoint *cp, const struct bow_restore_what *what,
		      const struct bowimg_end_options *opts, struct bowimg_end_report *report,
		      struct bowimg_error *err)
{
	int rc = 0;

	if (cp->sb.state == BOW_SUPER_CHECKPOINT) {
		rc = bow_checkpoint_redo(cp, err);
		if (!rc)
			rc = bow_checkpoint_set_state(cp, BOW_SUPER_ROLLING_BACK, err);
	}
	if (!rc)
		rc = bow_restore_all(cp, what, &opts->events, report, err);
	if (!rc)
		rc = bow_disk_flush(cp->dev, err);
	return rc ? rc : bow_own_set_restored(cp, err);
}

static int restore(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	const struct bow_restore_what what = {0, bow_checkpoint_free0(cp)};
	bool restored = cp->sb.flags & BOW_SUPER_RESTORED;
	int rc = restored ? 0 : bow_restore_check(cp, &what, &opts->events, report, err);

	report->restored_bytes = 0;
	if (opts->dry_run) {
		report->restored_bytes = cp->changed_blk * BOW_BLOCK;
		if (cp->sb.flags & BOW_SUPER_EXACT)
			report->zeroed_bytes =
				bow_bitmap_count(bow_checkpoint_free0(cp)) * BOW_BLOCK;
		return rc;
	}
	if (!rc && !restored)
		rc = bring_back(cp, &what, opts, report, err);
	/* As status and a dry run count: with block 0, which the last step brings back. */
	report->restored_bytes = cp->changed_blk * BOW_BLOCK;
	return rc ? rc : finish(cp, opts, report, err);
}

/* Only the rollback that was begun may go on. */
static int go_back(struct bow_opened *o, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	bool begun = o->state == BOWIMG_STATE_ROLLING_BACK;

	if (begun && !opts->to != !o->cp.sb.target)
		return bow_own_refuse(o, "roll back", err);
	return opts->to ? bow_own_revert(o, opts, report, err) : restore(&o->cp, opts, report, err);
}

static int undo(struct bow_opened *o, const struct bowimg_end_options *opts,
		struct bowimg_end_report *report, struct bowimg_error *err)
{
	if (opts->to)
		return bow_own_refuse(o, "return to a mark of", err);
	return o->state == BOWIMG_STATE_INTERRUPTED ? undo_prepare(&o->cp, opts, report, err)
						    : bow_finish_again(o, true, opts, err);
}

int bow_own_rollback(struct bow_opened *o, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err)
{
	switch (o->state) {
	case BOWIMG_STATE_CHECKPOINT:
	case BOWIMG_STATE_ROLLING_BACK:
		return go_back(o, opts, report, err);
	case BOWIMG_STATE_INTERRUPTED:
	case BOWIMG_STATE_FINISHING:
		return undo(o, opts, report, err);
	case BOWIMG_STATE_NONE:
	case BOWIMG_STATE_COMMITTING:
		break;
	}
	return bow_own_refuse(o, "roll back", err);
}
