/* SPDX-License-Identifier: MIT */
/*
 * Adds to the log of an image that no process serves: for marks.
 *
 * Happy path: the superblock says that the image is in use, barrier - a new segment if the newest
 * is full, barrier, superblock, barrier - the record, barrier - the clean end is noted. A crash on
 * the way leaves an image that looks as after a killed server, with or without the record.
 */
#include "lib/base/bytes.h"
#include "lib/own/marks/append.h"

int bow_append_init(struct bow_append *a, struct bow_checkpoint *cp, struct bowimg_error *err)
{
	a->cp = cp;
	bow_alloc_init(&a->alloc, &cp->blocks, cp->tail_next, cp->dev->size / BOW_BLOCK);
	if (bow_log_init(&a->log, cp->dev, &cp->sb, cp->newest.sector_size) ||
	    bow_alloc_find_gaps(&a->alloc, cp->tail))
		return bow_err_errno(err, -ENOMEM, "cannot add to the log");
	a->log.newest = cp->newest;
	a->log.pos = cp->next_pos;
	a->log.next_seq = cp->next_seq;
	return 0;
}

void bow_append_release(struct bow_append *a)
{
	bow_log_release(&a->log);
	bow_alloc_release(&a->alloc);
}

/* What must stay free on a device for the plan of the last step: see the engine's reserve. */
static uint64_t plan_blk(const struct bow_checkpoint *cp)
{
	uint64_t runs =
		cp->log_blk + bow_div_up(cp->blocks.count, BOW_MAP_LEAF_BLK) + 2 + cp->n_epochs;

	return cp->dev->can_grow ? 0 : bow_finish_plan_blk(runs, false);
}

/* Rule 14, as if the mark were made already. */
static uint64_t reserve_blk(const struct bow_checkpoint *cp)
{
	struct bow_super marked = cp->sb;

	marked.incompat |= BOW_INCOMPAT_MARKS;
	return 3 + plan_blk(cp) + bow_mark_reserve(&marked, cp->segments + cp->n_epochs);
}

/* Make the file longer by n blocks. */
static int grow(struct bow_append *a, uint64_t n, struct bowimg_error *err)
{
	struct bowimg_disk *dev = a->cp->dev;
	int rc = bow_finish_reserve(dev, n * BOW_BLOCK, err);

	if (!rc)
		rc = bow_disk_resize(dev, (a->alloc.tail_end + n) * BOW_BLOCK, err);
	/* The new size is durable before anything can name a block beyond the old one. */
	if (!rc)
		rc = bow_disk_flush(dev, err);
	if (!rc)
		a->alloc.tail_end += n;
	return rc;
}

int bow_append_place(struct bow_append *a, bool reserved, uint64_t *blk, struct bowimg_error *err)
{
	const uint32_t flags = a->cp->sb.flags;
	uint64_t keep = reserved ? 0 : reserve_blk(a->cp), left;
	int rc = 0;

	if (!(flags & BOW_SUPER_STORE_TAIL) && a->alloc.free_blk > keep &&
	    bow_alloc_free_run(&a->alloc, 1, 1, blk))
		return 0;
	if (!(flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL))) {
		bow_err(err, -ENOSPC, "there is no room for it in the free space");
		bow_err_hint(err, "everything up to here can still be rolled back or committed");
		return -ENOSPC;
	}
	left = bow_alloc_tail_left(&a->alloc);
	if (left <= keep)
		rc = grow(a, keep + 1 - left, err);
	if (!rc && !bow_alloc_tail_run(&a->alloc, 1, 1, blk))
		rc = bow_err_errno(err, -ENOMEM, "cannot add to the log");
	return rc;
}

int bow_append_begin(struct bow_append *a, uint32_t incompat, struct bowimg_error *err)
{
	struct bow_super *sb = &a->cp->sb;
	bool was_clean = !(sb->flags & BOW_SUPER_ATTACHED);

	sb->flags |= BOW_SUPER_ATTACHED;
	sb->incompat |= incompat;
	return bow_super_leave_clean(a->cp->dev, sb, was_clean, err);
}

/* Rule 5. */
static int switch_segment(struct bow_append *a, struct bowimg_error *err)
{
	uint64_t blk;
	int rc = bow_append_place(a, true, &blk, err);

	if (!rc)
		rc = bow_log_write_segment(&a->log, blk, 1, err);
	if (!rc)
		rc = bow_disk_flush(a->cp->dev, err);
	if (rc)
		return rc;
	bow_log_use_segment(&a->log, blk, 1);
	rc = bow_super_write(a->cp->dev, &a->cp->sb, err);
	return rc ? rc : bow_disk_flush(a->cp->dev, err);
}

int bow_append_record(struct bow_append *a, const struct bow_entry *e, uint32_t n,
		      struct bowimg_error *err)
{
	int rc = bow_log_room(&a->log) < n ? switch_segment(a, err) : 0;

	if (!rc)
		rc = bow_log_append(&a->log, e, n, err);
	if (!rc)
		rc = bow_disk_flush(a->cp->dev, err);
	if (!rc)
		bow_log_settle(&a->log);
	return rc;
}

int bow_append_end(struct bow_append *a, int rc, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = a->cp;
	int rc_clean;

	/* Without room nothing was logged. After another error the disk's state is not known. */
	if (rc && rc != -ENOSPC && rc != -EDQUOT && rc != -EFBIG)
		return rc;
	rc_clean =
		bow_checkpoint_mark_clean(cp->dev, &cp->sb, a->log.next_seq - 1, rc ? NULL : err);
	return rc ? rc : rc_clean;
}
