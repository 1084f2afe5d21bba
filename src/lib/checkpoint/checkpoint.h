/* SPDX-License-Identifier: MIT */
/* Steps that serving and ending a checkpoint share. */
#ifndef BOW_CHECKPOINT_CHECKPOINT_H
#define BOW_CHECKPOINT_CHECKPOINT_H

#include "lib/log/log.h"

/* ---- state.c: from one state to the next ------------------------------------------ */

/* Copy again the backups of the last record that a power cut took; barrier (rule 9). */
int bow_checkpoint_redo(struct bow_checkpoint *cp, struct bowimg_error *err);

/* Write the superblock in this state, then a barrier. */
int bow_checkpoint_set_state(struct bow_checkpoint *cp, enum bow_super_state state,
			     struct bowimg_error *err);

/*
 * Write the superblock, then a barrier. If the one on the disk is clean (was_clean), the image
 * keeps the mtime that it notes until the barrier.
 */
int bow_super_leave_clean(struct bowimg_disk *dev, struct bow_super *sb, bool was_clean,
			  struct bowimg_error *err);

/* Note the image's mtime and the end of the log, clear ATTACHED; barrier. */
int bow_checkpoint_mark_clean(struct bowimg_disk *dev, struct bow_super *sb, uint64_t last_seq,
			      struct bowimg_error *err);

/* ---- backup.c -------------------------------------------------------------------- */

/* Does buf, read from a backup, match the hash? */
bool bow_backup_ok(const struct bow_backup *b, const struct bow_super *sb, const void *buf);
/* -EUCLEAN if any block of a backup that matches is all zeros. */
int bow_backup_refuse_zeros(const struct bow_backup *b, const struct bow_super *sb,
			    const uint8_t *buf, struct bowimg_error *err);
/* It does not match: read the blocks themselves, if they were not overwritten. -EBADMSG: lost. */
int bow_backup_try_source(const struct bow_backup *b, struct bowimg_disk *dev,
			  const struct bow_super *sb, uint8_t *buf, struct bowimg_error *err);

/* How a view reads the original of used blocks. */
struct bow_backup_reader {
	struct bowimg_disk *dev;
	const struct bow_super *sb;
	void *ctx;
	/* Read what lies in one place from off on: how many bytes (0: ask again), or -errno. */
	int64_t (*read)(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err);
	/* The backup is what its entry says, so no other block of it needs a check. */
	void (*matched)(void *ctx, const struct bow_backup *b);
};

/*
 * Read bytes that lie in this backup: all of it is read and checked. Returns how many of them were
 * read, at least 1, or -errno.
 */
int64_t bow_backup_read(const struct bow_backup *b, const struct bow_backup_reader *r, void *buf,
			size_t bytes, uint64_t off, struct bowimg_error *err);

/* ---- unwritten.c: what was taken ahead and not written ---------------------------- */

/*
 * Returns how many blocks from blk on, at most n and at least 1, are holes as a whole, or (with
 * *hole false) are not. Where the disk cannot tell, it has none.
 */
uint64_t bow_hole_run(struct bowimg_disk *dev, uint64_t blk, uint64_t n, bool *hole);

/* Does it show in this image? Only in a file, which may have holes, whose free space was zeros. */
bool bow_unwritten_shows(const struct bowimg_disk *dev, const struct bow_super *sb);

/*
 * Returns how many blocks from blk on, at most n, are LIVE and were never written, or (with
 * *unwritten false) are not so. In an image that was detached none is.
 */
uint64_t bow_unwritten_run(struct bowimg_disk *dev, const struct bow_super *sb,
			   const struct bow_blocks *b, uint64_t blk, uint64_t n, bool *unwritten);
/* Finds the first such run from *start on; it ends where Z begins or ends. False if none. */
bool bow_unwritten_next(struct bowimg_disk *dev, const struct bow_super *sb,
			const struct bow_blocks *b, uint64_t *start, uint64_t *n);

/* ---- reserve.c: room to keep free ------------------------------------------------ */

/* How long a new log segment should be, with this much space left. */
uint32_t bow_segment_want(uint64_t free_blk);

/*
 * Reserve host space for `more` bytes past the end of a file, and behind them for the plan of the
 * last step: a full host must not stop a rollback (rule 11). Does nothing on a device, and on a
 * file system that cannot reserve.
 */
int bow_finish_reserve(struct bowimg_disk *dev, uint64_t more, struct bowimg_error *err);
uint64_t bow_finish_reserve_blk(void); /* how many blocks that is for the plan */

/*
 * How many blocks a return to a mark may need beside those that were touched since: for an entry
 * for each of the log's segments and each mark, and to begin with. 0 in an image without marks.
 */
uint64_t bow_mark_reserve(const struct bow_super *sb, uint64_t entries);

/* How many blocks the plan of the last step takes for so many ranges. */
uint64_t bow_finish_lists(uint64_t runs); /* those of them that hold ranges */
uint64_t bow_finish_plan_blk(uint64_t runs, bool file);

/* ---- budget.c: room that is left ------------------------------------------------- */

struct bow_budget_facts {
	uint64_t free_left; /* bytes in free blocks that are left */
	uint64_t holes;	    /* of them without space on the host */
	uint64_t used;	    /* bytes of the budget that are used, in free blocks and the tail */
	bool only_tail;	    /* free blocks take no backups */
	bool grows;	    /* so there is a tail, now or when the free blocks are used up */
	bool host_known;    /* else host_left is 0 */
	uint64_t host_left; /* bytes */
};
void bow_budget_find(const struct bow_budget_facts *f, struct bowimg_budget *out);

/*
 * The same of an image. `blocks` tells which blocks are free, for a better answer that takes time
 * by the number of holes; or NULL. Of sb it reads what does not change.
 */
void bow_budget_of(struct bowimg_disk *dev, const struct bow_super *sb,
		   const struct bow_blocks *blocks, uint64_t free_left_blk,
		   struct bowimg_budget *out);

#endif
