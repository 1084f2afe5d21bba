/* SPDX-License-Identifier: MIT */
/* From one state of a checkpoint to the next: the superblock, the clean end. */
#include "lib/base/bytes.h"
#include "lib/checkpoint/checkpoint.h"

#define AHEAD_NSEC 2000000 /* 2 ms: longer than a write to the page cache takes */

int bow_super_leave_clean(struct bowimg_disk *dev, struct bow_super *sb, bool was_clean,
			  struct bowimg_error *err)
{
	struct timespec t = {.tv_sec = sb->mtime_sec, .tv_nsec = sb->mtime_nsec};
	int rc = bow_super_write(dev, sb, err);

	/* If a power cut loses this write, the mtime must not tell of another writer. */
	if (!rc && was_clean && sb->flags & BOW_SUPER_MTIME) {
		rc = bow_disk_set_mtime(dev, &t, err);
		if (rc == -EPERM)
			rc = 0;
	}
	return rc ? rc : bow_disk_flush(dev, err);
}

int bow_checkpoint_set_state(struct bow_checkpoint *cp, enum bow_super_state state,
			     struct bowimg_error *err)
{
	bool was_clean = cp->sb.state == BOW_SUPER_CHECKPOINT &&
			 !(cp->sb.flags & BOW_SUPER_ATTACHED);

	cp->sb.state = state;
	return bow_super_leave_clean(cp->dev, &cp->sb, was_clean, err);
}

/*
 * One barrier for the superblock and the time that it names: a crash may leave either without the
 * other. Without the superblock the image counts as attached, and no time is compared; without the
 * time the file has that of its last write, which is earlier, since the stamp lies ahead.
 */
static int write_clean(struct bowimg_disk *dev, struct bow_super *sb, const struct timespec *stamp,
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
	if (rc || !stamp)
		return rc;
	rc = bow_disk_set_mtime(dev, stamp, err);
	if (rc != -EPERM)
		return rc;
	/* The process may write the file, but does not own it: no guard by the mtime then. */
	bow_err_clear(err);
	return write_clean(dev, sb, NULL, err);
}

/*
 * A moment ahead, because the superblock itself is written next. Of our clock and the one that
 * stamps the file (a file server's, perhaps) the one that is ahead counts: our last write is in the
 * file's time. Returns false if the image has no mtime.
 */
static bool moment_ahead(struct bowimg_disk *dev, struct timespec *t)
{
	struct timespec file;

	if (!bow_disk_get_mtime(dev, &file) || clock_gettime(CLOCK_REALTIME, t))
		return false;
	if (bow_time_is_later(&file, t))
		*t = file;
	t->tv_nsec += AHEAD_NSEC;
	t->tv_sec += t->tv_nsec / 1000000000;
	t->tv_nsec %= 1000000000;
	return true;
}

int bow_checkpoint_mark_clean(struct bowimg_disk *dev, struct bow_super *sb, uint64_t last_seq,
			      struct bowimg_error *err)
{
	struct timespec now;
	bool stamp = moment_ahead(dev, &now);
	int rc;

	sb->clean_seq = last_seq;
	rc = write_clean(dev, sb, stamp ? &now : NULL, err);
	return rc ? rc : bow_disk_flush(dev, err);
}
