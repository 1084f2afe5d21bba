/* SPDX-License-Identifier: MIT */
/* What can be done with a checkpoint of bowimg's own: everything. */
#include "lib/own/own.h"

#include "lib/base/state.h"
#include "lib/engine/open.h"
#include "lib/own/steps.h"

static int serve(struct bow_opened *o, const struct bowimg_open_options *opts,
		 struct bowimg_disk **out, struct bowimg_error *err)
{
	if (o->state != BOWIMG_STATE_CHECKPOINT)
		return bow_own_refuse(o, "serve", err);
	return bow_engine_open(&o->cp, opts, out, err);
}

static int free_map(const struct bow_opened *o, const struct bow_bitmap **out,
		    struct bowimg_error *err)
{
	if (!o->loaded)
		return bow_own_refuse(o, "show", err);
	*out = bow_checkpoint_free0(&o->cp);
	return 0;
}

/* The log, which has the name of a mark that is returned to, was not read. */
static int refuse_prepare(const struct bow_identity *id, struct bowimg_error *err)
{
	if (id->state != BOWIMG_STATE_ROLLING_BACK || !id->sb.target)
		return bow_wrong_state(id->state, "prepare", err);
	bow_err(err, -EINPROGRESS, "a return to a mark was interrupted");
	bow_err_hint(err, "nothing is lost; 'bowimg status' says which command finishes it");
	return -EINPROGRESS;
}

static int refuse_rescue(const struct bow_identity *id, struct bowimg_error *err)
{
	if (id->cut_only)
		return bow_wrong_state(id->state, "rescue", err);
	bow_err(err, -EALREADY, "there is nothing to rescue: its superblock is whole");
	bow_err_hint(err, "'bowimg status' says what can be done, 'bowimg verify' if a rollback "
			  "would work");
	return -EALREADY;
}

const struct bow_checkpoint_kind bow_own_kind = {
	.name = "bowimg",
	.owner = "bowimg",
	.identify = bow_own_identify,
	.identify_tail = bow_own_identify_tail,
	.load = bow_own_load,
	.rollback = bow_own_rollback,
	.commit = bow_own_commit,
	.verify = bow_own_verify,
	.status = bow_own_status,
	.log = bow_own_log,
	.serve = serve,
	.view = bow_own_view,
	.free_map = free_map,
	.partitions = bow_own_partitions,
	.mark = bow_own_mark,
	.unmark = bow_own_unmark,
	.marks = bow_own_marks,
	.refuse_prepare = refuse_prepare,
	.refuse_rescue = refuse_rescue,
};
