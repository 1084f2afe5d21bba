/* SPDX-License-Identifier: MIT */
/*
 * Ending the checkpoint that the kernel's dm-bow left on a disk. The verbs come here when
 * bow_identify() says so; none of these calls flushes or drops caches first.
 */
#ifndef BOW_OPERATIONS_DMBOW_H
#define BOW_OPERATIONS_DMBOW_H

#include "log/dmbow.h"
#include "operations/internal.h"

/* ---- dmbow_look.c ----------------------------------------------------------------------------
 */

/* The state by dm-bow's log in block 0; NONE: there is none. -EUCLEAN, -EOPNOTSUPP. */
int bow_dmbow_identify(struct bow_dev *dev, enum bowimg_state *state, struct bowimg_error *err);

/* "cannot <verb> it", for what only bowimg's own checkpoints can do; never returns 0. */
int bow_dmbow_refuse(const char *verb, struct bowimg_error *err);

int bow_dmbow_status(struct bow_dev *dev, enum bowimg_state state, struct bowimg_status *out,
		     struct bowimg_error *err);
int bow_dmbow_log(struct bow_dev *dev, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		  void *ctx, struct bowimg_error *err);

/* After a walk: how many blocks there are to bring back, without block 0. */
uint64_t bow_dmbow_changed_blk(const struct bow_dmbow *d);

/* ---- dmbow_check.c: every backup against its checksum; writes nothing [I6] --------------------
 */

struct bow_dmbow_lost {
	struct bow_bitmap *blocks; /* what cannot be brought back */
	uint64_t entries;	   /* damaged ones */
	bool original0;		   /* block 0's content at the checkpoint is damaged */
};

/*
 * After this d->cur says what to copy. With d->skip damage is no error, but noted in *lost, whose
 * bitmap the caller frees; the log's own damage is in d.
 */
int bow_dmbow_check(struct bow_dmbow *d, const struct bowimg_events *events,
		    struct bow_dmbow_lost *lost, struct bowimg_error *err);

/* ---- dmbow_write.c: in this order, and with these barriers -------------------------------------
 */

/* From here on only a rollback may go on. */
int bow_dmbow_begin(struct bow_dmbow *d, struct bowimg_error *err);
/* What d->cur says, but for what is lost. */
int bow_dmbow_copy_back(struct bow_dmbow *d, const struct bow_bitmap *lost,
			const struct bowimg_events *events, struct bowimg_end_report *report,
			struct bowimg_error *err);
/* The last step; the disk is an ordinary one afterwards. */
int bow_dmbow_put_block0(struct bow_dmbow *d, uint64_t from_blk, bool committing,
			 struct bowimg_error *err);

/* ---- dmbow_end.c -----------------------------------------------------------------------------
 */

int bow_dmbow_verify(struct bow_dev *dev, enum bowimg_state state,
		     const struct bowimg_end_options *opts, struct bowimg_end_report *report,
		     struct bowimg_error *err);
int bow_dmbow_rollback(struct bow_dev *dev, enum bowimg_state state,
		       const struct bowimg_end_options *opts, struct bowimg_end_report *report,
		       struct bowimg_error *err);
int bow_dmbow_commit(struct bow_dev *dev, enum bowimg_state state,
		     const struct bowimg_end_options *opts, struct bowimg_end_report *report,
		     struct bowimg_error *err);

#endif
