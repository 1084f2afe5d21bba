/* SPDX-License-Identifier: MIT */
/* The inside of this room: the operations that dmbow.c lists, and their steps. */
#ifndef BOW_DMBOW_STEPS_H
#define BOW_DMBOW_STEPS_H

#include "lib/base/progress.h"
#include "lib/base/state.h"
#include "lib/checkpoint/kind.h"
#include "lib/dmbow/log.h"

/* ---- end.c, report.c: the operations; see checkpoint/kind.h ---------------------- */

bow_end_operation bow_dmbow_rollback, bow_dmbow_commit, bow_dmbow_verify;
int bow_dmbow_status(struct bow_opened *o, struct bowimg_status *out, struct bowimg_error *err);
int bow_dmbow_log(struct bow_opened *o, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		  void *ctx, struct bowimg_error *err);

/* After a walk: how many blocks must be brought back, without block 0. */
uint64_t bow_dmbow_changed_blk(const struct bow_dmbow *d);

/* ---- check.c: every backup against its checksum; writes nothing [I6] ------------- */

struct bow_dmbow_lost {
	struct bow_bitmap *blocks; /* these cannot be brought back */
	uint64_t entries;	   /* damaged ones */
	bool original0;		   /* block 0's content at the checkpoint is damaged */
};

/*
 * Afterwards d->cur says what to copy. With d->skip a damaged backup is no error, but noted in
 * *lost, whose bitmap the caller frees; d->skipped counts the damage of the log itself.
 */
int bow_dmbow_check(struct bow_dmbow *d, const struct bowimg_events *events,
		    struct bow_dmbow_lost *lost, struct bowimg_error *err);

/* ---- write.c: in this order, and with these barriers ----------------------------- */

/* From here on only a rollback can end the checkpoint. */
int bow_dmbow_begin(struct bow_dmbow *d, struct bowimg_error *err);
/* Copy as d->cur says, without the blocks in *lost. */
int bow_dmbow_copy_back(struct bow_dmbow *d, const struct bow_bitmap *lost,
			const struct bowimg_events *events, struct bowimg_end_report *report,
			struct bowimg_error *err);
/*
 * -EUCLEAN if the block that is to become block 0 is itself a log block. In block 0 it would make
 * the disk one that dm-bow left, and after a cut it would be taken for a part of the chain. Called
 * before the first write [I6].
 */
int bow_dmbow_check_block0(struct bow_dmbow *d, uint64_t from_blk, struct bowimg_error *err);
/* The last step: afterwards the disk is an ordinary one. */
int bow_dmbow_put_block0(struct bow_dmbow *d, uint64_t from_blk, bool committing,
			 struct bowimg_error *err);

#endif
