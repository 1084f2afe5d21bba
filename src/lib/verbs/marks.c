/* SPDX-License-Identifier: MIT */
/* Marks of whatever kind of checkpoint has them. */
#include <string.h>

#include "lib/verbs/open.h"
#include "lib/verbs/operations.h"

int bow_mark_make_dev(struct bowimg_disk *dev, const char *name, unsigned force,
		      struct bowimg_mark *made, struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, BOW_OPEN_TO_WRITE, force, &o, err);

	if (!rc)
		rc = bow_kind_mark(&o, name, made, err);
	bow_opened_release(&o);
	return rc;
}

int bow_mark_delete_dev(struct bowimg_disk *dev, const char *name, unsigned force,
			struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, BOW_OPEN_TO_WRITE, force, &o, err);

	if (!rc)
		rc = bow_kind_unmark(&o, name, err);
	bow_opened_release(&o);
	return rc;
}

int bow_marks_dev(struct bowimg_disk *dev, unsigned force,
		  int (*mark)(void *ctx, const struct bowimg_mark *m), void *ctx,
		  struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, force, &o, err);

	if (!rc)
		rc = bow_kind_marks(&o, mark, ctx, err);
	bow_opened_release(&o);
	return rc;
}
