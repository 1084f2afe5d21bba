/* SPDX-License-Identifier: MIT */
/*
 * Back to a mark: the disk is as it was, and the checkpoint stays open.
 *
 * Happy path: check the backups that decide what the disk was at the mark - redo, barrier - make
 * the file as long as the prologue needs it, barrier - state ROLLING_BACK with the mark as its
 * target, barrier - restore, and block 0's copy of the mark onto the live one, barrier - RESTORED,
 * barrier - the prologue (prologue.c), barrier - state CHECKPOINT, the log ends with the prologue,
 * barrier - a tail that is not needed is cut - the clean end.
 *
 * Failure modes: damage, and a lack of room, are found before the first write. Killed before
 * ROLLING_BACK is durable: the checkpoint is as it was. Killed before RESTORED: the backups are
 * whole, and the restore starts again. From RESTORED on no backup since the mark is needed, and the
 * prologue may lie on them; the log since the mark is whole until the superblock leaves it, so a
 * second run finds the same prologue and writes it into the same places.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/marks/prologue.h"
#include "lib/own/steps.h"

struct revert {
	struct bow_checkpoint *cp;
	uint32_t epoch; /* that the mark began */
	struct bow_new_prologue prologue;
	uint64_t end_blk; /* how long the file must be for the prologue */
};

static int restore_block0(const struct revert *r, struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = r->cp;
	uint8_t block[BOW_BLOCK];
	int rc = bow_disk_read(cp->dev, block, BOW_BLOCK,
			       cp->epochs[r->epoch].block0_blk * BOW_BLOCK, err);

	return rc ? rc
		  : bow_disk_write(cp->dev, block, BOW_BLOCK, cp->sb.live0_blk * BOW_BLOCK, err);
}

/* [I5, I6] The caller has checked the backups. */
static int restore(struct revert *r, const struct bow_restore_what *what,
		   const struct bowimg_end_options *opts, struct bowimg_end_report *report,
		   struct bowimg_error *err)
{
	struct bow_checkpoint *cp = r->cp;
	int rc = bow_restore_all(cp, what, &opts->events, report, err);

	if (!rc)
		rc = restore_block0(r, err);
	if (!rc)
		rc = bow_disk_flush(cp->dev, err);
	return rc ? rc : bow_own_set_restored(cp, err);
}

static int grow(const struct revert *r, struct bowimg_error *err)
{
	struct bowimg_disk *dev = r->cp->dev;
	uint64_t size = bow_disk_size(dev), end = r->end_blk * BOW_BLOCK;
	int rc = 0;

	if (r->end_blk <= r->cp->blocks.count || end <= size)
		return 0;
	rc = bow_finish_reserve(dev, end - size, err);
	if (!rc)
		rc = bow_disk_resize(dev, end, err);
	return rc ? rc : bow_disk_flush(dev, err);
}

/*
 * The log that the superblock names now is the one up to the mark, and the prologue. What was
 * reserved past the file's end is lost when it is cut, so as much of the tail stays: for the last
 * step, and for the next return.
 */
static int cut_tail(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	uint64_t end;
	int rc = bow_checkpoint_reload(cp, err);

	if (rc)
		return rc;
	end = (cp->tail_next + bow_finish_reserve_blk() +
	       bow_mark_reserve(&cp->sb, cp->segments + cp->n_epochs)) *
	      BOW_BLOCK;
	if (bow_disk_size(cp->dev) <= end)
		return 0;
	rc = bow_disk_resize(cp->dev, end, err);
	return rc ? rc : bow_disk_flush(cp->dev, err);
}

static int go_on(struct revert *r, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = r->cp;
	uint64_t last_seq = 0;
	int rc = bow_prologue_write(&r->prologue, &cp->sb, &last_seq, err);

	if (!rc)
		rc = bow_disk_flush(cp->dev, err);
	if (rc)
		return rc;
	cp->sb.flags = (cp->sb.flags & ~BOW_SUPER_RESTORED) | BOW_SUPER_ATTACHED;
	cp->sb.target = 0;
	rc = bow_checkpoint_set_state(cp, BOW_SUPER_CHECKPOINT, err);
	if (!rc)
		rc = cut_tail(cp, err);
	return rc ? rc : bow_checkpoint_mark_clean(cp->dev, &cp->sb, last_seq, err);
}

/* A full host is found here, while the checkpoint is as it was. A second run has the room. */
static int begin(struct revert *r, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = r->cp;
	int rc;

	if (cp->sb.state != BOW_SUPER_CHECKPOINT)
		return 0;
	rc = grow(r, err);
	if (rc)
		return rc;
	cp->sb.target = cp->epochs[r->epoch].mark_seq;
	return bow_checkpoint_set_state(cp, BOW_SUPER_ROLLING_BACK, err);
}

static int revert(struct revert *r, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = r->cp;
	const struct bow_restore_what what = {r->epoch, r->prologue.then.blocks.free};
	bool restored = cp->sb.flags & BOW_SUPER_RESTORED;
	int rc = restored ? 0 : bow_restore_check(cp, &what, &opts->events, report, err);

	report->restored_bytes = 0;
	if (!rc && opts->dry_run)
		return bow_restore_count(cp, &what, report, err);
	if (!rc)
		rc = begin(r, err);
	if (!rc && !restored)
		rc = restore(r, &what, opts, report, err);
	return rc ? rc : go_on(r, err);
}

/* Where the last record was not whole, its copies are made again before anything is planned. */
static int redo(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	int rc;

	if (cp->sb.state != BOW_SUPER_CHECKPOINT || !cp->redos)
		return 0;
	rc = bow_checkpoint_redo(cp, err);
	return rc ? rc : bow_checkpoint_reload(cp, err);
}

static int find(struct revert *r, const struct bow_opened *o, const char *name,
		struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = r->cp;
	int rc = bow_epoch_find(cp, name, &r->epoch, err);

	if (rc || cp->sb.state == BOW_SUPER_CHECKPOINT ||
	    cp->epochs[r->epoch].mark_seq == cp->sb.target)
		return rc;
	return bow_own_refuse(o, "return to another mark of", err);
}

int bow_own_revert(struct bow_opened *o, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct revert r = {.cp = &o->cp};
	int rc = opts->dry_run ? 0 : redo(r.cp, err);

	if (!rc)
		rc = find(&r, o, opts->to, err);
	if (rc)
		return rc;
	rc = bow_prologue_collect(&r.prologue, r.cp, r.epoch, err);
	if (!rc)
		rc = bow_prologue_plan(&r.prologue, &r.end_blk, err);
	if (!rc)
		rc = revert(&r, opts, report, err);
	bow_prologue_release(&r.prologue);
	return rc;
}
