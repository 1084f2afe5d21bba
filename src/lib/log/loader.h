/* SPDX-License-Identifier: MIT */
/* Inside the loading of a log: load.c collects, load_end.c checks and settles. */
#ifndef BOW_LOG_LOADER_H
#define BOW_LOG_LOADER_H

#include "lib/log/log.h"

struct bow_loader {
	struct bow_checkpoint *cp;
	uint64_t upto_seq; /* entries of later records say nothing about states */
	struct bow_epochs epochs;
	bool behind_mark;	  /* the newest mark was met: what comes is older */
	struct bow_bitmap *live;  /* free blocks that the file system took since the newest mark */
	struct bow_bitmap *used;  /* ... and before it */
	struct bow_bitmap *known; /* a newer entry decided whether the file system has it */
	struct bow_bitmap *must;  /* was saved in a later epoch, so it must be a used block */
	struct bow_bitmap *decided; /* a newer entry decided whether it reads as zeros */
	bool original0;
};

/* Set the bits of a run that are clear in `unless`. -ENOMEM. */
int bow_set_unless(struct bow_bitmap *map, const struct bow_bitmap *unless, uint64_t start,
		   uint64_t n);
/* bowimg holds [blk, blk + n), unless the file system took it over later. -ENOMEM. */
int bow_loader_hold(struct bow_loader *l, uint64_t blk, uint64_t n);
/* A part of the log, of the map, or block 0's copy is here now. -EUCLEAN: so is another; -ENOMEM.
 */
int bow_loader_keep(struct bow_checkpoint *cp, uint64_t blk, uint64_t n, struct bowimg_error *err);
/* The log was walked to its beginning: check everything, and make it the checkpoint's. */
int bow_loader_end(struct bow_loader *l, struct bowimg_error *err);

#endif
