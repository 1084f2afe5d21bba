/* SPDX-License-Identifier: MIT */
/*
 * Rollback (rule 10).
 *
 * Happy path: check every backup - redo what a power cut took of the last record, barrier - state
 * ROLLING_BACK, barrier - restore, barrier - zero the free space (exact mode) - finish.
 *
 * Failure modes: damage is found before the first write. Killed before ROLLING_BACK is durable:
 * the checkpoint is as it was, and may even be served again. Killed later: the backups are whole
 * until the restore is past its barrier, after that the restored blocks need none; running it again
 * comes to the same end.
 */
#include <string.h>

#include "base/bytes.h"
#include "operations/dmbow.h"

/* Block 0's original, checked like every backup when the log was read. */
static int read_original0(struct bow_checkpoint *cp, uint8_t block0[BOW_BLOCK],
			  struct bowimg_error *err)
{
	int rc = bow_dev_read(cp->dev, block0, BOW_BLOCK, cp->original0_blk * BOW_BLOCK, err);

	return rc ? bow_err_wrap(err, rc, "read block 0's original") : 0;
}

static int finish(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_bitmap *none = NULL;
	const struct bow_bitmap *must_zero = cp->blocks.free;
	uint8_t block0[BOW_BLOCK];
	int rc = read_original0(cp, block0, err);

	if (!(cp->sb.flags & BOW_SUPER_EXACT)) {
		must_zero = none = bow_bitmap_new(cp->blocks.count);
		if (!none)
			rc = bow_err_errno(err, -ENOMEM, "roll back");
	}
	if (!rc)
		rc = bow_finish(cp, must_zero, block0, true, &opts->events, &report->zeroed_bytes,
				err);
	bow_bitmap_free(none);
	return rc;
}

/*
 * Prepare got no further than sector 0: nothing to restore, the rest is the same. The state comes
 * first as always: the plan of the last step makes the file longer, which a checkpoint without a
 * tail does not explain.
 */
static int undo_prepare(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
			struct bowimg_end_report *report, struct bowimg_error *err)
{
	int rc = bow_restore_check(cp, &opts->events, report, err);

	if (rc || opts->dry_run)
		return rc;
	rc = bow_checkpoint_set_state(cp, BOW_SUPER_ROLLING_BACK, err);
	return rc ? rc : finish(cp, opts, report, err);
}

static int restore(struct bow_checkpoint *cp, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	int rc = bow_restore_check(cp, &opts->events, report, err);

	report->restored_bytes = 0;
	if (opts->dry_run) {
		report->restored_bytes = cp->changed_blk * BOW_BLOCK;
		return rc;
	}
	if (!rc && cp->sb.state == BOW_SUPER_CHECKPOINT) {
		rc = bow_checkpoint_redo(cp, err);
		if (!rc)
			rc = bow_checkpoint_set_state(cp, BOW_SUPER_ROLLING_BACK, err);
	}
	if (!rc)
		rc = bow_restore_all(cp, &opts->events, report, err);
	if (!rc)
		rc = bow_dev_flush(cp->dev, err);
	return rc ? rc : finish(cp, opts, report, err);
}

/* The same free map again: the image is byte for byte what it was when the map was made. */
static int prepare_again(struct bow_dev *dev, const struct bow_checkpoint *cp,
			 const struct bow_bitmap *free_map, struct bowimg_error *err)
{
	struct bow_prepare_plan plan = {
		.free = free_map,
		.free_source = cp->sb.free_source,
		.exact = cp->sb.flags & BOW_SUPER_EXACT,
		.store = cp->sb.flags & BOW_SUPER_STORE_TAIL ? BOWIMG_STORE_TAIL
							     : BOWIMG_STORE_FREE,
		.on_full = cp->sb.flags & BOW_SUPER_ON_FULL_TAIL ? BOWIMG_ON_FULL_TAIL
								 : BOWIMG_ON_FULL_STOP,
	};
	struct bowimg_prepare_report report;
	int rc = bow_prepare_dev(dev, &plan, &report, err);

	return rc ? bow_err_wrap(err, rc, "the image was rolled back, but not prepared again") : 0;
}

static int from_log(struct bow_opened *o, const struct bowimg_end_options *opts,
		    struct bowimg_end_report *report, struct bowimg_error *err)
{
	int rc = o->state == BOWIMG_STATE_INTERRUPTED ? undo_prepare(&o->cp, opts, report, err)
						      : restore(&o->cp, opts, report, err);

	if (!rc && opts->again && !opts->dry_run)
		rc = prepare_again(o->cp.dev, &o->cp, o->cp.blocks.free, err);
	return rc;
}

static int finishing(struct bow_opened *o, const struct bowimg_end_options *opts,
		     struct bowimg_error *err)
{
	struct bow_super *sb = &o->cp.sb;

	if (!o->cut_only && !(sb->flags & BOW_SUPER_UNDOING)) {
		bow_err(err, -EINPROGRESS, "a commit is all but finished");
		bow_err_hint(err, "run 'bowimg commit' to finish it");
		return -EINPROGRESS;
	}
	if (opts->dry_run)
		return 0;
	if (opts->again) {
		bow_err(err, -EINPROGRESS, "it is all but rolled back, and its free map is gone");
		bow_err_hint(err, "finish it with 'bowimg rollback', then 'bowimg prepare' again");
		return -EINPROGRESS;
	}
	return o->cut_only ? bow_finish_cut(o->cp.dev, sb->image_size, err)
			   : bow_finish_resume(o->cp.dev, sb, err);
}

static int dispatch(struct bow_opened *o, const struct bowimg_end_options *opts,
		    struct bowimg_end_report *report, struct bowimg_error *err)
{
	switch (o->state) {
	case BOWIMG_STATE_CHECKPOINT:
	case BOWIMG_STATE_ROLLING_BACK:
	case BOWIMG_STATE_INTERRUPTED:
		return from_log(o, opts, report, err);
	case BOWIMG_STATE_FINISHING:
		return finishing(o, opts, err);
	case BOWIMG_STATE_NONE:
	case BOWIMG_STATE_COMMITTING:
		break;
	}
	return bow_wrong_state(o->state, "roll back", err);
}

int bow_rollback_dev(struct bow_dev *dev, const struct bowimg_end_options *opts,
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
		return bow_dmbow_rollback(dev, o.state, opts, report, err);
	if (!rc)
		rc = dispatch(&o, opts, report, err);
	bow_opened_release(&o);
	return rc;
}
