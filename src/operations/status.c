/* SPDX-License-Identifier: MIT */
/* What an image is, how much of its checkpoint is used, and what can be done next. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/dmbow.h"

static const char *next_step(const struct bow_opened *o)
{
	switch (o->state) {
	case BOWIMG_STATE_NONE:
		return "'bowimg prepare' opens a checkpoint";
	case BOWIMG_STATE_CHECKPOINT:
		return o->cp.sb.flags & BOW_SUPER_ATTACHED
			       ? "in use, or left by a process that was killed: nothing is lost; "
				 "'bowimg mount' or 'attach' go on, 'rollback' or 'commit' end it"
			       : "'bowimg mount' or 'attach' use it, 'rollback' brings everything "
				 "back, "
				 "'commit' keeps the changes";
	case BOWIMG_STATE_ROLLING_BACK:
		return "run 'bowimg rollback' again to finish it; nothing is lost";
	case BOWIMG_STATE_COMMITTING:
		return "run 'bowimg commit' again to finish it; nothing is lost";
	case BOWIMG_STATE_FINISHING:
		if (o->cut_only)
			return "only bowimg's tail is left: 'bowimg rollback' or 'commit' cuts it "
			       "off";
		return o->cp.sb.flags & BOW_SUPER_UNDOING
			       ? "run 'bowimg rollback' to finish it; nothing is lost"
			       : "run 'bowimg commit' to finish it; nothing is lost";
	case BOWIMG_STATE_INTERRUPTED:
		break;
	}
	return "'bowimg rollback' puts the first sector back; nothing else was changed";
}

static void fill_super(const struct bow_super *sb, struct bowimg_status *out)
{
	bow_uuid_text(sb->uuid, out->uuid);
	snprintf(out->free_source, sizeof(out->free_source), "%s", sb->free_source);
	out->exact = sb->flags & BOW_SUPER_EXACT;
	out->attached = sb->flags & BOW_SUPER_ATTACHED;
	out->store_tail = sb->flags & BOW_SUPER_STORE_TAIL;
	out->on_full = sb->flags & BOW_SUPER_ON_FULL_TAIL ? BOWIMG_ON_FULL_TAIL
							  : BOWIMG_ON_FULL_STOP;
	out->free_total_bytes = sb->free_total_blk * BOW_BLOCK;
}

static void fill_log(struct bow_checkpoint *cp, struct bowimg_status *out)
{
	struct bow_alloc alloc;

	bow_alloc_init(&alloc, &cp->blocks, 0, 0);
	out->free_left_bytes = alloc.free_blk * BOW_BLOCK;
	out->backup_bytes = cp->backup_blk * BOW_BLOCK;
	out->changed_bytes = cp->changed_blk * BOW_BLOCK;
	out->log_bytes = cp->log_blk * BOW_BLOCK;
	out->entries = cp->entries;
}

int bow_status_dev(struct bow_dev *dev, unsigned force, struct bowimg_status *out,
		   struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, force, &o, err);

	if (!rc && o.dmbow) {
		rc = bow_dmbow_status(dev, o.state, out, err);
	} else if (!rc) {
		memset(out, 0, sizeof(*out));
		out->state = o.state;
		out->block_size = BOW_BLOCK;
		out->virtual_size = o.state == BOWIMG_STATE_NONE ? dev->size : o.cp.sb.image_size;
		out->tail_bytes = dev->size - out->virtual_size;
		if (o.state != BOWIMG_STATE_NONE)
			snprintf(out->format, sizeof(out->format), "bowimg");
		if (o.state != BOWIMG_STATE_NONE && !o.cut_only)
			fill_super(&o.cp.sb, out);
		if (o.loaded)
			fill_log(&o.cp, out);
		snprintf(out->next, sizeof(out->next), "%s", next_step(&o));
	}
	bow_opened_release(&o);
	return rc;
}
