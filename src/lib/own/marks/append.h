/* SPDX-License-Identifier: MIT */
/* The end of the log of an image that no process serves. */
#ifndef BOW_OWN_APPEND_H
#define BOW_OWN_APPEND_H

#include "lib/checkpoint/checkpoint.h"

struct bow_append {
	struct bow_checkpoint *cp; /* loaded, and redone; its superblock goes along */
	struct bow_alloc alloc;
	struct bow_log log;
};

int bow_append_init(struct bow_append *a, struct bow_checkpoint *cp, struct bowimg_error *err);
void bow_append_release(struct bow_append *a);
/* From here on the image counts as in use; `incompat` bits are set, too. One barrier. */
int bow_append_begin(struct bow_append *a, uint32_t incompat, struct bowimg_error *err);
/* Find a block, also of the log's reserve if `reserved`. May grow the file. -ENOSPC. */
int bow_append_place(struct bow_append *a, bool reserved, uint64_t *blk, struct bowimg_error *err);
/* Write one record; it is durable when this returns. */
int bow_append_record(struct bow_append *a, const struct bow_entry *e, uint32_t n,
		      struct bowimg_error *err);
/* Note a clean end after bow_append_begin(), if rc is 0 or says that there was no room; returns rc.
 */
int bow_append_end(struct bow_append *a, int rc, struct bowimg_error *err);

#endif
