/* SPDX-License-Identifier: MIT */
/*
 * The kinds of checkpoints that there are. What only some of them can do is asked for here; where a
 * kind cannot, the answer is -EOPNOTSUPP and the same for all.
 */
#ifndef BOW_VERBS_KINDS_H
#define BOW_VERBS_KINDS_H

#include "lib/checkpoint/kind.h"

/*
 * Read sector 0 and what goes with it. Only bow_checkpoint_open() can tell INTERRUPTED from
 * -ESTALE, because it has the log.
 */
int bow_identify(struct bowimg_disk *dev, struct bow_identity *id, struct bowimg_error *err);

int bow_kind_serve(struct bow_opened *o, const struct bowimg_open_options *opts,
		   struct bowimg_disk **out, struct bowimg_error *err);
int bow_kind_view(struct bow_opened *o, struct bowimg_disk **out, struct bowimg_error *err);
int bow_kind_free_map(const struct bow_opened *o, const struct bow_bitmap **out,
		      struct bowimg_error *err);
int bow_kind_partitions(struct bow_opened *o,
			int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
			struct bowimg_error *err);
int bow_kind_mark(struct bow_opened *o, const char *name, struct bowimg_mark *made,
		  struct bowimg_error *err);
int bow_kind_unmark(struct bow_opened *o, const char *name, struct bowimg_error *err);
int bow_kind_marks(struct bow_opened *o, int (*mark)(void *ctx, const struct bowimg_mark *m),
		   void *ctx, struct bowimg_error *err);
int bow_kind_refuse_prepare(const struct bow_identity *id, struct bowimg_error *err);
int bow_kind_refuse_rescue(const struct bow_identity *id, struct bowimg_error *err);

#endif
