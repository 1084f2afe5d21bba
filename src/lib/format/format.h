/* SPDX-License-Identifier: MIT */
/*
 * The on-disk format: its magic numbers, offsets and sizes stand here and in this folder's .c
 * files, and nowhere else. Encoding and decoding go through byte access, never a struct over a
 * buffer. bowimg-format(5) is the normative description; keep both in step.
 */
#ifndef BOW_FORMAT_FORMAT_H
#define BOW_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bowimg.h"

#define BOW_BLOCK BOWIMG_BLOCK_SIZE
#define BOW_SUPER_BYTES 512u
#define BOW_NOTE_BYTES (BOW_BLOCK - BOW_SUPER_BYTES)
#define BOW_SEGMENT_HEADER_BYTES 512u
#define BOW_SEGMENT_MAX_BLK 256u
#define BOW_RECORD_HEADER_BYTES 32u
#define BOW_ENTRY_BYTES 32u
#define BOW_RECORD_MAX_ENTRIES 4095u
#define BOW_COPY_MAX_BLK 64u
#define BOW_MAP_LEAF_BLK 32768u /* blocks of the image per piece of the saved free map */
#define BOW_NO_BLK UINT64_MAX

/* ---- superblock (super.c): sector 0 while a checkpoint is open ------------------- */

enum bow_super_state {
	BOW_SUPER_CHECKPOINT = 1,
	BOW_SUPER_ROLLING_BACK = 2,
	BOW_SUPER_COMMITTING = 3,
	BOW_SUPER_FINISHING = 4,
};

#define BOW_SUPER_EXACT (1u << 0)	 /* rollback zeroes all free blocks again */
#define BOW_SUPER_ATTACHED (1u << 1)	 /* served, not detached since */
#define BOW_SUPER_STORE_TAIL (1u << 2)	 /* backups and log go past the end from the start */
#define BOW_SUPER_ON_FULL_TAIL (1u << 3) /* ... when the free blocks are used up */
#define BOW_SUPER_MTIME (1u << 4)	 /* mtime below is valid */
#define BOW_SUPER_UNDOING (1u << 5)	 /* FINISHING: ends a rollback (else a commit) */
#define BOW_SUPER_RESTORED (1u << 6)	 /* ROLLING_BACK: no backup is needed any more */

/* Features that a program must refuse if it does not know them. */
#define BOW_INCOMPAT_GIVE (1u << 0)  /* the log may give blocks back */
#define BOW_INCOMPAT_MARKS (1u << 1) /* it may have marks */

struct bow_super {
	uint8_t uuid[16];
	uint64_t seed; /* for every hash of this checkpoint; derived from the UUID, not stored */
	enum bow_super_state state;
	uint32_t flags;
	uint32_t incompat;   /* set, with a barrier, before the first entry that asks for it */
	uint64_t image_size; /* bytes the guest sees */
	uint64_t updates;    /* counts superblock writes */
	uint64_t live0_blk;  /* where block 0's live copy is now */
	uint64_t seg_blk;    /* newest log segment: where it was begun */
	uint32_t seg_len_blk;
	uint64_t seg_first_seq;
	uint64_t clean_seq; /* last sequence number at the last clean detach */
	int64_t mtime_sec;  /* the image's mtime at the last clean detach */
	uint32_t mtime_nsec;
	int64_t prepared_at; /* seconds since the epoch, for people */
	uint64_t free_total_blk;
	char free_source[16];
	uint64_t finish_list_blk;   /* FINISHING: first block of the list of ranges to zero */
	uint64_t finish_block0_blk; /* FINISHING: where block 0's final content waits */
	uint64_t finish_block0_hash;
	uint64_t target; /* ROLLING_BACK: to the mark whose record has this number; 0: to prepare */
};

void bow_super_set_uuid(struct bow_super *sb, const uint8_t uuid[16]);
void bow_super_encode(const struct bow_super *sb, uint8_t out[BOW_SUPER_BYTES]);

enum bow_decoded {
	BOW_DECODE_OK,
	BOW_DECODE_FOREIGN, /* the magic is not there */
	BOW_DECODE_DAMAGED, /* magic there, checksum or a field wrong */
	BOW_DECODE_NEWER,   /* version or incompatible feature unknown here */
};
enum bow_decoded bow_super_decode(const uint8_t in[BOW_SUPER_BYTES], struct bow_super *sb);

/* Returns how many blocks the image has, with a partial last one; the tail begins there. */
uint64_t bow_super_image_blk(const struct bow_super *sb);

/* Returns the bytes of [blk, blk + count): the last block of the image may be short. */
size_t bow_super_bytes(const struct bow_super *sb, uint64_t blk, uint64_t count_blk);

/* "xxxxxxxx-xxxx-..." */
void bow_uuid_text(const uint8_t uuid[16], char out[37]);

/* ---- note (note.c): sectors 1-7 while a checkpoint is open ----------------------- */

/* The plain text of the note; a pure function of the UUID. */
void bow_note_render(const struct bow_super *sb, char out[BOW_NOTE_BYTES]);

/* Are these bytes the note of a checkpoint? Then *uuid names it. */
bool bow_note_uuid(const uint8_t note[BOW_NOTE_BYTES], uint8_t uuid[16]);

/* ---- segment header (segment.c) -------------------------------------------------- */

struct bow_segment_header {
	uint32_t sector_size;
	uint64_t start_blk;
	uint32_t len_blk;
	uint64_t first_seq;
	uint64_t prev_blk; /* BOW_NO_BLK in the first segment */
	uint32_t prev_len_blk;
	uint64_t prev_first_seq;
	uint64_t prev_end; /* records of that segment from this number on do not count; 0: all do */
};
/* The header also carries a copy of what stays the same in the superblock. */
void bow_segment_encode(const struct bow_segment_header *h, const struct bow_super *sb,
			uint8_t out[BOW_SEGMENT_HEADER_BYTES]);
enum bow_decoded bow_segment_decode(const uint8_t in[BOW_SEGMENT_HEADER_BYTES],
				    const struct bow_super *sb, struct bow_segment_header *h);
/*
 * Is this the header of a log segment, of any checkpoint? Then *out becomes a superblock in state
 * CHECKPOINT whose newest segment this is; bow_super_decode() would accept it. ATTACHED and MTIME
 * are clear; live0_blk is 0 in a first segment.
 */
bool bow_segment_super_copy(const uint8_t in[BOW_SEGMENT_HEADER_BYTES], struct bow_super *out,
			    struct bow_segment_header *h);

/* ---- records and entries (log.c) ------------------------------------------------- */

/* As in bowimg-format(5), which calls ZERO_PENDING and ZERO_DONE "PROMISE" and "LIFT". */
enum bow_entry_type {
	BOW_ENTRY_COPY = 1,	    /* source's content is now (also) at dest */
	BOW_ENTRY_ZERO = 2,	    /* source, a used range, was all zeros; nothing saved */
	BOW_ENTRY_TAKE = 3,	    /* source, a free range, belongs to the file system now */
	BOW_ENTRY_ZERO_PENDING = 4, /* Z: source reads as zeros whatever the image holds */
	BOW_ENTRY_ZERO_DONE = 5,    /* Z ends: the image's content counts again */
	BOW_ENTRY_MAP_RUN = 6,	    /* free map: `dest` blocks from source on are free */
	BOW_ENTRY_MAP_BITS = 7, /* free map: bits of the leaf that begins at source are at dest */
	BOW_ENTRY_GIVE = 8,	/* source, a range that was taken, is free again, with Z */
	BOW_ENTRY_MARK = 9,	/* a mark; bow_mark_entry() */
	BOW_ENTRY_UNMARK = 10,	/* the mark whose record has the number in source has no name now */
	BOW_ENTRY_REVERT = 11,	/* back to mark source; the prologue ends with record dest */
	BOW_ENTRY_PLACE = 12,	/* what the log up to that mark has at source is at dest */
};
#define BOW_ENTRY_MOVE (1u << 0) /* COPY: source is a block bowimg held (relocation) */
#define BOW_ENTRY_HOLE (1u << 1) /* ZERO: source was a hole in the file */

struct bow_entry {
	uint8_t type, flags;
	uint32_t count_blk;
	uint64_t source_blk, dest_blk, hash;
};

/* Returns the bytes of a record with n entries, not rounded up to sectors. */
size_t bow_record_bytes(uint32_t n);
/*
 * Returns where the record after one of n entries at byte `at` of a segment begins. The first
 * record begins behind the header, each later one on a fresh logical sector, so that writing one
 * never rewrites another.
 */
size_t bow_record_end(size_t at, uint32_t n, uint32_t sector_size);
/* Returns how many entries fit into a record of this many bytes, at most the limit. */
uint32_t bow_record_fit(size_t bytes);
/* out: bow_record_bytes(n) bytes. */
void bow_record_encode(uint8_t *out, uint64_t seq, const struct bow_entry *e, uint32_t n,
		       uint64_t seed);
/* Does the magic of a record stand here? Reads 4 bytes. */
bool bow_record_begins(const uint8_t *in);
/* Does a record with this seed begin here and end within `bytes`? Sets its number and size. */
bool bow_record_decode(const uint8_t *in, size_t bytes, uint64_t seed, uint64_t *seq, uint32_t *n);
uint32_t bow_record_count(const uint8_t *record);
void bow_record_entry(const uint8_t *record, uint32_t i, struct bow_entry *e);

/*
 * A well-formed entry for an image with these limits? Ranges inside the image, dests inside the
 * image or the tail, counts bounded. *why: what is wrong.
 */
bool bow_entry_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		  const char **why);

/*
 * May bowimg park something at [blk, blk + count)? Not in block 0 or a partial last block, not
 * across the image's end, not past end_blk (end of the tail).
 */
bool bow_parking_ok(const struct bow_super *sb, uint64_t blk, uint64_t count, uint64_t end_blk);

const char *bow_entry_name(const struct bow_entry *e);

/* A mark's name fills the fields behind the count, which holds the time of its making. */
struct bow_entry bow_mark_entry(const char *name, uint32_t made_at);
void bow_mark_name(const struct bow_entry *e, char name[BOWIMG_MARK_NAME_MAX + 1]);

/* ---- finish list (plan.c) -------------------------------------------------------- */

struct bow_run {
	uint64_t start_blk, count_blk;
};
#define BOW_FINISH_RUNS 250u

/* One block of the chain of ranges to zero; next_blk is BOW_NO_BLK in the last. */
void bow_finish_encode(const struct bow_super *sb, const struct bow_run *runs, uint32_t n,
		       uint64_t next_blk, uint8_t out[BOW_BLOCK]);
bool bow_finish_decode(const uint8_t in[BOW_BLOCK], const struct bow_super *sb,
		       struct bow_run runs[BOW_FINISH_RUNS], uint32_t *n, uint64_t *next_blk);

/* The last block of a file while FINISHING: it tells of a tail that was not cut. */
struct bow_footer {
	uint64_t image_size;
	uint64_t block0_hash; /* of block 0's final content, seed 0 */
};
void bow_footer_encode(const struct bow_footer *f, uint8_t out[BOW_BLOCK]);
bool bow_footer_decode(const uint8_t in[BOW_BLOCK], struct bow_footer *f);

#endif
