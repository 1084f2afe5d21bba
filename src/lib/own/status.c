/* SPDX-License-Identifier: MIT */
/* Status: the state of an image, how much of its checkpoint is used, what can be done next. */
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"

static const char *next_step(const struct bow_opened *o)
{
	switch (o->state) {
	case BOWIMG_STATE_NONE:
		return "'bowimg prepare' opens a checkpoint";
	case BOWIMG_STATE_CHECKPOINT:
		return o->cp.sb.flags & BOW_SUPER_ATTACHED
			       ? "left by a process that was killed: nothing is lost; "
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
	out->prepared_at = sb->prepared_at;
}

/* Free blocks that are taken are LIVE. */
static uint64_t live_blk(const struct bow_blocks *b)
{
	uint64_t s = 0, n, live = 0;

	for (; bow_bitmap_next_run(b->taken, &s, &n, b->count); s += n)
		live += bow_bitmap_count_range(b->free, s, n);
	return live;
}

/* LIVE blocks that can be given back: a process that was killed, or serves it now, took them. */
static uint64_t unwritten_blk(const struct bow_checkpoint *cp)
{
	uint64_t s = 0, n, unwritten = 0;

	for (; bow_unwritten_next(cp->dev, &cp->sb, &cp->blocks, &s, &n); s += n)
		unwritten += n;
	return unwritten;
}

static void fill_log(struct bow_checkpoint *cp, struct bowimg_status *out)
{
	uint64_t unwritten = unwritten_blk(cp);
	struct bow_alloc alloc;

	bow_alloc_init(&alloc, &cp->blocks, 0, 0);
	out->free_left_bytes = (alloc.free_blk + unwritten) * BOW_BLOCK;
	out->backup_bytes = cp->backup_blk * BOW_BLOCK;
	out->changed_bytes = cp->changed_blk * BOW_BLOCK;
	out->new_bytes = (live_blk(&cp->blocks) - unwritten) * BOW_BLOCK;
	out->log_bytes = cp->log_blk * BOW_BLOCK;
	out->entries = cp->entries;
	out->gives = cp->gives;
	bow_budget_of(cp->dev, &cp->sb, &cp->blocks, alloc.free_blk + unwritten, &out->budget);
}

int bow_own_status(struct bow_opened *o, struct bowimg_status *out, struct bowimg_error *err)
{
	bool none = o->state == BOWIMG_STATE_NONE;

	(void)err;
	memset(out, 0, sizeof(*out));
	out->state = o->state;
	out->block_size = BOW_BLOCK;
	out->virtual_size = none ? o->dev->size : o->cp.sb.image_size;
	out->tail_bytes = o->dev->size - out->virtual_size;
	snprintf(out->format, sizeof(out->format), "%s", none ? "" : o->kind->name);
	if (!none && !o->cut_only)
		fill_super(&o->cp.sb, out);
	if (o->loaded)
		fill_log(&o->cp, out);
	if (o->loaded && o->cp.sb.target)
		snprintf(out->rolling_back_to, sizeof(out->rolling_back_to), "%s",
			 bow_own_target(&o->cp));
	if (out->rolling_back_to[0])
		snprintf(out->next, sizeof(out->next),
			 "run 'bowimg rollback --to=%s' again to finish it; nothing is lost",
			 out->rolling_back_to);
	else
		snprintf(out->next, sizeof(out->next), "%s", next_step(o));
	return 0;
}
