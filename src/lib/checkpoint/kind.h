/* SPDX-License-Identifier: MIT */
/*
 * The contract of a kind of checkpoint: what can be done with an image that holds one. The kinds
 * are bowimg's own (own/own.c) and that of the kernel's dm-bow (dmbow/dmbow.c). verbs/kinds.c lists
 * them, and refuses what a kind cannot do.
 */
#ifndef BOW_CHECKPOINT_KIND_H
#define BOW_CHECKPOINT_KIND_H

#include "lib/log/log.h"

struct bow_checkpoint_kind;

/* What an image is. */
struct bow_identity {
	const struct bow_checkpoint_kind *kind; /* bowimg's own also in state NONE */
	enum bowimg_state state;
	bool clean; /* the last writer ended with a barrier: the page cache is right (rule 8) */
	/* Only of bowimg's own: */
	bool cut_only; /* FINISHING: only the tail must be cut; sb has nothing but image_size */
	struct bow_super sb; /* unless state is NONE */
};

/* An image, identified, and loaded where the kind and the state have something to load. */
struct bow_opened {
	struct bowimg_disk *dev;
	const struct bow_checkpoint_kind *kind;
	enum bowimg_state state;
	/* Only of bowimg's own: */
	bool cut_only;
	bool loaded; /* the log, into cp; without it only cp.dev and cp.sb are set */
	struct bow_checkpoint cp;
};

/* Set id->state; leave it NONE if the image holds no checkpoint of this kind. */
typedef int bow_identify_operation(struct bowimg_disk *dev, struct bow_identity *id,
				   struct bowimg_error *err);
typedef int bow_end_operation(struct bow_opened *o, const struct bowimg_end_options *opts,
			      struct bowimg_end_report *report, struct bowimg_error *err);

struct bow_checkpoint_kind {
	const char *name;  /* for bowimg_status.format */
	const char *owner; /* in a sentence: whose checkpoint it is */

	/* By dev->first, the block 0 that was just read. */
	bow_identify_operation *identify;
	/* By the last block, asked if no kind knows block 0. NULL: nothing is kept there. */
	bow_identify_operation *identify_tail;
	/* May change o->state to INTERRUPTED. NULL: each operation reads what it needs. */
	int (*load)(struct bow_opened *o, unsigned force, struct bowimg_error *err);

	/* Every kind has these. */
	bow_end_operation *rollback, *commit, *verify;
	int (*status)(struct bow_opened *o, struct bowimg_status *out, struct bowimg_error *err);
	int (*log)(struct bow_opened *o, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		   void *ctx, struct bowimg_error *err);

	/*
	 * A kind that lacks one of these leaves it NULL. What serve and view return in *out owns
	 * o->dev, and may take what *o holds.
	 */
	int (*serve)(struct bow_opened *o, const struct bowimg_open_options *opts,
		     struct bowimg_disk **out, struct bowimg_error *err);
	int (*view)(struct bow_opened *o, struct bowimg_disk **out, struct bowimg_error *err);
	int (*free_map)(const struct bow_opened *o, const struct bow_bitmap **out,
			struct bowimg_error *err);
	int (*partitions)(struct bow_opened *o,
			  int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			  struct bowimg_error *err);
	int (*mark)(struct bow_opened *o, const char *name, struct bowimg_mark *made,
		    struct bowimg_error *err);
	int (*unmark)(struct bow_opened *o, const char *name, struct bowimg_error *err);
	int (*marks)(struct bow_opened *o, int (*mark)(void *ctx, const struct bowimg_mark *m),
		     void *ctx, struct bowimg_error *err);
	/* Why an image in this state, which is not NONE, cannot be prepared or rescued; never 0. */
	int (*refuse_prepare)(const struct bow_identity *id, struct bowimg_error *err);
	int (*refuse_rescue)(const struct bow_identity *id, struct bowimg_error *err);
};

#endif
