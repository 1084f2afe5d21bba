/* SPDX-License-Identifier: MIT */
/*
 * What an image is, before anything is done to it. Every state that a crash can leave has a name
 * here and a next step; what fits none of them was changed by somebody else.
 */
#include "operations/dmbow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define AHEAD_NSEC 2000000 /* 2 ms: longer than a write to the page cache takes */

const char *bowimg_state_name(enum bowimg_state state)
{
	static const char *const names[] = {"none",	  "checkpoint", "rolling-back",
					    "committing", "finishing",	"interrupted"};

	return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

int bow_wrong_state(enum bowimg_state state, const char *verb, struct bowimg_error *err)
{
	switch (state) {
	case BOWIMG_STATE_NONE:
		bow_err(err, -ENODATA, "there is nothing to %s: no checkpoint is open", verb);
		bow_err_hint(err, "it is an ordinary image; 'bowimg prepare' opens a checkpoint");
		return -ENODATA;
	case BOWIMG_STATE_CHECKPOINT:
		bow_err(err, -EALREADY, "a checkpoint is open already");
		bow_err_hint(err, "end it first with 'bowimg rollback' or 'bowimg commit'");
		return -EALREADY;
	case BOWIMG_STATE_ROLLING_BACK:
		bow_err(err, -EINPROGRESS, "a rollback was interrupted");
		bow_err_hint(err, "nothing is lost; run 'bowimg rollback' again to finish it");
		return -EINPROGRESS;
	case BOWIMG_STATE_COMMITTING:
		bow_err(err, -EINPROGRESS, "a commit was interrupted");
		bow_err_hint(err, "nothing is lost; run 'bowimg commit' again to finish it");
		return -EINPROGRESS;
	case BOWIMG_STATE_FINISHING:
		bow_err(err, -EINPROGRESS, "the last step was interrupted");
		bow_err_hint(err, "nothing is lost; 'bowimg status' says which command ends it");
		return -EINPROGRESS;
	case BOWIMG_STATE_INTERRUPTED:
		break;
	}
	bow_err(err, -EINPROGRESS, "'bowimg prepare' was interrupted");
	bow_err_hint(err, "nothing is lost; 'bowimg rollback' puts the first sector back");
	return -EINPROGRESS;
}

/* The last block of the file is the footer of a finished rollback or commit: only cut the tail. */
static int find_footer(struct bow_dev *dev, struct bow_identity *id, struct bowimg_error *err)
{
	uint8_t block[BOW_BLOCK];
	struct bow_footer f;
	int rc;

	if (dev->size < BOWIMG_MIN_SIZE + BOW_BLOCK || dev->size % BOW_BLOCK)
		return 0;
	rc = bow_dev_read(dev, block, sizeof(block), dev->size - BOW_BLOCK, err);
	if (rc || !bow_footer_decode(block, &f))
		return rc;
	if (f.image_size < BOWIMG_MIN_SIZE || f.image_size > dev->size - BOW_BLOCK)
		return 0;
	rc = bow_dev_read(dev, block, sizeof(block), 0, err);
	if (rc || bow_hash(block, sizeof(block), 0) != f.block0_hash)
		return rc;
	id->state = BOWIMG_STATE_FINISHING;
	id->cut_only = true;
	id->sb.image_size = f.image_size;
	return 0;
}

/* A tail, or the list of an interrupted finish, may lie past the end; nothing else may. */
static int check_size(const struct bow_dev *dev, const struct bow_super *sb,
		      struct bowimg_error *err)
{
	bool tail = sb->state != BOW_SUPER_CHECKPOINT ||
		    sb->flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL);

	if (dev->size == sb->image_size || (tail && dev->size > sb->image_size))
		return 0;
	bow_err(err, -ESTALE, "it is %" PRIu64 " bytes long, but was %" PRIu64 " at prepare",
		dev->size, sb->image_size);
	bow_err_hint(err, "make it %" PRIu64 " bytes long again; nothing was changed now",
		     sb->image_size);
	return -ESTALE;
}

static enum bowimg_state state_of(const struct bow_super *sb)
{
	switch (sb->state) {
	case BOW_SUPER_CHECKPOINT:
		return BOWIMG_STATE_CHECKPOINT;
	case BOW_SUPER_ROLLING_BACK:
		return BOWIMG_STATE_ROLLING_BACK;
	case BOW_SUPER_COMMITTING:
		return BOWIMG_STATE_COMMITTING;
	case BOW_SUPER_FINISHING:
		break;
	}
	return BOWIMG_STATE_FINISHING;
}

/* No superblock. */
static int identify_foreign(struct bow_dev *dev, struct bow_identity *id, struct bowimg_error *err)
{
	int rc = bow_dmbow_identify(dev, &id->state, err);

	id->dmbow = id->state != BOWIMG_STATE_NONE;
	return rc || id->dmbow || dev->size < BOWIMG_MIN_SIZE ? rc : find_footer(dev, id, err);
}

int bow_identify(struct bow_dev *dev, struct bow_identity *id, struct bowimg_error *err)
{
	uint8_t sector[BOW_SUPER_BYTES];
	int rc;

	memset(id, 0, sizeof(*id));
	if (dev->size < BOWIMG_MIN_SIZE)
		return identify_foreign(dev, id, err);
	rc = bow_dev_read(dev, sector, sizeof(sector), 0, err);
	if (rc)
		return rc;
	switch (bow_super_decode(sector, &id->sb)) {
	case BOW_DECODE_FOREIGN:
		return identify_foreign(dev, id, err);
	case BOW_DECODE_DAMAGED:
		bow_err(err, -EBADMSG, "sector 0 is a damaged bowimg superblock");
		bow_err_hint(err, "keep a copy of the image; its log is still in its free space");
		return -EBADMSG;
	case BOW_DECODE_NEWER:
		bow_err(err, -EOPNOTSUPP, "it was prepared by a newer version of bowimg");
		bow_err_hint(err, "use the version of bowimg that prepared it");
		return -EOPNOTSUPP;
	case BOW_DECODE_OK:
		break;
	}
	rc = check_size(dev, &id->sb, err);
	if (!rc)
		id->state = state_of(&id->sb);
	return rc;
}

/*
 * Rule 12. While a checkpoint is open, sectors 1-7 hold the note. If they are block 0's original
 * instead, prepare was cut before it said that it was done; anything else is somebody's doing.
 */
static int check_note(struct bow_opened *o, unsigned force, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = &o->cp;
	char note[BOW_NOTE_BYTES];
	uint8_t now[BOW_NOTE_BYTES], original[BOW_NOTE_BYTES];
	int rc;

	rc = bow_dev_read(cp->dev, now, sizeof(now), BOW_SUPER_BYTES, err);
	if (rc)
		return rc;
	bow_note_render(&cp->sb, note);
	/* Forced: both rollback and commit put a whole block 0 back in the end. */
	if (!memcmp(now, note, sizeof(note)) || force & BOWIMG_FORCE_CHANGED)
		return 0;
	rc = bow_dev_read(cp->dev, original, sizeof(original),
			  cp->original0_blk * BOW_BLOCK + BOW_SUPER_BYTES, err);
	if (rc)
		return rc;
	/* Torn at sectors: each may be the note's already, or still the original's. */
	for (size_t i = 0; i < sizeof(now); i += 512)
		if (memcmp(now + i, original + i, 512) && memcmp(now + i, note + i, 512)) {
			bow_err(err, -ESTALE, "block 0 was changed outside bowimg");
			bow_err_hint(err, "somebody wrote to block 0, whose original is safe; if "
					  "nothing else "
					  "was written, --force=changed goes on");
			return -ESTALE;
		}
	o->state = BOWIMG_STATE_INTERRUPTED;
	return 0;
}

/*
 * Any write by somebody else makes the file younger than noted. Older is no alarm: a crash may take
 * an inode's time back, and cannot do so with the superblock's order.
 */
static int check_mtime(const struct bow_checkpoint *cp, unsigned force, struct bowimg_error *err)
{
	const struct bow_super *sb = &cp->sb;
	struct timespec t;

	if (force & BOWIMG_FORCE_CHANGED || sb->flags & BOW_SUPER_ATTACHED ||
	    !(sb->flags & BOW_SUPER_MTIME) || !bow_dev_get_mtime(cp->dev, &t))
		return 0;
	if (t.tv_sec < sb->mtime_sec ||
	    (t.tv_sec == sb->mtime_sec && (uint32_t)t.tv_nsec <= sb->mtime_nsec))
		return 0;
	bow_err(err, -ESTALE, "it was modified since bowimg last wrote to it");
	bow_err_hint(err, "a copy without 'cp -p' looks like that too; if nothing wrote to it, "
			  "--force=changed goes on");
	return -ESTALE;
}

/*
 * Rule 8. What a killed process left in the page cache, or a failed barrier marked clean, is not
 * yet true. A superblock that says "clean" was written behind a barrier that covers everything
 * before it, and it was read from the storage: then the cache may be believed.
 */
static bool ended_clean(const struct bow_identity *id)
{
	return id->state == BOWIMG_STATE_CHECKPOINT && !id->dmbow &&
	       !(id->sb.flags & BOW_SUPER_ATTACHED);
}

int bow_checkpoint_open(struct bow_dev *dev, unsigned how, unsigned force, struct bow_opened *o,
			struct bowimg_error *err)
{
	struct bow_identity id;
	int rc = 0;

	memset(o, 0, sizeof(*o));
	if (how & BOW_OPEN_TO_WRITE)
		rc = bow_dev_flush(dev, err);
	if (!rc && how & BOW_OPEN_TO_WRITE)
		rc = bow_dev_drop_cache(dev, 0, BOW_BLOCK, err);
	if (!rc)
		rc = bow_identify(dev, &id, err);
	if (!rc && how & BOW_OPEN_TO_WRITE && !ended_clean(&id))
		rc = bow_dev_drop_cache(dev, 0, 0, err);
	if (rc)
		return rc;
	o->state = id.state;
	o->dmbow = id.dmbow;
	o->cut_only = id.cut_only;
	o->cp.dev = dev;
	o->cp.sb = id.sb;
	if (id.state == BOWIMG_STATE_NONE || id.state == BOWIMG_STATE_FINISHING || id.dmbow)
		return 0;
	if (id.state == BOWIMG_STATE_CHECKPOINT)
		rc = check_mtime(&o->cp, force, err);
	o->loaded = !rc;
	if (!rc)
		rc = bow_checkpoint_load(&o->cp, err);
	if (!rc && id.state == BOWIMG_STATE_CHECKPOINT)
		rc = check_note(o, force, err);
	return rc;
}

void bow_opened_release(struct bow_opened *o)
{
	if (o->loaded)
		bow_checkpoint_release(&o->cp);
	o->loaded = false;
}

int bow_checkpoint_redo(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	static const size_t most = (size_t)BOW_COPY_MAX_BLK * BOW_BLOCK;
	uint8_t *buf = NULL;
	int rc = 0;

	if (cp->redos && !(buf = calloc(1, most)))
		return bow_err_errno(err, -ENOMEM, "redo the last backups");
	for (uint32_t i = 0; i < cp->redos && !rc; i++) {
		const struct bow_redo *r = &cp->redo[i];
		size_t bytes = bow_super_bytes(&cp->sb, r->source_blk, r->count_blk);

		memset(buf, 0, most);
		rc = bow_dev_read(cp->dev, buf, bytes, r->source_blk * BOW_BLOCK, err);
		if (!rc)
			rc = bow_dev_write(cp->dev, buf, (size_t)r->count_blk * BOW_BLOCK,
					   r->dest_blk * BOW_BLOCK, err);
		/* If it was a piece of the log that moved, this is where it is looked for now. */
		if (!rc && r->dest_blk < cp->blocks.count)
			rc = bow_bitmap_set(cp->kept, r->dest_blk, r->count_blk);
	}
	free(buf);
	return rc ? rc : bow_dev_flush(cp->dev, err);
}

int bow_super_leave_clean(struct bow_dev *dev, struct bow_super *sb, bool was_clean,
			  struct bowimg_error *err)
{
	struct timespec t = {.tv_sec = sb->mtime_sec, .tv_nsec = sb->mtime_nsec};
	int rc = bow_super_write(dev, sb, err);

	/* Lost in a power cut, this write must not look like somebody else's by the time it left.
	 */
	if (!rc && was_clean && sb->flags & BOW_SUPER_MTIME) {
		rc = bow_dev_set_mtime(dev, &t, err);
		if (rc == -EPERM)
			rc = 0;
	}
	return rc ? rc : bow_dev_flush(dev, err);
}

int bow_checkpoint_set_state(struct bow_checkpoint *cp, enum bow_super_state state,
			     struct bowimg_error *err)
{
	bool was_clean = cp->sb.state == BOW_SUPER_CHECKPOINT &&
			 !(cp->sb.flags & BOW_SUPER_ATTACHED);

	cp->sb.state = state;
	return bow_super_leave_clean(cp->dev, &cp->sb, was_clean, err);
}

static int write_clean(struct bow_dev *dev, struct bow_super *sb, const struct timespec *stamp,
		       struct bowimg_error *err)
{
	int rc;

	sb->flags &= ~(BOW_SUPER_ATTACHED | BOW_SUPER_MTIME);
	if (stamp) {
		sb->flags |= BOW_SUPER_MTIME;
		sb->mtime_sec = stamp->tv_sec;
		sb->mtime_nsec = (uint32_t)stamp->tv_nsec;
	}
	rc = bow_super_write(dev, sb, err);
	return rc ? rc : bow_dev_flush(dev, err);
}

int bow_checkpoint_mark_clean(struct bow_dev *dev, struct bow_super *sb, uint64_t last_seq,
			      struct bowimg_error *err)
{
	struct timespec now;
	bool stamp = bow_dev_get_mtime(dev, &now) && !clock_gettime(CLOCK_REALTIME, &now);
	int rc;

	/* A moment ahead, so that the superblock's own write, which comes next, is not later. */
	now.tv_nsec += AHEAD_NSEC;
	now.tv_sec += now.tv_nsec / 1000000000;
	now.tv_nsec %= 1000000000;
	sb->clean_seq = last_seq;
	rc = write_clean(dev, sb, stamp ? &now : NULL, err);
	if (rc || !stamp)
		return rc;
	rc = bow_dev_set_mtime(dev, &now, err);
	if (rc != -EPERM)
		return rc;
	/* May write, but does not own the file: then the image goes without this guard. */
	bow_err_clear(err);
	return write_clean(dev, sb, NULL, err);
}
