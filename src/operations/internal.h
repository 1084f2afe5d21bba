/* SPDX-License-Identifier: MIT */
/* What the operations share among themselves. */
#ifndef BOW_OPERATIONS_INTERNAL_H
#define BOW_OPERATIONS_INTERNAL_H

#include "log/log.h"
#include "operations/operations.h"

struct bow_freemap_info;

/* ---- public.c ---------------------------------------------------------------------------------
 */

/* Close what was opened; an error that is there already counts for more than one from closing. */
int bow_public_done(struct bow_dev *dev, const char *path, int rc, struct bowimg_error *err);

/* ---- public_prepare.c: the two halves of prepare ----------------------------------------------
 */

/* Can this be prepared at all? Asked before the file system is looked at. */
int bow_prepare_check(struct bow_dev *dev, struct bowimg_error *err);

/* Prepare with this free map, of which exact mode takes out what is not zero. */
int bow_prepare_with_map(struct bow_dev *dev, const struct bowimg_prepare_options *opts,
			 struct bow_bitmap *free, const struct bow_freemap_info *info,
			 struct bowimg_prepare_report *report, struct bowimg_error *err);

/* ---- identify.c: what is this image, and in which state? ------------------------------------- */

struct bow_identity {
	enum bowimg_state state;
	bool dmbow;	     /* the checkpoint is one of the kernel's dm-bow: see dmbow.h */
	struct bow_super sb; /* unless state is NONE, or dmbow */
	bool cut_only; /* FINISHING: everything is done but cutting the tail; sb has image_size only
			*/
};

/*
 * Read sector 0 and what goes with it. INTERRUPTED is told from ESTALE only by
 * bow_checkpoint_open(), which has the log.
 */
int bow_identify(struct bow_dev *dev, struct bow_identity *id, struct bowimg_error *err);

/* An image, identified, and its log loaded where the state has one. */
struct bow_opened {
	enum bowimg_state state;
	bool dmbow; /* nothing else is filled in then */
	bool cut_only;
	bool loaded;
	struct bow_checkpoint cp;
};

#define BOW_OPEN_TO_WRITE                                                      \
	1u /* rule 8: nothing the page cache says is believed before a barrier \
	    */

/*
 * Release with bow_opened_release(), also after an error. -ESTALE: changed behind our back (unless
 * BOWIMG_FORCE_CHANGED is in force).
 */
int bow_checkpoint_open(struct bow_dev *dev, unsigned how, unsigned force, struct bow_opened *o,
			struct bowimg_error *err);
void bow_opened_release(struct bow_opened *o);

/*
 * In look.c. Read the disk as it is now, over a log that was loaded: returns how many of the bytes,
 * which is as far as they lie in one place; or -errno.
 */
int64_t bow_checkpoint_read(const struct bow_checkpoint *cp, void *buf, size_t bytes, uint64_t off,
			    struct bowimg_error *err);

/* Copy what a power cut took of the last record's backups, then a barrier (rule 9). */
int bow_checkpoint_redo(struct bow_checkpoint *cp, struct bowimg_error *err);

/* Write the superblock in this state, then a barrier. */
int bow_checkpoint_set_state(struct bow_checkpoint *cp, enum bow_super_state state,
			     struct bowimg_error *err);

/*
 * Write the superblock, then a barrier. If it was clean on the disk until now (was_clean), the
 * mtime it notes is kept until the barrier has made the new one true.
 */
int bow_super_leave_clean(struct bow_dev *dev, struct bow_super *sb, bool was_clean,
			  struct bowimg_error *err);

/* "nothing to do here" for a verb on an image in this state; never returns 0. */
int bow_wrong_state(enum bowimg_state state, const char *verb, struct bowimg_error *err);

/* ---- progress.c -------------------------------------------------------------------------------
 */

struct bow_progress {
	const struct bowimg_events *events;
	const char *what;
	uint64_t done, total;
};
void bow_progress_add(struct bow_progress *p, uint64_t bytes);

/* ---- backup.c ---------------------------------------------------------------------------------
 */

/* Is buf, read from a backup, what was saved there? */
bool bow_backup_ok(const struct bow_backup *b, const struct bow_super *sb, const void *buf);
/* It is not: read the blocks themselves, which may never have been overwritten. -EBADMSG: lost. */
int bow_backup_try_source(const struct bow_backup *b, struct bow_dev *dev,
			  const struct bow_super *sb, uint8_t *buf, struct bowimg_error *err);

/* ---- restore.c: the log's backups, checked and brought back -----------------------------------
 */

/* Check every backup against its hash; writes nothing [I6]. */
int bow_restore_check(struct bow_checkpoint *cp, const struct bowimg_events *events,
		      struct bowimg_end_report *report, struct bowimg_error *err);
/* Copy all of them back, except block 0's. No barrier. */
int bow_restore_all(struct bow_checkpoint *cp, const struct bowimg_events *events,
		    struct bowimg_end_report *report, struct bowimg_error *err);

/* ---- finish.c, finish_resume.c: the last step of rollback and commit (rule 11) ------------------
 */

/*
 * Make every block of `must_zero` zero (the log may lie under some of them) and put `block0` in
 * place; the image is an ordinary one afterwards. All that was restored is past a barrier already,
 * and the state is durable, so that backups are not needed any more. *zeroed_bytes: how much.
 */
int bow_finish(struct bow_checkpoint *cp, const struct bow_bitmap *must_zero,
	       const uint8_t block0[BOW_BLOCK], bool undoing, const struct bowimg_events *events,
	       uint64_t *zeroed_bytes, struct bowimg_error *err);
/* Blocks that the plan of the last step takes for so many ranges. */
uint64_t bow_finish_plan_blk(uint64_t runs, bool file);
/* Go on with one that was interrupted. */
int bow_finish_resume(struct bow_dev *dev, const struct bow_super *sb, struct bowimg_error *err);
/* Put block 0 in place, sector 0 last; with barriers. */
int bow_finish_block0(struct bow_dev *dev, const uint8_t block0[BOW_BLOCK],
		      struct bowimg_error *err);
/* Cut what is left of the tail. */
int bow_finish_cut(struct bow_dev *dev, uint64_t image_size, struct bowimg_error *err);

/* ---- prepare.c --------------------------------------------------------------------------------
 */

/* How long a new log segment should be, with this much space left. */
uint32_t bow_segment_want(uint64_t free_blk);

/*
 * Have host space for `more` bytes past the end of a file, and behind them room for the plan of the
 * last step: a full host must not stop a rollback (rule 11). Not every file system can promise
 * that, and a device need not.
 */
int bow_finish_reserve(struct bow_dev *dev, uint64_t more, struct bowimg_error *err);

/* Note the image's mtime and the end of the log, clear ATTACHED; with barriers. */
int bow_checkpoint_mark_clean(struct bow_dev *dev, struct bow_super *sb, uint64_t last_seq,
			      struct bowimg_error *err);

#endif
