/* SPDX-License-Identifier: MIT */
/*
 * The log: where its blocks come from (alloc.c), writing it (append.c), reading it (walk.h), the
 * state of every block (load.c), the place of each original (backup_index.c, backup_places.c), and
 * what else is known of a disk as it was (past.c).
 */
#ifndef BOW_LOG_LOG_H
#define BOW_LOG_LOG_H

#include <stdatomic.h>

#include "lib/disk/disk.h"
#include "lib/format/format.h"
#include "lib/blocks/blocks.h"
#include "lib/blocks/rangemap.h"
#include "lib/log/walk.h"

/* ---- alloc.c: blocks for backups, segments, the map and block 0's copies --------- */

/*
 * Free blocks are handed out zone by zone from the end of the image towards its front, ascending
 * inside a zone: backups stay sequential, and far from where a file system likes to write next.
 * Tail blocks (past the image's end) are handed out in order, those first that a return to a mark
 * left unused between others; the file must be grown before.
 */
struct bow_alloc {
	struct bow_blocks *blocks;
	uint64_t free_blk;    /* FREE blocks, all of which can be handed out */
	uint64_t next, zone;  /* where to look next; the zone that is being used up */
	uint64_t tail_next;   /* next tail block behind all that are used */
	uint64_t tail_end;    /* the file is grown up to here */
	struct bow_run *gaps; /* unused tail blocks before tail_next, ascending */
	size_t n_gaps, next_gap;
	uint64_t gap_blk; /* blocks in those that are left */
};

void bow_alloc_init(struct bow_alloc *a, struct bow_blocks *blocks, uint64_t tail_next,
		    uint64_t tail_end);

/*
 * Marks a run of at most `most` FREE blocks HELD, but skips runs shorter than `least`. Returns its
 * length, 0 if there is none. Memory cannot run out if the leaves are reserved; otherwise a run
 * without memory counts as none.
 */
uint64_t bow_alloc_free_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start);

/*
 * Find the gaps of the tail, in which `used` has what is in use, each block mapped to itself. Does
 * nothing if used is NULL. -ENOMEM. Release with bow_alloc_release().
 */
int bow_alloc_find_gaps(struct bow_alloc *a, const struct bow_rangemap *used);
void bow_alloc_release(struct bow_alloc *a);

/* Returns how many blocks of the tail can be handed out before it must grow. */
uint64_t bow_alloc_tail_left(const struct bow_alloc *a);

/* The same as bow_alloc_free_run() from the tail, up to tail_end. */
uint64_t bow_alloc_tail_run(struct bow_alloc *a, uint64_t least, uint64_t most, uint64_t *start);

/* Mark FREE blocks LIVE (TAKE), or undo that. The blocks must be in the expected state. */
void bow_alloc_take(struct bow_alloc *a, uint64_t start, uint64_t n);
void bow_alloc_untake(struct bow_alloc *a, uint64_t start, uint64_t n);

/* ---- append.c -------------------------------------------------------------------- */

/* Write the superblock (sector 0). The caller orders it with barriers. */
int bow_super_write(struct bowimg_disk *dev, struct bow_super *sb, struct bowimg_error *err);

/*
 * The end of the log. Records are strictly serial: after bow_log_append() the caller must pass a
 * barrier and call bow_log_settle() before the next append (rule 1; asserted).
 */
struct bow_log {
	struct bowimg_disk *dev;
	struct bow_super *sb; /* names the segment; changed at a switch */
	uint32_t sector_size;
	uint32_t pos; /* where in the segment the next record goes, in units of 512 bytes */
	uint64_t next_seq;
	bool unsettled;
	uint64_t cut_seq; /* the next segment ends the one before it at this number; 0: it does not
			   */
	struct bow_segment_header newest; /* of the segment being written */
	uint8_t *buf; /* one record of the largest size, or one segment's zeros */
};

int bow_log_init(struct bow_log *log, struct bowimg_disk *dev, struct bow_super *sb,
		 uint32_t sector_size); /* an empty log; -ENOMEM */
void bow_log_release(struct bow_log *log);

/* Returns how many entries the next record can take in the current segment. */
uint32_t bow_log_room(const struct bow_log *log);

/* Returns how many entries a sector of the log holds at least, however records are split. */
uint32_t bow_log_unit_entries(const struct bow_log *log);

/*
 * A segment that was left before it had a record is no part of the log any more. Without its header
 * its blocks hold zeros, as the guest reads them. Call it when the superblock names the next one,
 * after the barrier; pass another before these blocks are moved.
 */
int bow_log_wipe_header(struct bowimg_disk *dev, const struct bow_segment_header *h,
			struct bowimg_error *err);
/* Write one record of n <= bow_log_room() entries. */
int bow_log_append(struct bow_log *log, const struct bow_entry *e, uint32_t n,
		   struct bowimg_error *err);
void bow_log_settle(struct bow_log *log);

/*
 * Write the header of a fresh segment at [start, start + len) over zeros. Nothing names it yet: the
 * caller passes a barrier; then bow_log_use_segment() changes *sb, which the caller writes (rule
 * 5). A segment without a record is left out of the chain, so that the numbers in it always rise.
 */
int bow_log_write_segment(struct bow_log *log, uint64_t start_blk, uint32_t len_blk,
			  struct bowimg_error *err);
void bow_log_use_segment(struct bow_log *log, uint64_t start_blk, uint32_t len_blk);

/* ---- load.c ---------------------------------------------------------------------- */

/* The time from prepare, or from a mark, to the next mark or until now. */
struct bow_epoch {
	uint64_t mark_seq;		     /* number of the mark's record; 0: prepare */
	int64_t made_at;		     /* seconds since the epoch */
	char name[BOWIMG_MARK_NAME_MAX + 1]; /* "": prepare, or deleted */
	struct bow_bitmap *saved; /* used blocks that were saved; NULL if there is no mark */
	uint64_t backup_blk;
	uint64_t block0_blk, block0_hash; /* block 0 when it began: where that is now */
};

/* An open checkpoint, as loaded from the log. */
struct bow_checkpoint {
	struct bowimg_disk *dev;
	struct bow_super sb;
	struct bow_blocks blocks; /* what was taken before the newest mark is used, not free */
	struct bow_bitmap *free0; /* the map of prepare; NULL without marks: blocks.free is it */
	struct bow_epoch *epochs; /* oldest first */
	uint32_t n_epochs;	  /* at least 1 once it is loaded */
	struct bow_bitmap *kept;  /* where the log, the map and block 0's copies are now */
	uint64_t original0_blk;	  /* where block 0's original is now */
	uint64_t original0_hash;
	struct bow_rangemap *tail; /* tail blocks that hold something; each is mapped to itself */
	uint64_t tail_next;	   /* first tail block that nothing behind it uses */
	struct bow_segment_header newest;
	uint64_t next_seq;
	uint32_t next_pos;
	uint64_t entries, gives, segments, changed_blk, backup_blk, log_blk;
	struct bow_redo *redo;
	uint32_t redos;
	uint64_t end_seq; /* set to read a log that grows meanwhile: as of a walk */
};

/*
 * Read the whole log into *cp (zero-filled by the caller except dev and sb), and check it against
 * the free map and the state table. Release it with bow_checkpoint_release() in any case.
 */
int bow_checkpoint_load(struct bow_checkpoint *cp, struct bowimg_error *err);
/*
 * The same as it was just behind record `seq`, but with things where they are now: states, kept,
 * tail and counts are of then, block 0's live copy counts as being where it is.
 */
int bow_checkpoint_load_at(struct bow_checkpoint *cp, uint64_t seq, struct bowimg_error *err);
void bow_checkpoint_release(struct bow_checkpoint *cp);
/* Load it again, by the superblock in *cp: what it names was changed. */
int bow_checkpoint_reload(struct bow_checkpoint *cp, struct bowimg_error *err);

/* The blocks that were free at prepare. */
const struct bow_bitmap *bow_checkpoint_free0(const struct bow_checkpoint *cp);

/* ---- epochs.c: marks as the log has them, for load.c ----------------------------- */

struct bow_epochs {
	struct bow_epoch *list; /* newest first while the log is walked */
	uint32_t n;
	struct bow_epoch now; /* being collected: it began before what was visited so far */
	uint64_t deleted[BOWIMG_MARKS_MAX]; /* UNMARKs whose mark was not met yet */
	uint32_t n_deleted;
	uint64_t block0_blk, block0_hash; /* of the mark whose record is being visited */
};

int bow_epochs_init(struct bow_epochs *e, uint64_t blocks); /* -ENOMEM */
void bow_epochs_release(struct bow_epochs *e);
/* A mark was met: the epoch that it began is complete, and an older one begins. */
int bow_epochs_mark(struct bow_epochs *e, uint64_t seq, const struct bow_entry *mark,
		    uint64_t blocks, struct bowimg_error *err);
int bow_epochs_unmark(struct bow_epochs *e, uint64_t seq, struct bowimg_error *err);
/* The log was walked to its beginning: *list has all epochs, the oldest first. */
int bow_epochs_end(struct bow_epochs *e, struct bow_epoch **list, uint32_t *n,
		   struct bowimg_error *err);

/* Returns the epoch in which the record with this number was written. */
uint32_t bow_epoch_of(const struct bow_checkpoint *cp, uint64_t seq);

/*
 * Which epoch tells what a block was when epoch `then` began: the oldest from then on that saved
 * it. Blocks that were free then (free_then) are told by none. Each block has one answer, so that
 * many epochs take no more room, and no more time to ask, than what they saved.
 */
struct bow_decisions {
	struct bow_bitmap **of; /* for each epoch, or NULL; all NULL: there is one, for all */
	uint32_t n;
};
int bow_decisions_init(struct bow_decisions *d, const struct bow_checkpoint *cp, uint32_t then,
		       const struct bow_bitmap *free_then); /* 0 or -ENOMEM */
void bow_decisions_release(struct bow_decisions *d);
/*
 * Does epoch `in`, which saved these blocks, tell what they were? Returns for how many blocks from
 * blk on (at least 1) the answer in *yes holds.
 */
uint64_t bow_decisions_get(const struct bow_decisions *d, uint32_t in, uint64_t blk, uint64_t n,
			   bool *yes);

/* How many blocks were saved in this epoch or a later one. -ENOMEM; else 0 and *blocks. */
int bow_epoch_changed(const struct bow_checkpoint *cp, uint32_t epoch, uint64_t *blocks);

/* Returns the epoch that the mark with this name began, or that of prepare (NULL). -ENODATA. */
int bow_epoch_find(const struct bow_checkpoint *cp, const char *name, uint32_t *epoch,
		   struct bowimg_error *err);

/* ---- backup_index.c -------------------------------------------------------------- */

enum bow_backup_kind {
	BOW_BACKUP_NONE,  /* no entry names the block: it was not overwritten */
	BOW_BACKUP_ZEROS, /* it was all zeros */
	BOW_BACKUP_AT,	  /* in a backup */
};

/* What one COPY entry saved: its hash covers all of it. */
struct bow_backup {
	uint64_t source_blk, hash;
	uint64_t from_blk; /* where it begins; it may have moved apart */
	uint32_t count_blk;
};

/* A run of blocks whose originals are side by side, in the backup that one entry made. */
struct bow_backup_place {
	uint64_t source_blk;
	uint64_t at_blk; /* BOW_NO_BLK: they were all zeros, for one entry or many */
	uint64_t hash;
	uint32_t count_blk;
	uint8_t skip_blk;    /* of the entry, before this run */
	uint8_t entry_blk;   /* all of the entry */
	atomic_bool checked; /* the hash matched */
};

struct bow_backup_index_level {
	struct bow_backup_place *runs; /* sorted by source */
	size_t n;
};

/* Each level is at least twice as long as the next, so that there are few. */
#define BOW_BACKUP_INDEX_LEVELS 64u

/*
 * The places of used blocks' originals, for reading in any order, as sorted runs of 32 bytes. Their
 * number is bounded by the number of the log's entries. Zero-filled at first; the caller locks.
 */
struct bow_backup_index {
	struct bow_backup_index_level level[BOW_BACKUP_INDEX_LEVELS];
	unsigned levels;
	struct bow_backup_place *fresh; /* being collected, in no order */
	size_t n_fresh, room_fresh;
	struct bow_rangemap *moved; /* backups that moved since they were noted: where to */
	uint64_t end_seq; /* every record below this is accounted for; 0: none was read yet */
	bool gives;	  /* one of the records last read gives blocks back */
};

/*
 * Add the records from the newest index's end_seq on to `o`, an index for each of n epochs, the
 * oldest first. The caller prepares the walk, may set w->end_seq, and releases the walk. After an
 * error all must be released. -ENOMEM, -EUCLEAN, -EBADMSG.
 */
int bow_backup_index_read(struct bow_backup_index *o, uint32_t n, struct bow_walk *w,
			  struct bowimg_error *err);

/*
 * Add `more`, which has the next records, to the newest of n epochs' indexes and empty it; where it
 * says that backups moved, it says so for all. On -ENOMEM everything is as before.
 */
int bow_backup_index_absorb(struct bow_backup_index *o, uint32_t n, struct bow_backup_index *more,
			    uint64_t image_blk);

void bow_backup_index_release(struct bow_backup_index *o);

/* ---- backup_places.c ------------------------------------------------------------- */

/* Finds where a backup is that was noted at *at; returns how many of n blocks are side by side. */
uint64_t bow_backup_index_follow(const struct bow_backup_index *o, uint64_t n, uint64_t *at);

/*
 * Returns how many blocks from blk on (at most n, at least 1) have the same kind of answer. AT
 * answers are at consecutive places from *at on.
 */
uint64_t bow_backup_index_get(const struct bow_backup_index *o, uint64_t blk, uint64_t n,
			      enum bow_backup_kind *kind, uint64_t *at);

/*
 * The same from several epochs, the oldest first: the first that has an answer gives it. *in: its
 * index, or NULL if there is none.
 */
uint64_t bow_backup_index_oldest(const struct bow_backup_index *o, uint32_t epochs, uint64_t blk,
				 uint64_t n, enum bow_backup_kind *kind, uint64_t *at,
				 const struct bow_backup_index **in);

/* Finds the backup that has blk's original; false if it was checked already or there is none. */
bool bow_backup_index_unchecked(const struct bow_backup_index *o, uint64_t blk,
				struct bow_backup *b);
/* The backup matched its hash. May be called while other threads ask. */
void bow_backup_index_checked(const struct bow_backup_index *o, const struct bow_backup *b);

/* ---- past.c: the disk as it was -------------------------------------------------- */

/* What is known of a disk as it was when an epoch began, beside its backups. */
struct bow_past {
	uint32_t epoch;
	uint64_t seq; /* what was logged up to this record was so already */
	const struct bow_bitmap
		*free; /* were free then; of the checkpoint if there is no own_free */
	struct bow_bitmap *own_free;
	struct bow_bitmap *zeros; /* read as zeros then, whatever was in them; NULL: none did */
};

/*
 * Find it out. Without a mark (epoch 0) it costs nothing; else the log is read once more. *past
 * must not be used longer than *cp. Release it in any case.
 */
int bow_past_load(struct bow_past *past, const struct bow_checkpoint *cp, uint32_t epoch,
		  struct bowimg_error *err);
void bow_past_release(struct bow_past *past);

/*
 * Were these blocks free; did they read as zeros? Returns for how many from blk on (at most n, at
 * least 1) both answers hold.
 */
uint64_t bow_past_run(const struct bow_past *past, uint64_t blk, uint64_t n, bool *was_free,
		      bool *zeros);

/* What bowimg_disk_get_info() says of the disk as it is (past NULL), or as it was. */
void bow_past_info(const struct bow_past *past, const struct bow_super *sb,
		   struct bowimg_disk_info *out);

/* Mark the blocks that records since then name: they may differ. */
int bow_past_changed(const struct bow_past *past, const struct bow_checkpoint *cp,
		     struct bow_bitmap *changed, struct bowimg_error *err);

#endif
