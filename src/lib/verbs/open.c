/* SPDX-License-Identifier: MIT */
/*
 * Opening an image. Rule 8: what a killed process left in the page cache, or a failed barrier
 * marked clean, is not yet true. A checkpoint that is clean was ended with a barrier that covers
 * everything before it, and that was read from the storage: only then is the cache believed.
 */
#include "lib/verbs/open.h"

#include <string.h>

int bow_checkpoint_open(struct bowimg_disk *dev, unsigned how, unsigned force, struct bow_opened *o,
			struct bowimg_error *err)
{
	struct bow_identity id;
	int rc = 0;

	memset(o, 0, sizeof(*o));
	if (how & BOW_OPEN_TO_WRITE)
		rc = bow_disk_flush(dev, err);
	if (!rc && how & BOW_OPEN_TO_WRITE)
		rc = bow_disk_drop_cache(dev, 0, BOW_BLOCK, err);
	if (!rc)
		rc = bow_identify(dev, &id, err);
	if (!rc && how & BOW_OPEN_TO_WRITE && !id.clean)
		rc = bow_disk_drop_cache(dev, 0, 0, err);
	if (rc)
		return rc;
	*o = (struct bow_opened){
		.dev = dev,
		.kind = id.kind,
		.state = id.state,
		.cut_only = id.cut_only,
		.cp = {.dev = dev, .sb = id.sb},
	};
	return o->kind->load ? o->kind->load(o, force, err) : 0;
}

void bow_opened_release(struct bow_opened *o)
{
	if (o->loaded)
		bow_checkpoint_release(&o->cp);
	o->loaded = false;
}
