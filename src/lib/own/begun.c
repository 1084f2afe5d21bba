/* SPDX-License-Identifier: MIT */
/* A rollback that was begun: what it has reached, and what may follow. */
#include <errno.h>

#include "lib/base/state.h"
#include "lib/own/steps.h"

int bow_own_set_restored(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	if (!(cp->sb.incompat & BOW_INCOMPAT_MARKS))
		return 0;
	cp->sb.flags |= BOW_SUPER_RESTORED;
	return bow_checkpoint_set_state(cp, BOW_SUPER_ROLLING_BACK, err);
}

const char *bow_own_target(const struct bow_checkpoint *cp)
{
	for (uint32_t i = 1; i < cp->n_epochs; i++)
		if (cp->sb.target == cp->epochs[i].mark_seq)
			return cp->epochs[i].name;
	return "";
}

int bow_own_refuse(const struct bow_opened *o, const char *verb, struct bowimg_error *err)
{
	const char *name;

	if (!o->loaded || !o->cp.sb.target)
		return bow_wrong_state(o->state, verb, err);
	name = bow_own_target(&o->cp);
	bow_err(err, -EINPROGRESS, "a return to the mark %s was interrupted", name);
	bow_err_hint(err, "nothing is lost; run 'bowimg rollback --to=%s' again to finish it",
		     name);
	return -EINPROGRESS;
}
