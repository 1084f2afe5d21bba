/* SPDX-License-Identifier: MIT */
/*
 * Small runs of blocks that changed, read from both versions before the comparison asks for them:
 * where requests are slow and many can be in flight, one after the other would take most of its
 * time.
 */
#ifndef BOW_DIFF_EXT_AHEAD_H
#define BOW_DIFF_EXT_AHEAD_H

#include "bowimg/diff/diff.h"
#include "bowimg/diff/private.h"
#include "lib/ext/io.h"

struct bow_diff_ahead {
	struct bow_ext_piece *v[BOW_VERSIONS];
	uint8_t *data[BOW_VERSIONS];
	struct bow_ext_ahead known[BOW_VERSIONS]; /* for struct bow_ext_io */
};

/* Reads nothing on a disk that is near. -ENOMEM, -ECANCELED; it is released also then. */
int bow_diff_ahead_read(const struct bow_diff *d, struct bow_diff_ahead *a,
			struct bowimg_error *err);
void bow_diff_ahead_release(struct bow_diff_ahead *a);

#endif
