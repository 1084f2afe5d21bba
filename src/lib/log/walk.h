/* SPDX-License-Identifier: MIT */
/*
 * Reading the log: one segment (segment.c), all of them from the newest entry to the oldest while
 * following blocks that moved (walk.c, prologue.c), the newest record, which may be torn
 * (last_record.c), and the free map, which the oldest ones hold (map_pieces.c).
 */
#ifndef BOW_LOG_WALK_H
#define BOW_LOG_WALK_H

#include "lib/blocks/blocks.h"
#include "lib/blocks/rangemap.h"
#include "lib/disk/disk.h"
#include "lib/format/format.h"

/* ---- segment.c ------------------------------------------------------------------- */

/* One segment in memory, its records found and checked. */
struct bow_segment {
	struct bow_segment_header header;
	uint8_t *bytes;	     /* BOW_SEGMENT_MAX_BLK blocks, allocated once */
	uint32_t *record_at; /* byte offset of each record */
	uint32_t records;
	uint32_t next_pos; /* where the next record would go, in units of 512 bytes */
	uint64_t last_seq; /* first_seq - 1 when it holds no record */
};

int bow_segment_init(struct bow_segment *s); /* -ENOMEM */
void bow_segment_release(struct bow_segment *s);

/* What the pointer to a segment says about it. */
struct bow_segment_ref {
	uint64_t start_blk;
	uint32_t len_blk;
	uint64_t first_seq;
	uint64_t end_seq; /* first number that is not of this one; 0: this is the newest */
};

/*
 * Parse s->bytes, len_blk blocks read from the segment's place. -EUCLEAN/-EBADMSG: it is not the
 * segment that `ref` means, ends early, or holds a valid record after an invalid one (rule 9).
 */
int bow_segment_parse(struct bow_segment *s, const struct bow_segment_ref *ref,
		      const struct bow_super *sb, struct bowimg_error *err);

/* ---- walk.c ---------------------------------------------------------------------- */

/* What a return to a mark wrote into the log about the time since that mark; see prologue.c. */
struct bow_prologue {
	struct bow_run *froms; /* of each PLACE */
	size_t n, room;
	struct bow_rangemap *noted; /* where these are now */
	uint64_t last_seq;	    /* newest record with a PLACE; 0: none was met */
	uint64_t others_seq;	    /* oldest record that cannot be a prologue's; 0: none was met */
	uint64_t mark_seq; /* the mark it returns to, whose record is the next older one; or 0 */
};

/* A COPY of the last record whose dest does not hold the data but whose source does. */
struct bow_redo {
	uint64_t source_blk, dest_blk;
	uint32_t count_blk;
};

struct bow_walk {
	struct bowimg_disk *dev;
	const struct bow_super *sb;
	/*
	 * For a log that grows meanwhile; set before bow_walk_run(). Only records from from_seq on
	 * and below end_seq (0: the log's own end) are visited; all of them must be complete.
	 */
	uint64_t end_seq, from_seq;
	uint64_t image_blk, end_blk; /* limits for sources and dests */
	struct bow_rangemap *cur;    /* where moved blocks are now, as of the entry being visited */
	struct bow_bitmap *put;	     /* where segments and entries visited so far put something */
	struct bow_bitmap *given;    /* given back by an entry visited so far; TAKE must follow */
	struct bow_segment segment;
	uint8_t *buf;	       /* BOW_COPY_MAX_BLK blocks for the visitor */
	const uint8_t *record; /* being visited, and which of its entries */
	uint32_t index;
	struct bow_map_ahead *map_ahead; /* map_pieces.c's; NULL: no MAP_BITS was met */
	struct bow_prologue prologue;
	struct bow_redo *redo;
	uint32_t redos;
	uint64_t segments; /* visited so far */
	struct bow_segment_header newest;
	uint64_t next_seq; /* after the newest record */
	uint32_t
		next_pos; /* where in the newest segment the next one goes, in units of 512 bytes */
	uint64_t entries;
	uint64_t sequence; /* of the record being visited */
	bool last_record;  /* the entry being visited is in the newest record */
};

/* Called for each segment and entry, newest first. A non-zero return ends the walk. */
struct bow_visitor {
	/* The segment was read; its blocks are now in pieces [start, start + n). */
	int (*segment_piece)(void *ctx, struct bow_walk *w, uint64_t start_blk, uint64_t n,
			     struct bowimg_error *err);
	int (*entry)(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err);
	void *ctx;
	/* A mark's record was reached, before its entries are visited; `e` is the MARK. */
	int (*mark)(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		    struct bowimg_error *err);
};

/*
 * Visit the whole log. In state CHECKPOINT the newest record's copies are checked first; copies
 * that a power cut lost count as not moved and are listed in w->redo (rule 9). The caller releases
 * the walk, also after an error. -EUCLEAN, -EBADMSG: the log is damaged.
 */
int bow_walk_init(struct bow_walk *w, struct bowimg_disk *dev, const struct bow_super *sb,
		  struct bowimg_error *err);
int bow_walk_run(struct bow_walk *w, const struct bow_visitor *v, struct bowimg_error *err);
void bow_walk_release(struct bow_walk *w);

/*
 * Finds where `blk` (a dest) is now, as of the entry being visited; returns the run's length. A run
 * does not cross the image's end.
 */
uint64_t bow_walk_locate(const struct bow_walk *w, uint64_t blk, uint64_t n, uint64_t *now);

/* Read the content that was put at [blk, blk + n) into buf, piece by piece. */
int bow_walk_read(const struct bow_walk *w, uint64_t blk, uint64_t n, void *buf,
		  struct bowimg_error *err);

/* Something was put at [blk, blk + n): -EUCLEAN if something else is there already. */
int bow_walk_put(struct bow_walk *w, uint64_t blk, uint64_t n, struct bowimg_error *err);
/* The file system gave the blocks back, or took them. -EUCLEAN: given back twice. */
int bow_walk_given(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err);
int bow_walk_taken(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err);

/* Did this COPY of the last record never reach its dest? */
bool bow_walk_is_redo(const struct bow_walk *w, const struct bow_entry *e);

/* ---- last_record.c: for walk.c --------------------------------------------------- */

/*
 * Check the copies of the newest record, whose entries are inside the image. Those that never
 * reached their dests are listed in w->redo. -EBADMSG: one is neither there nor at its source.
 */
int bow_walk_check_copies(struct bow_walk *w, const uint8_t *record, struct bowimg_error *err);

/* ---- prologue.c: returns to marks, for walk.c ------------------------------------ */

/* Check what kinds of entries are in this record, before they are visited. -EUCLEAN. */
int bow_prologue_record(struct bow_walk *w, const uint8_t *record, struct bowimg_error *err);
/* Note a PLACE. */
int bow_prologue_place(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err);
/* All records of a segment were visited: what it began with is behind us. */
int bow_prologue_leave(struct bow_walk *w, struct bowimg_error *err);

/* ---- map_pieces.c ---------------------------------------------------------------- */

/*
 * Mark the blocks that a MAP_RUN or MAP_BITS entry calls free; the entry is the one being visited.
 * -EUCLEAN: another piece of the map names the same block, or this one names none; -EBADMSG:
 * damaged; -ENOMEM.
 */
int bow_walk_map_piece(struct bow_walk *w, const struct bow_entry *e, struct bow_bitmap *free_map,
		       struct bowimg_error *err);
void bow_map_ahead_free(struct bow_map_ahead *ahead);

#endif
