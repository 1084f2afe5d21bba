/* SPDX-License-Identifier: MIT */
/*
 * Which state is an image in? Every state that a crash can leave has a name here and a next step;
 * an image that fits none of them was changed by another program.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"

/* The last block of the file is the footer of a finished rollback or commit: only cut the tail. */
int bow_own_identify_tail(struct bowimg_disk *dev, struct bow_identity *id,
			  struct bowimg_error *err)
{
	uint8_t block[BOW_BLOCK];
	struct bow_footer f;
	int rc;

	if (dev->size < BOWIMG_MIN_SIZE + BOW_BLOCK || dev->size % BOW_BLOCK)
		return 0;
	rc = bow_disk_read(dev, block, sizeof(block), dev->size - BOW_BLOCK, err);
	if (rc || !bow_footer_decode(block, &f))
		return rc;
	if (f.image_size < BOWIMG_MIN_SIZE || f.image_size > dev->size - BOW_BLOCK)
		return 0;
	if (bow_hash(dev->first, BOW_BLOCK, 0) != f.block0_hash)
		return 0;
	id->state = BOWIMG_STATE_FINISHING;
	id->cut_only = true;
	id->sb.image_size = f.image_size;
	return 0;
}

/* A tail, or the list of an interrupted finish, may lie past the end; nothing else may. */
static int check_size(const struct bowimg_disk *dev, const struct bow_super *sb,
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

int bow_own_identify(struct bowimg_disk *dev, struct bow_identity *id, struct bowimg_error *err)
{
	int rc;

	if (dev->size < BOWIMG_MIN_SIZE)
		return 0;
	switch (bow_super_decode(dev->first, &id->sb)) {
	case BOW_DECODE_FOREIGN:
		return 0;
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
	if (rc)
		return rc;
	id->state = state_of(&id->sb);
	id->clean = id->state == BOWIMG_STATE_CHECKPOINT && !(id->sb.flags & BOW_SUPER_ATTACHED);
	return 0;
}

/*
 * Rule 12. While a checkpoint is open, sectors 1-7 hold the note. If they are block 0's original
 * instead, prepare was cut before its last step. Anything else was written by another program.
 */
static int check_note(struct bow_opened *o, unsigned force, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = &o->cp;
	char note[BOW_NOTE_BYTES];
	uint8_t now[BOW_NOTE_BYTES], original[BOW_NOTE_BYTES];
	int rc;

	rc = bow_disk_read(cp->dev, now, sizeof(now), BOW_SUPER_BYTES, err);
	if (rc)
		return rc;
	bow_note_render(&cp->sb, note);
	/* Forced: both rollback and commit put a whole block 0 back in the end. */
	if (!memcmp(now, note, sizeof(note)) || force & BOWIMG_FORCE_CHANGED)
		return 0;
	rc = bow_disk_read(cp->dev, original, sizeof(original),
			   cp->original0_blk * BOW_BLOCK + BOW_SUPER_BYTES, err);
	if (rc)
		return rc;
	/* Torn at sectors: each may be the note's already, or still the original's. */
	for (size_t i = 0; i < sizeof(now); i += 512)
		if (memcmp(now + i, original + i, 512) && memcmp(now + i, note + i, 512)) {
			bow_err(err, -ESTALE, "block 0 was changed outside bowimg");
			bow_err_hint(err, "another program wrote to block 0, whose original is "
					  "safe; if it wrote nothing else, --force=changed "
					  "goes on");
			return -ESTALE;
		}
	o->state = BOWIMG_STATE_INTERRUPTED;
	return 0;
}

/*
 * Any write by another program makes the file younger than noted. An older file is no alarm: a
 * crash may take back an inode's time, which no barrier orders with the superblock.
 */
static int check_mtime(const struct bow_checkpoint *cp, unsigned force, struct bowimg_error *err)
{
	const struct bow_super *sb = &cp->sb;
	const struct timespec noted = {.tv_sec = sb->mtime_sec, .tv_nsec = sb->mtime_nsec};
	struct timespec t;

	if (force & BOWIMG_FORCE_CHANGED || sb->flags & BOW_SUPER_ATTACHED ||
	    !(sb->flags & BOW_SUPER_MTIME) || !bow_disk_get_mtime(cp->dev, &t))
		return 0;
	if (!bow_time_is_later(&t, &noted))
		return 0;
	bow_err(err, -ESTALE, "it was modified since bowimg last wrote to it");
	bow_err_hint(err, "a copy without 'cp -p' looks like that too; if nothing wrote to it, "
			  "--force=changed goes on");
	return -ESTALE;
}

/* A return that was begun goes on by the name of its mark, which cannot be deleted meanwhile. */
static int check_target(const struct bow_checkpoint *cp, struct bowimg_error *err)
{
	if (!cp->sb.target || bow_own_target(cp)[0])
		return 0;
	return bow_err(err, -EUCLEAN,
		       "a return to record %" PRIu64 " was interrupted, but that is no mark",
		       cp->sb.target);
}

int bow_own_load(struct bow_opened *o, unsigned force, struct bowimg_error *err)
{
	int rc = 0;

	if (o->state == BOWIMG_STATE_NONE || o->state == BOWIMG_STATE_FINISHING)
		return 0;
	if (o->state == BOWIMG_STATE_CHECKPOINT)
		rc = check_mtime(&o->cp, force, err);
	o->loaded = !rc;
	if (!rc)
		rc = bow_checkpoint_load(&o->cp, err);
	if (!rc)
		rc = check_target(&o->cp, err);
	if (!rc && o->state == BOWIMG_STATE_CHECKPOINT)
		rc = check_note(o, force, err);
	return rc;
}
