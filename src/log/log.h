/* SPDX-License-Identifier: MIT */
/*
 * The log: where its blocks come from (alloc.c), writing it (append.c), reading one segment
 * (segment.c), walking it from the newest entry to the oldest while following blocks that moved
 * (walk.c), what it says about every block (load.c), and where each original is (origins.c).
 */
#ifndef BOW_LOG_H
#define BOW_LOG_H

#include <stdatomic.h>

#include "device/device.h"
#include "format/format.h"
#include "maps/blocks.h"
#include "maps/rangemap.h"

/* ---- alloc.c: blocks for backups, segments, the map and block 0's copies -------------------- */

/*
 * Free blocks are handed out zone by zone from the end of the image towards its front, ascending
 * inside a zone: backups stay sequential, and far from where a file system likes to write next.
 * Tail blocks (past the image's end) are handed out in order; the file must be grown before.
 */
struct bow_alloc {
	struct bow_blocks *blocks;
	uint64_t free_blk;   /* FREE blocks, all of which can be handed out */
	uint64_t next, zone; /* where to look next; the zone that is being used up */
	uint64_t tail_next;  /* next unused tail block */
	uint64_t tail_end;   /* the file is grown up to here */
};

void bow_alloc_init(struct bow_alloc *a, struct bow_blocks *blocks, uint64_t tail_next,
		    uint64_t tail_end);

/*
 * Mark a run of at most `most` FREE blocks HELD; returns its length, 0 if there is none.
 * `least`: shorter runs are skipped. Cannot fail for memory where the leaves are reserved; else
 * such a run counts as none.
 */
uint64_t bow_alloc_free_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start);

/* The same from the tail, up to tail_end. */
uint64_t bow_alloc_tail_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start);

/* Mark FREE blocks LIVE (TAKE) / undo that. The blocks must be in the expected state. */
void bow_alloc_take(struct bow_alloc *a, uint64_t start, uint64_t n);
void bow_alloc_untake(struct bow_alloc *a, uint64_t start, uint64_t n);

/* ---- append.c ------------------------------------------------------------------------------- */

/* Write the superblock (sector 0). The caller orders it with barriers. */
int bow_super_write(struct bow_dev *dev, struct bow_super *sb, struct bowimg_error *err);

/*
 * The end of the log. Records are strictly serial: after bow_log_append() the caller must pass a
 * barrier and call bow_log_settle() before the next append (rule 1; asserted).
 */
struct bow_log {
	struct bow_dev *dev;
	struct bow_super *sb; /* names the segment; changed at a switch */
	uint32_t sector_size;
	uint32_t pos; /* where in the segment the next record goes, in units of 512 bytes */
	uint64_t next_seq;
	bool unsettled;
	struct bow_segment_header newest; /* of the segment being written */
	uint8_t *buf; /* one record of the largest size, or one segment's zeros */
};

int bow_log_init(struct bow_log *log, struct bow_dev *dev, struct bow_super *sb,
		 uint32_t sector_size); /* an empty log; -ENOMEM */
void bow_log_release(struct bow_log *log);

/* How many entries the next record can take in the current segment. */
uint32_t bow_log_room(const struct bow_log *log);

/* Entries that a sector of the log holds at least, however records are split. */
uint32_t bow_log_unit_entries(const struct bow_log *log);

/* Write one record of n <= bow_log_room() entries. */
int bow_log_append(struct bow_log *log, const struct bow_entry *e, uint32_t n,
		   struct bowimg_error *err);
void bow_log_settle(struct bow_log *log);

/*
 * Write the header of a fresh segment at [start, start + len) over zeros. Nothing names it yet:
 * the caller passes a barrier, then bow_log_use_segment() changes *sb for him to write (rule 5).
 * A segment that got no record is left out of the chain, so that the numbers in it always rise.
 */
int bow_log_write_segment(struct bow_log *log, uint64_t start_blk, uint32_t len_blk,
			  struct bowimg_error *err);
void bow_log_use_segment(struct bow_log *log, uint64_t start_blk, uint32_t len_blk);

/* ---- segment.c ------------------------------------------------------------------------------ */

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

/* What the one that points to a segment knows of it. */
struct bow_segment_ref {
	uint64_t start_blk;
	uint32_t len_blk;
	uint64_t first_seq;
	uint64_t end_seq; /* first number of the next newer segment; 0: this is the newest */
};

/*
 * Parse s->bytes, len_blk blocks read from where the segment is now. -EUCLEAN/-EBADMSG: not the
 * segment that `ref` means, ends early, or holds a valid record after an invalid one (rule 9).
 */
int bow_segment_parse(struct bow_segment *s, const struct bow_segment_ref *ref,
		      const struct bow_super *sb, struct bowimg_error *err);

/* ---- walk.c --------------------------------------------------------------------------------- */

/* A COPY of the last record whose dest does not hold the data but whose source does. */
struct bow_redo {
	uint64_t source_blk, dest_blk;
	uint32_t count_blk;
};

struct bow_walk {
	struct bow_dev *dev;
	const struct bow_super *sb;
	/*
	 * For a log that grows meanwhile, set before bow_walk_run(): only records below end_seq (0:
	 * the log's own end), all of which are complete, and not those below from_seq.
	 */
	uint64_t end_seq, from_seq;
	uint64_t image_blk, end_blk; /* limits for sources and dests */
	struct bow_rangemap *cur;    /* where moved blocks are now, as of the entry being visited */
	struct bow_segment segment;
	uint8_t *buf; /* BOW_COPY_MAX_BLK blocks for the visitor */
	struct bow_redo *redo;
	uint32_t redos;
	struct bow_segment_header newest;
	uint64_t next_seq; /* after the newest record */
	uint32_t
		next_pos; /* where in the newest segment the next one goes, in units of 512 bytes */
	uint64_t entries;
	uint64_t sequence; /* of the record being visited */
	bool last_record;  /* the entry being visited is in the newest record */
};

/* What is done with each segment and entry; newest first. A non-zero return ends the walk. */
struct bow_visitor {
	/* The segment was read; [start, start + n) are pieces of where its blocks are now. */
	int (*segment_piece)(void *ctx, struct bow_walk *w, uint64_t start_blk, uint64_t n,
			     struct bowimg_error *err);
	int (*entry)(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		     struct bowimg_error *err);
	void *ctx;
};

/*
 * Visit the whole log. In state CHECKPOINT the newest record's copies are checked first, and those
 * that a power cut took are treated as not moved and listed in w->redo (rule 9). The walk is the
 * caller's to release, also after an error. -EUCLEAN, -EBADMSG: damaged.
 */
int bow_walk_init(struct bow_walk *w, struct bow_dev *dev, const struct bow_super *sb,
		  struct bowimg_error *err);
int bow_walk_run(struct bow_walk *w, const struct bow_visitor *v, struct bowimg_error *err);
void bow_walk_release(struct bow_walk *w);

/* Where the block at `blk` (a dest) is now, as of the entry being visited; returns the run. */
uint64_t bow_walk_locate(const struct bow_walk *w, uint64_t blk, uint64_t n, uint64_t *now);

/* Read what was put at [blk, blk + n) into buf, piece by piece. */
int bow_walk_read(const struct bow_walk *w, uint64_t blk, uint64_t n, void *buf,
		  struct bowimg_error *err);

/* Is this COPY of the last record one that never reached its dest? */
bool bow_walk_is_redo(const struct bow_walk *w, const struct bow_entry *e);

/* ---- load.c --------------------------------------------------------------------------------- */

/* An open checkpoint, as the log tells it. */
struct bow_checkpoint {
	struct bow_dev *dev;
	struct bow_super sb;
	struct bow_blocks blocks;
	struct bow_bitmap *kept; /* where the log, the map and block 0's copies are now */
	uint64_t original0_blk;	 /* where block 0's original is now */
	uint64_t original0_hash;
	uint64_t tail_next; /* first tail block that nothing uses */
	struct bow_segment_header newest;
	uint64_t next_seq;
	uint32_t next_pos;
	uint64_t entries, changed_blk, backup_blk, log_blk;
	struct bow_redo *redo;
	uint32_t redos;
};

/*
 * Read the whole log into *cp (zero-filled by the caller except dev and sb) and check it against
 * the free map and the state table. Release it with bow_checkpoint_release() in any case.
 */
int bow_checkpoint_load(struct bow_checkpoint *cp, struct bowimg_error *err);
void bow_checkpoint_release(struct bow_checkpoint *cp);

/* ---- origins.c ------------------------------------------------------------------------------ */

enum bow_origin_kind {
	BOW_ORIGIN_IN_PLACE, /* no entry names the block: it was not overwritten */
	BOW_ORIGIN_ZEROS,    /* it was all zeros */
	BOW_ORIGIN_AT,	     /* in a backup */
};

/* What one COPY entry saved: its hash covers all of it. */
struct bow_backup {
	uint64_t source_blk, hash;
	uint64_t from_blk; /* where it begins; it may have moved apart */
	uint32_t count_blk;
};

/* A run of blocks whose originals are side by side, in the backup that one entry made. */
struct bow_origin {
	uint64_t source_blk;
	uint64_t at_blk; /* BOW_NO_BLK: they were all zeros, for one entry or many */
	uint64_t hash;
	uint32_t count_blk;
	uint8_t skip_blk;    /* of the entry, before this run */
	uint8_t entry_blk;   /* all of the entry */
	atomic_bool checked; /* the hash matched */
};

struct bow_origin_level {
	struct bow_origin *runs; /* sorted by source */
	size_t n;
};

/* Each level is at least twice as long as the next, so that there are few. */
#define BOW_ORIGIN_LEVELS 64u

/*
 * Where the originals of used blocks are, for reading them in any order: sorted runs of 32 bytes.
 * Their number is bounded by that of the log's entries. Zero-filled at first; thread safety is the
 * caller's.
 */
struct bow_origins {
	struct bow_origin_level level[BOW_ORIGIN_LEVELS];
	unsigned levels;
	struct bow_origin *fresh; /* being collected, in no order */
	size_t n_fresh, room_fresh;
	struct bow_rangemap *moved; /* backups that moved since they were noted: where to */
	uint64_t end_seq; /* every record below this is accounted for; 0: none was read yet */
};

/*
 * Add what the records from o->end_seq on say; the caller has prepared the walk, may have set
 * w->end_seq, and releases it. After an error *o must be released. -ENOMEM, -EUCLEAN, -EBADMSG.
 */
int bow_origins_read(struct bow_origins *o, struct bow_walk *w, struct bowimg_error *err);

/* Add to *o what `more` holds: the next records. Empties `more` on success. -ENOMEM: as before. */
int bow_origins_absorb(struct bow_origins *o, struct bow_origins *more, uint64_t image_blk);

/*
 * How many blocks from blk on (at most n, at least 1) have the same kind of answer, for AT at
 * consecutive places from *at on.
 */
uint64_t bow_origins_get(const struct bow_origins *o, uint64_t blk, uint64_t n,
			 enum bow_origin_kind *kind, uint64_t *at);

/* The backup that blk's original is in, unless it was checked already or there is none. */
bool bow_origins_unchecked(const struct bow_origins *o, uint64_t blk, struct bow_backup *b);
/* It matched its hash. May be called while others ask. */
void bow_origins_checked(const struct bow_origins *o, const struct bow_backup *b);

void bow_origins_release(struct bow_origins *o);

#endif
