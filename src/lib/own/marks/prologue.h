/* SPDX-License-Identifier: MIT */
/* What a return to a mark writes into the log: prologue.c collects it, prologue_write.c writes it.
 */
#ifndef BOW_OWN_PROLOGUE_H
#define BOW_OWN_PROLOGUE_H

#include "lib/checkpoint/checkpoint.h"

struct bow_new_prologue {
	const struct bow_checkpoint *now; /* as it was found */
	struct bow_checkpoint then;	  /* as it was at the mark, with places of now */
	uint32_t epoch;			  /* that the mark began */
	struct bow_entry *entries;	  /* the REVERT, whose dest is not known yet, comes first */
	size_t n, room;
	struct bow_segment_header mark_segment; /* that has the mark's record */
	struct bow_run *places; /* for its segments, in the order in which they are used */
	size_t n_places, room_places;
};

/*
 * Collect the entries and the places. All of it follows from what was loaded, so that running it
 * again writes over its own remains. -ENOMEM, -EUCLEAN. Release it in any case.
 */
int bow_prologue_collect(struct bow_new_prologue *p, const struct bow_checkpoint *now,
			 uint32_t epoch, struct bowimg_error *err);
void bow_prologue_release(struct bow_new_prologue *p);

/*
 * Find out how many segments and records it takes. *end_blk: how long the file must be, in blocks.
 * -ENOSPC: there is no room.
 */
int bow_prologue_plan(struct bow_new_prologue *p, uint64_t *end_blk, struct bowimg_error *err);
/* Write it; no barrier. *sb names its last segment then. *last_seq: its last record. */
int bow_prologue_write(struct bow_new_prologue *p, struct bow_super *sb, uint64_t *last_seq,
		       struct bowimg_error *err);

#endif
