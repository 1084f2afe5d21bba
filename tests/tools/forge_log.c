/* SPDX-License-Identifier: MIT */
/*
 * For the tests: a sparse image with an open checkpoint whose log says what no bowimg would write,
 * but every checksum is right. IMAGE is made anew.
 *
 *	forge_log IMAGE GIB KIND COUNT
 *
 * The first eighth of the image is used, the rest is free. KIND says what the log has, COUNT times:
 *
 *	zeros		ZERO of a used block, where the file is a hole
 *	zero-all	ZERO of COUNT used blocks in one entry
 *	shared		COPY of 64 used blocks, all to one place
 *	holes		COPY of 64 blocks from hole to hole, as zeros
 *	leaf-bits	MAP_BITS of one leaf, over and over
 *	pending-wide	ZERO_PENDING of nearly everything
 *	pending-leaf	ZERO_PENDING of one block in each leaf in turn
 *	take-leaf	TAKE of one block in each leaf in turn
 *	copy-leaf	COPY of a block in each leaf, from and to
 *	move-leaf	MOVE of a block in each leaf to another
 *	shuffle		MOVE of 64 blocks that had moved apart, again and again
 *	segments	segments of 256 blocks that begin at every block
 *	take-all	TAKE of all free blocks
 *	finish-loop	no log, but a list of ranges to zero whose end is its beginning
 *	finish-wide	the same, COUNT blocks that each name nearly all blocks
 *	tail-records	a segment full of what begins like a record
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/log/log.h"

#define LEAF BOW_MAP_LEAF_BLK
#define BATCH 4095u

struct forge {
	struct bowimg_disk *dev;
	struct bow_super sb;
	struct bow_log log;
	struct bowimg_error err;
	uint64_t blocks, used; /* the first free block */
	uint64_t next;	       /* where something real is put next: ascending from `used` */
	uint64_t segment;      /* of the log */
	uint64_t count;
	struct bow_entry batch[BATCH];
	uint32_t n;
};

static void die(const char *what, const struct forge *f)
{
	fprintf(stderr, "forge_log: %s: %s\n", what, f->err.message);
	exit(1);
}

static uint64_t room(struct forge *f, uint64_t n)
{
	f->next += n;
	return f->next - n;
}

static void switch_segment(struct forge *f)
{
	uint64_t start = room(f, BOW_SEGMENT_MAX_BLK);

	if (bow_log_write_segment(&f->log, start, BOW_SEGMENT_MAX_BLK, &f->err))
		die("segment", f);
	bow_log_use_segment(&f->log, start, BOW_SEGMENT_MAX_BLK);
}

static void flush(struct forge *f)
{
	const struct bow_entry *e = f->batch;

	while (f->n) {
		uint32_t k = bow_log_room(&f->log);

		if (!k) {
			switch_segment(f);
			continue;
		}
		k = (uint32_t)bow_min(k, f->n);
		if (bow_log_append(&f->log, e, k, &f->err))
			die("record", f);
		bow_log_settle(&f->log);
		e += k;
		f->n -= k;
	}
}

static void add(struct forge *f, struct bow_entry e)
{
	f->batch[f->n++] = e;
	if (f->n == BATCH)
		flush(f);
}

static void put(struct forge *f, uint64_t blk, const void *buf, size_t blocks)
{
	if (bow_disk_write(f->dev, buf, blocks * BOW_BLOCK, blk * BOW_BLOCK, &f->err))
		die("write", f);
}

static struct bow_entry mark(uint8_t type, uint64_t source, uint64_t n)
{
	return (struct bow_entry){.type = type, .source_blk = source, .count_blk = (uint32_t)n};
}

static struct bow_entry copy(struct forge *f, uint64_t from, uint64_t to, uint32_t n, uint8_t flags,
			     const void *data)
{
	return (struct bow_entry){
		.type = BOW_ENTRY_COPY,
		.flags = flags,
		.count_blk = n,
		.source_blk = from,
		.dest_blk = to,
		.hash = bow_hash(data, (size_t)n * BOW_BLOCK, f->sb.seed),
	};
}

static uint8_t filled[BOW_COPY_MAX_BLK * BOW_BLOCK], zeros[BOW_COPY_MAX_BLK * BOW_BLOCK];

/* ---- what the log says ----------------------------------------------------------- */

static void zero_blocks(struct forge *f)
{
	for (uint64_t i = 0; i < f->count; i++)
		add(f, mark(BOW_ENTRY_ZERO, 1 + 2 * i, 1));
}

static void zero_all(struct forge *f)
{
	add(f, mark(BOW_ENTRY_ZERO, 1, f->count));
}

static void shared(struct forge *f)
{
	uint64_t to = room(f, BOW_COPY_MAX_BLK);

	put(f, to, filled, BOW_COPY_MAX_BLK);
	for (uint64_t i = 0; i < f->count; i++)
		add(f, copy(f, 1 + 64 * i, to, BOW_COPY_MAX_BLK, 0, filled));
}

static void holes(struct forge *f)
{
	for (uint64_t i = 0; i < f->count; i++)
		add(f, copy(f, 1 + 64 * i, f->blocks / 2 + 64 * i, BOW_COPY_MAX_BLK, 0, zeros));
}

/* Prepare's own map comes first: this one is instead of it. */
static void leaf_bits(struct forge *f)
{
	struct bow_entry e = mark(BOW_ENTRY_MAP_BITS, f->used, 1);

	e.dest_blk = room(f, 1);
	put(f, e.dest_blk, filled, 1);
	e.hash = bow_hash(filled, BOW_BLOCK, f->sb.seed);
	for (uint64_t i = 0; i < f->count; i++)
		add(f, e);
}

static void pending_wide(struct forge *f)
{
	uint64_t most = bow_min(f->blocks - 2, UINT32_MAX);

	for (uint64_t i = 0; i < f->count; i++)
		add(f, mark(i & 1 ? BOW_ENTRY_ZERO_DONE : BOW_ENTRY_ZERO_PENDING, 1, most));
}

static uint64_t leaf_from(uint64_t i, uint64_t first, uint64_t end)
{
	uint64_t leaves = (end - first) / LEAF - 2;

	return first + LEAF + i % leaves * LEAF + 2 * (i / leaves) % LEAF;
}

static void leaf_marks(struct forge *f, uint8_t type, uint64_t first)
{
	for (uint64_t i = 0; i < f->count; i++)
		add(f, mark(type, leaf_from(i, first, f->blocks), 1));
}

static void pending_leaf(struct forge *f)
{
	leaf_marks(f, BOW_ENTRY_ZERO_PENDING, 0);
}

static void take_leaf(struct forge *f)
{
	leaf_marks(f, BOW_ENTRY_TAKE, f->blocks / 2);
}

static void copy_leaf(struct forge *f)
{
	for (uint64_t i = 0; i < f->count; i++) {
		uint64_t to = leaf_from(i, f->blocks / 2, f->blocks);

		add(f, copy(f, leaf_from(i, 0, f->used), to, 1, 0, zeros));
	}
}

static void move_leaf(struct forge *f)
{
	uint64_t middle = f->blocks / 2, quarter = middle + f->blocks / 4;

	for (uint64_t i = 0; i < f->count; i++)
		add(f, copy(f, leaf_from(i, middle, quarter), leaf_from(i, quarter, f->blocks), 1,
			    BOW_ENTRY_MOVE, zeros));
}

/* Going back: 64 blocks in 64 places, then each time all of them at once. */
static void shuffle(struct forge *f)
{
	uint64_t at = f->blocks / 2;

	for (uint64_t i = 0; i + 64 < f->count; i++, at += 64)
		add(f, copy(f, at, at + 64, 64, BOW_ENTRY_MOVE, zeros));
	for (uint64_t i = 0; i < 64; i++)
		add(f, copy(f, at + i, at + 64 + 2 * (63 - i), 1, BOW_ENTRY_MOVE, zeros));
}

static void take_all(struct forge *f)
{
	for (uint64_t s = f->blocks / 4; s < f->blocks; s += UINT32_MAX)
		add(f, mark(BOW_ENTRY_TAKE, s, bow_min(UINT32_MAX, f->blocks - s)));
}

/* Each with one record, and a header in each block; the newest is at the lowest place, and short.
 */
static void segments(struct forge *f)
{
	uint64_t start = room(f, f->count + BOW_SEGMENT_MAX_BLK), at = start + f->count;
	struct bow_entry e = mark(BOW_ENTRY_TAKE, f->blocks - 1, 1);

	flush(f);
	for (uint64_t i = 0; i < f->count; i++) {
		uint8_t block[BOW_BLOCK] = {0};
		struct bow_segment_header h = f->log.newest;

		h.prev_blk = h.start_blk;
		h.prev_len_blk = h.len_blk;
		h.prev_first_seq = h.first_seq;
		h.start_blk = --at;
		h.len_blk = i + 1 < f->count ? BOW_SEGMENT_MAX_BLK : 1;
		h.first_seq = f->log.next_seq;
		bow_segment_encode(&h, &f->sb, block);
		bow_record_encode(block + BOW_SEGMENT_HEADER_BYTES, f->log.next_seq++, &e, 1,
				  f->sb.seed);
		put(f, at, block, 1);
		f->log.newest = h;
	}
	f->sb.seg_blk = at;
	f->sb.seg_len_blk = f->log.newest.len_blk;
	f->sb.seg_first_seq = f->log.newest.first_seq;
}

/* Sectors with the head of a record of 4095 entries, and nothing else. */
static void tail_records(struct forge *f)
{
	static struct bow_entry e[BATCH];
	static uint8_t record[BOW_RECORD_HEADER_BYTES + BATCH * BOW_ENTRY_BYTES];
	uint64_t start;

	switch_segment(f);
	add(f, mark(BOW_ENTRY_TAKE, f->blocks - 1, 1));
	flush(f);
	start = f->sb.seg_blk * BOW_BLOCK;
	bow_record_encode(record, 1, e, BATCH, f->sb.seed + 1);
	for (uint64_t at = start + 4096; at < start + (1u << 20); at += 512)
		if (bow_disk_write(f->dev, record, 512, at, &f->err))
			die("write", f);
}

/* ---- a plan instead of a log ----------------------------------------------------- */

static void finish_lists(struct forge *f, bool loop)
{
	uint64_t first = room(f, f->count + 1), n = loop ? 1 : f->count;
	struct bow_run runs[BOW_FINISH_RUNS];
	uint8_t block[BOW_BLOCK];

	for (unsigned i = 0; i < BOW_FINISH_RUNS; i++)
		runs[i] = (struct bow_run){1 + (loop ? 2 * i : i), loop ? 1 : f->blocks - 1 - i};
	for (uint64_t i = 0; i < n; i++) {
		uint64_t next = i + 1 < n ? first + i + 1 : loop ? first : BOW_NO_BLK;

		bow_finish_encode(&f->sb, runs, loop ? 0 : BOW_FINISH_RUNS, next, block);
		put(f, first + i, block, 1);
	}
	put(f, first + f->count, filled, 1);
	f->sb.state = BOW_SUPER_FINISHING;
	f->sb.flags |= BOW_SUPER_UNDOING;
	f->sb.finish_list_blk = first;
	f->sb.finish_block0_blk = first + f->count;
	f->sb.finish_block0_hash = bow_hash(filled, BOW_BLOCK, f->sb.seed);
}

static void finish_loop(struct forge *f)
{
	finish_lists(f, true);
}

static void finish_wide(struct forge *f)
{
	finish_lists(f, false);
}

/* ---- the image ------------------------------------------------------------------- */

static const struct kind {
	const char *name;
	void (*make)(struct forge *f);
} kinds[] = {
	{"zeros", zero_blocks},
	{"zero-all", zero_all},
	{"shared", shared},
	{"holes", holes},
	{"leaf-bits", leaf_bits},
	{"pending-wide", pending_wide},
	{"pending-leaf", pending_leaf},
	{"take-leaf", take_leaf},
	{"copy-leaf", copy_leaf},
	{"move-leaf", move_leaf},
	{"shuffle", shuffle},
	{"segments", segments},
	{"take-all", take_all},
	{"finish-loop", finish_loop},
	{"finish-wide", finish_wide},
	{"tail-records", tail_records},
};

static const struct kind *find(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	fprintf(stderr, "forge_log: no kind '%s'\n", name);
	exit(2);
}

static void make_file(const char *path, uint64_t bytes, struct forge *f)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || close(fd) < 0) {
		perror(path);
		exit(1);
	}
	if (bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, NULL, &f->dev, &f->err))
		die("open", f);
}

/* Block 0's copies, and the free map in one run, as prepare writes them. */
static void begin(struct forge *f, bool map)
{
	static const uint8_t uuid[16] = {0x62, 0x6f, 0x77, 2};

	f->blocks = f->dev->size / BOW_BLOCK;
	f->used = f->blocks / 8 / LEAF * LEAF;
	f->next = f->used;
	bow_super_set_uuid(&f->sb, uuid);
	f->sb.state = BOW_SUPER_CHECKPOINT;
	f->sb.image_size = f->dev->size;
	f->sb.prepared_at = 1;
	memcpy(f->sb.free_source, "map", 4);
	f->sb.free_total_blk = f->blocks - f->used;
	f->sb.flags = BOW_SUPER_EXACT;
	if (bow_log_init(&f->log, f->dev, &f->sb, 512))
		die("log", f);
	put(f, room(f, 1), filled, 1);
	f->sb.live0_blk = room(f, 1);
	put(f, f->sb.live0_blk, filled, 1);
	switch_segment(f);
	add(f, copy(f, 0, f->used, 1, 0, filled));
	if (map)
		add(f, (struct bow_entry){.type = BOW_ENTRY_MAP_RUN,
					  .source_blk = f->used,
					  .dest_blk = f->blocks - f->used});
}

static void end(struct forge *f)
{
	char note[BOW_NOTE_BYTES];

	flush(f);
	f->sb.clean_seq = f->log.next_seq - 1;
	bow_note_render(&f->sb, note);
	if (bow_disk_write(f->dev, note, sizeof(note), BOW_SUPER_BYTES, &f->err) ||
	    bow_disk_read_first(f->dev, &f->err) || bow_super_write(f->dev, &f->sb, &f->err) ||
	    bow_disk_flush(f->dev, &f->err) || bow_disk_close(f->dev, &f->err))
		die("superblock", f);
	bow_log_release(&f->log);
}

int main(int argc, char **argv)
{
	static struct forge f;
	const struct kind *kind;

	if (argc != 5)
		return 2;
	kind = find(argv[3]);
	f.count = strtoull(argv[4], NULL, 10);
	memset(filled, 0xab, sizeof(filled));
	make_file(argv[1], strtoull(argv[2], NULL, 10) << 30, &f);
	begin(&f, kind->make != leaf_bits);
	kind->make(&f);
	end(&f);
	return 0;
}
