/* SPDX-License-Identifier: MIT */
/* Inside the before view of a served disk. */
#ifndef BOW_ENGINE_BEFORE_BEFORE_H
#define BOW_ENGINE_BEFORE_BEFORE_H

#include "lib/engine/engine.h"

/*
 * How far the index of the backups knows the log. A GIVE counts after its record: one may change
 * without the other.
 */
struct bow_knowledge {
	uint64_t end_seq, gives;
};

/* The index of the newest epoch, the only one that grows. */
static inline struct bow_backup_index *bow_before_newest(const struct bow_engine *img)
{
	return &img->backup_index[img->epochs - 1];
}

/* Read on in the log, unless another thread has done so since `seen`. -EUCLEAN: nothing new. */
int bow_before_read_on(struct bow_engine *img, struct bow_knowledge seen, struct bowimg_error *err);

#endif
