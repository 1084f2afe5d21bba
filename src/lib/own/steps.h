/* SPDX-License-Identifier: MIT */
/*
 * The inside of this room: the operations that own.c lists, and the steps that they share. Prepare
 * and rescue use some of the steps, too.
 */
#ifndef BOW_OWN_STEPS_H
#define BOW_OWN_STEPS_H

#include "lib/base/progress.h"
#include "lib/checkpoint/checkpoint.h"
#include "lib/checkpoint/kind.h"

/* ---- operations: see checkpoint/kind.h ------------------------------------------- */

bow_identify_operation bow_own_identify, bow_own_identify_tail;
int bow_own_load(struct bow_opened *o, unsigned force, struct bowimg_error *err);
bow_end_operation bow_own_rollback, bow_own_commit, bow_own_verify;
int bow_own_status(struct bow_opened *o, struct bowimg_status *out, struct bowimg_error *err);
int bow_own_log(struct bow_opened *o, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		void *ctx, struct bowimg_error *err);
int bow_own_view(struct bow_opened *o, struct bowimg_disk **out, struct bowimg_error *err);
int bow_own_mark(struct bow_opened *o, const char *name, struct bowimg_mark *made,
		 struct bowimg_error *err);
int bow_own_unmark(struct bow_opened *o, const char *name, struct bowimg_error *err);
int bow_own_marks(struct bow_opened *o, int (*mark)(void *ctx, const struct bowimg_mark *m),
		  void *ctx, struct bowimg_error *err);
int bow_own_partitions(struct bow_opened *o,
		       int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		       struct bowimg_error *err);

/* ---- views.c --------------------------------------------------------------------- */

/*
 * Read the disk as it is now, over a log that was loaded. Returns how many of the bytes lie in one
 * place and were read, or -errno.
 */
int64_t bow_own_read_now(const struct bow_checkpoint *cp, void *buf, size_t bytes, uint64_t off,
			 struct bowimg_error *err);

/* ---- batch.c: backups in the order of their places ------------------------------- */

/*
 * n backups that were read together; the content of the next one follows in buf. Where requests are
 * slow and many can be in flight, several threads call this at the same time.
 */
typedef int bow_batch_piece(void *ctx, const struct bow_backup *it, uint32_t n, uint8_t *buf,
			    struct bowimg_error *err);

/* Backups that are collected, and read in large pieces once there are many. */
struct bow_batch {
	struct bowimg_disk *dev;
	bow_batch_piece *piece;
	void *ctx;
	struct bow_backup *items;
	uint32_t n;
	unsigned threads; /* that read at the same time, */
	uint8_t *buf;	  /* each to its own piece of this */
};

/* -ENOMEM; the caller releases it also then. */
int bow_batch_init(struct bow_batch *b, struct bowimg_disk *dev, bow_batch_piece *piece, void *ctx);
/* Each backup lies in one place, and its place stays until bow_batch_flush(). */
int bow_batch_add(struct bow_batch *b, const struct bow_backup *it, struct bowimg_error *err);
int bow_batch_flush(struct bow_batch *b, struct bowimg_error *err); /* of those collected */
void bow_batch_release(struct bow_batch *b);

/* ---- zeros.c: what was zeros, brought back ----------------------------------------- */

struct bow_zero_run {
	uint64_t off, bytes;
	enum bow_zero_mode mode; /* of what is no hole now */
};

struct bow_zeros {
	struct bowimg_disk *dev;
	struct bow_zero_run *runs;
	uint32_t n;
};

/* -ENOMEM; the caller releases it also then. */
int bow_zeros_init(struct bow_zeros *z, struct bowimg_disk *dev);
/* At once, or with the next bow_zeros_flush(). */
int bow_zeros_add(struct bow_zeros *z, const struct bow_zero_run *run, struct bowimg_error *err);
int bow_zeros_flush(struct bow_zeros *z, struct bowimg_error *err);
void bow_zeros_release(struct bow_zeros *z);

/* ---- restore.c: the log's backups, checked and brought back ---------------------- */

/* What to bring back: the disk as it was when an epoch began. */
struct bow_restore_what {
	uint32_t epoch;
	const struct bow_bitmap *free_then; /* blocks that were free then */
};

/*
 * Check the backups that decide, or every backup (what is NULL), against their hashes; writes
 * nothing [I6].
 */
int bow_restore_check(struct bow_checkpoint *cp, const struct bow_restore_what *what,
		      const struct bowimg_events *events, struct bowimg_end_report *report,
		      struct bowimg_error *err);
/* Copy back all that decide, except block 0's. No barrier. */
int bow_restore_all(struct bow_checkpoint *cp, const struct bow_restore_what *what,
		    const struct bowimg_events *events, struct bowimg_end_report *report,
		    struct bowimg_error *err);
/* Set report->restored_bytes to what that would bring back, in an image that has marks. */
int bow_restore_count(const struct bow_checkpoint *cp, const struct bow_restore_what *what,
		      struct bowimg_end_report *report, struct bowimg_error *err);

/* ---- begun.c, marks/revert.c ----------------------------------------------------- */

/* All is restored, and durable: from now on no backup is needed. One barrier. */
int bow_own_set_restored(struct bow_checkpoint *cp, struct bowimg_error *err);
/* The name of the mark that a return was begun to; "": there is no such mark. */
const char *bow_own_target(const struct bow_checkpoint *cp);
/* As bow_wrong_state(); names the mark if a return to one was begun. Never 0. */
int bow_own_refuse(const struct bow_opened *o, const char *verb, struct bowimg_error *err);
/* Go back to the mark opts->to, and leave the checkpoint open. */
int bow_own_revert(struct bow_opened *o, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err);

/* ---- finish.c, finish_resume.c: the last step of rollback and commit (rule 11) --- */

/*
 * Make every block of `must_zero` zero (the log may lie under some of them) and put `block0` in
 * place; the image is an ordinary one afterwards. The caller has passed a barrier after the last
 * restored block and made the state durable, so backups are not needed any more. *zeroed_bytes: how
 * much was zeroed.
 */
int bow_finish(struct bow_checkpoint *cp, const struct bow_bitmap *must_zero,
	       const uint8_t block0[BOW_BLOCK], bool undoing, const struct bowimg_events *events,
	       uint64_t *zeroed_bytes, struct bowimg_error *err);
/* Finish an image in state FINISHING: a rollback if `undoing`, else a commit. */
int bow_finish_again(struct bow_opened *o, bool undoing, const struct bowimg_end_options *opts,
		     struct bowimg_error *err);
/* Go on with a plan that was interrupted. */
int bow_finish_resume(struct bowimg_disk *dev, const struct bow_super *sb,
		      struct bowimg_error *err);
/* Put block 0 in place, sector 0 last; with barriers. */
int bow_finish_block0(struct bowimg_disk *dev, const uint8_t block0[BOW_BLOCK],
		      struct bowimg_error *err);
/* Cut what is left of the tail. */
int bow_finish_cut(struct bowimg_disk *dev, uint64_t image_size, struct bowimg_error *err);

#endif
