/* SPDX-License-Identifier: MIT */
/* The serving engine over a checkpoint that was loaded. */
#ifndef BOW_ENGINE_OPEN_H
#define BOW_ENGINE_OPEN_H

#include "lib/log/log.h"

/*
 * As bowimg_open(). The engine takes over the block states in *cp, which is released as before;
 * cp->dev belongs to *out on success only.
 */
int bow_engine_open(struct bow_checkpoint *cp, const struct bowimg_open_options *opts,
		    struct bowimg_disk **out, struct bowimg_error *err);

/*
 * Take over what a process that was killed left, and detach, as if it were served for a moment. The
 * block states in *cp are gone then; cp->sb is what the image has now.
 */
int bow_engine_settle(struct bow_checkpoint *cp, struct bowimg_error *err);

/* Release everything but the device, writing nothing: what a killed process leaves behind. */
void bow_engine_free(struct bowimg_disk *disk);

#endif
