/* SPDX-License-Identifier: MIT */
/*
 * Runs of a patch that are compared with a disk, or written to it, together: by several threads
 * where requests are slow and many can be in flight, since runs may be small and far apart.
 */
#ifndef BOW_PATCH_BATCH_H
#define BOW_PATCH_BATCH_H

#include "bowimg.h"
#include "bowimg/patch/patch.h"

#define BOW_PATCH_BATCH 128u

struct bow_patch_item {
	struct bow_patch_run run;
	size_t at;	 /* where its content is in `after` */
	uint64_t now;	 /* what the disk has there, as run.before */
	bool unexpected; /* it was not written, because that is not what was before */
};

struct bow_patch_batch {
	unsigned depth; /* threads */
	struct bow_patch_item items[BOW_PATCH_BATCH];
	uint32_t n;
	size_t used;	      /* of `after` */
	uint8_t *after, *now; /* `depth` runs each; a thread has its own part of `now` */
	bowimg_disk *disk;    /* in bow_patch_batch_compare(), _write() */
};

/* -ENOMEM. It is released also then. */
int bow_patch_batch_init(struct bow_patch_batch *b, unsigned depth, struct bowimg_error *err);
void bow_patch_batch_release(struct bow_patch_batch *b);

/* False: it is full, and has to be dealt with and emptied first. */
bool bow_patch_batch_add(struct bow_patch_batch *b, const struct bow_patch_run *run,
			 const void *after);
void bow_patch_batch_empty(struct bow_patch_batch *b);

/* Set `now` of each run. */
int bow_patch_batch_compare(struct bow_patch_batch *b, bowimg_disk *disk, struct bowimg_error *err);

/* Write each run, unless the disk does not have there what was before. */
int bow_patch_batch_write(struct bow_patch_batch *b, bowimg_disk *disk, struct bowimg_error *err);

#endif
