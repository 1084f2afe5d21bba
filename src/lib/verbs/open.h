/* SPDX-License-Identifier: MIT */
/* Opening an image to do something with its checkpoint, of whatever kind. */
#ifndef BOW_VERBS_OPEN_H
#define BOW_VERBS_OPEN_H

#include "lib/verbs/kinds.h"

#define BOW_OPEN_TO_WRITE 1u /* pass a barrier first, and believe the page cache only after it */

/*
 * Release with bow_opened_release(), also after an error. -ESTALE: the image was changed behind our
 * back (unless BOWIMG_FORCE_CHANGED is in `force`).
 */
int bow_checkpoint_open(struct bowimg_disk *dev, unsigned how, unsigned force, struct bow_opened *o,
			struct bowimg_error *err);
void bow_opened_release(struct bow_opened *o);

#endif
