/* SPDX-License-Identifier: MIT */
/*
 * The verbs on an open device: the calls of include/bowimg.h without finding and locking the file.
 * Tests run them on devices of their own.
 */
#ifndef BOW_VERBS_OPERATIONS_H
#define BOW_VERBS_OPERATIONS_H

#include "lib/disk/disk.h"
#include "lib/blocks/bitmap.h"

/* ---- prepare_check.c ------------------------------------------------------------- */

/* Can this be prepared at all? Asked before the file system is read. */
int bow_prepare_check(struct bowimg_disk *dev, struct bowimg_error *err);

/* ---- prepare.c ------------------------------------------------------------------- */

/*
 * Open a checkpoint on dev with this free map (one bit for each started block; block 0 and a
 * partial last block must be clear). The caller has decided `exact` and `on_full`. Writes nothing
 * with dry_run.
 */
struct bow_prepare_plan {
	const struct bow_bitmap *free;
	const char *free_source; /* at most 15 characters, kept in the superblock */
	bool exact;
	enum bowimg_store store;
	enum bowimg_on_full on_full; /* STOP or TAIL */
	bool dry_run;
	/* If not NULL: the map is true only if block 0 still is this (rule 16). */
	const uint8_t *block0;
	/* Zero: a fresh random one. Tests give their own, to be repeatable. */
	uint8_t uuid[16];
};
int bow_prepare_dev(struct bowimg_disk *dev, const struct bow_prepare_plan *plan,
		    struct bowimg_prepare_report *report, struct bowimg_error *err);

/* ---- use.c: what leaves the checkpoint open -------------------------------------- */

/* As bowimg_open_view() and bowimg_open(). dev belongs to *out on success only. */
int bow_view_open(struct bowimg_disk *dev, unsigned force, struct bowimg_disk **out,
		  struct bowimg_error *err);
int bow_serve_dev(struct bowimg_disk *dev, const struct bowimg_open_options *opts,
		  struct bowimg_disk **out, struct bowimg_error *err);
int bow_status_dev(struct bowimg_disk *dev, unsigned force, struct bowimg_status *out,
		   struct bowimg_error *err);
int bow_partitions_dev(struct bowimg_disk *dev,
		       int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		       struct bowimg_error *err);
int bow_log_dev(struct bowimg_disk *dev, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		void *ctx, struct bowimg_error *err);

/* ---- marks.c: as the calls of bowimg.h ------------------------------------------- */

int bow_mark_make_dev(struct bowimg_disk *dev, const char *name, unsigned force,
		      struct bowimg_mark *made, struct bowimg_error *err);
int bow_mark_delete_dev(struct bowimg_disk *dev, const char *name, unsigned force,
			struct bowimg_error *err);
int bow_marks_dev(struct bowimg_disk *dev, unsigned force,
		  int (*mark)(void *ctx, const struct bowimg_mark *m), void *ctx,
		  struct bowimg_error *err);

/* ---- end.c ----------------------------------------------------------------------- */

int bow_rollback_dev(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err);
int bow_commit_dev(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err);
int bow_verify_dev(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err);

#endif
