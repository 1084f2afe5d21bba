/* SPDX-License-Identifier: MIT */
/* Inside the views of an image that no process serves. */
#ifndef BOW_OWN_VIEWS_VIEWS_H
#define BOW_OWN_VIEWS_VIEWS_H

#include "lib/own/steps.h"

/* The disk as it is now, and what both views share. */
struct view {
	struct bowimg_disk disk; /* must be first */
	struct bowimg_disk *dev;
	struct bow_checkpoint cp;
	struct bow_backup_index *backups; /* for each epoch */
};

/* The disk as it was. */
struct view_before {
	struct bowimg_disk disk; /* must be first */
	const struct view *view;
	struct bow_past past;
};

static inline const struct bow_blocks *blocks_of(const struct view *v)
{
	return &v->cp.blocks;
}

/* ---- read.c ---------------------------------------------------------------------- */

/* Read the first bytes of a range as they were, as far as they are of one kind: returns how many.
 */
int64_t bow_view_read_before(const struct view_before *b, void *buf, size_t bytes, uint64_t off,
			     struct bowimg_error *err);

/* See bowimg_disk_extent(): at most `bytes` of it. */
uint64_t bow_view_extent_now(const struct view *v, uint64_t off, uint64_t bytes, bool *zeros);
uint64_t bow_view_extent_before(const struct view_before *b, uint64_t off, uint64_t bytes,
				bool *zeros);

/* Does block 0 differ between then and now? */
int bow_view_block0(const struct view *v, const struct bow_past *past, bool *differs,
		    struct bowimg_error *err);

/* ---- changes.c ------------------------------------------------------------------- */

/* For the table of a view: see bowimg_disk_changes_since(). */
int bow_view_changes(struct bowimg_disk *disk, const char *mark,
		     int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
		     struct bowimg_error *err);

#endif
