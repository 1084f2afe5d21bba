/* SPDX-License-Identifier: MIT */
/*
 * Questions about an image that another process may change meanwhile: a switch of segments, or a
 * step of prepare, rollback or commit, may fall between two reads. Then what was read does not fit
 * together, and is read again; real damage does not go away. All other errors are final.
 */
#include "lib/api/api.h"

#define TRIES 5

static bool may_pass(int rc)
{
	return rc == -EUCLEAN || rc == -EBADMSG || rc == -ESTALE;
}

int bow_ask_again(struct bowimg_disk *dev, bool in_use, unsigned force, bow_question *question,
		  void *ctx, struct bowimg_error *err)
{
	int rc = 0;

	for (int i = 0; i < TRIES; i++) {
		bow_err_clear(err);
		rc = question(dev, in_use ? force | BOWIMG_FORCE_CHANGED : force, ctx, err);
		if (!in_use || !may_pass(rc))
			break;
	}
	return rc;
}
