/* SPDX-License-Identifier: MIT */
/*
 * For the tests: like forge_log, with the entries of marks and those that give blocks back.
 *
 *	forge_marks IMAGE GIB KIND COUNT
 *
 * KIND says what the log has, COUNT times:
 *
 *	give-take	TAKE and GIVE of one range, again and again
 *	give-wide	the same of nearly all that is free, where a block in each group was given
 *alone give-shared	COPY of 64 used blocks, all to one place, which is taken and given in
 *between marks		MARK unmarks		UNMARK of one mark places		PLACE of all
 *blocks that are free, which moved in many pieces places-deep	the same, once for each of 200
 *returns
 *	epochs		ZERO of every other used block, and then, behind each of 250 marks, of all
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/log/log.h"

#define LEAF ((uint64_t)BOW_MAP_LEAF_BLK)
#define GROUP (256 * LEAF)
#define BATCH 4095u

struct forge {
	struct bowimg_disk *dev;
	struct bow_super sb;
	struct bow_log log;
	struct bowimg_error err;
	uint64_t blocks, used; /* the first free block */
	uint64_t next;	       /* where something real is put next: ascending from `used` */
	uint64_t first, room;  /* what lies behind all that is real, up to the end */
	uint64_t count;
	struct bow_entry batch[BATCH];
	uint32_t n;
};

static uint8_t filled[BOW_COPY_MAX_BLK * BOW_BLOCK], zeros[BOW_COPY_MAX_BLK * BOW_BLOCK];

static void die(const char *what, const struct forge *f)
{
	fprintf(stderr, "forge_marks: %s: %s\n", what, f->err.message);
	exit(1);
}

static uint64_t room(struct forge *f, uint64_t n)
{
	f->next += n;
	if (f->next > f->first)
		die("the real things take too much room", f);
	return f->next - n;
}

static void switch_segment(struct forge *f, uint32_t len)
{
	uint64_t start = room(f, len);

	if (bow_log_write_segment(&f->log, start, len, &f->err))
		die("segment", f);
	bow_log_use_segment(&f->log, start, len);
}

static void flush(struct forge *f)
{
	const struct bow_entry *e = f->batch;

	while (f->n) {
		uint32_t k = bow_log_room(&f->log);

		if (!k) {
			switch_segment(f, BOW_SEGMENT_MAX_BLK);
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

static struct bow_entry range(uint8_t type, uint64_t source, uint64_t n)
{
	return (struct bow_entry){.type = type, .source_blk = source, .count_blk = (uint32_t)n};
}

static struct bow_entry copy(const struct forge *f, uint64_t from, uint64_t to, uint32_t n,
			     uint8_t flags, const void *data)
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

/* ---- blocks that are given back -------------------------------------------------- */

static void take_and_give(struct forge *f, uint64_t blk, uint64_t n)
{
	add(f, range(BOW_ENTRY_TAKE, blk, n));
	add(f, range(BOW_ENTRY_GIVE, blk, n));
}

static void give_take(struct forge *f)
{
	for (uint64_t i = 0; i < f->count; i++)
		take_and_give(f, f->first, 1000);
}

/* The walk meets the single blocks first. */
static void give_wide(struct forge *f)
{
	for (uint64_t i = 0; i < f->count; i++)
		take_and_give(f, f->first, bow_min(f->room, UINT32_MAX));
	for (uint64_t b = f->first; b < f->first + bow_min(f->room, UINT32_MAX); b += GROUP)
		take_and_give(f, b, 1);
}

static void give_shared(struct forge *f)
{
	put(f, f->first, filled, BOW_COPY_MAX_BLK);
	for (uint64_t i = 0; i < f->count; i++) {
		add(f, copy(f, 1 + 64 * i, f->first, BOW_COPY_MAX_BLK, 0, filled));
		if (i + 1 < f->count)
			take_and_give(f, f->first, BOW_COPY_MAX_BLK);
	}
}

/* ---- marks ----------------------------------------------------------------------- */

/* Returns its number. Block 0 was all zeros then: its copy is a hole, and takes no room here. */
static uint64_t make_mark(struct forge *f, uint64_t i)
{
	uint64_t to = room(f, 1);
	struct bow_entry e[2];
	char name[24];

	flush(f);
	snprintf(name, sizeof(name), "m%lu", (unsigned long)i);
	e[0] = copy(f, 0, to, 1, 0, zeros);
	e[1] = bow_mark_entry(name, 1);
	if (bow_log_room(&f->log) < 2)
		switch_segment(f, BOW_SEGMENT_MAX_BLK);
	if (bow_log_append(&f->log, e, 2, &f->err))
		die("mark", f);
	bow_log_settle(&f->log);
	return f->log.next_seq - 1;
}

static void marks(struct forge *f)
{
	for (uint64_t i = 0; i < f->count; i++)
		make_mark(f, i);
}

static void unmarks(struct forge *f)
{
	uint64_t seq = make_mark(f, 0);

	for (uint64_t i = 0; i < f->count; i++)
		add(f, (struct bow_entry){.type = BOW_ENTRY_UNMARK, .source_blk = seq});
}

/* A prologue in one record, whose only segment follows the mark made just now. */
static void return_to(struct forge *f, uint64_t seq, const struct bow_entry *e, uint32_t n)
{
	f->log.cut_seq = seq + 1;
	switch_segment(f, BOW_SEGMENT_MAX_BLK);
	add(f, (struct bow_entry){
		       .type = BOW_ENTRY_REVERT, .source_blk = seq, .dest_blk = f->log.next_seq});
	for (uint32_t i = 0; i < n; i++)
		add(f, e[i]);
	flush(f);
}

/* Of what lay in one half, every other block was moved alone, from the other end of the range. */
static void pieces(struct forge *f, uint64_t from, uint64_t to, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		add(f, copy(f, from + 2 * i, to + i, 1, BOW_ENTRY_MOVE, zeros));
}

static void places(struct forge *f)
{
	static struct bow_entry e[4000];
	uint64_t part = f->room / 4, seq = make_mark(f, 0);

	for (uint32_t i = 0; i < 4000; i++) {
		e[i] = range(BOW_ENTRY_PLACE, f->first, bow_min(part, UINT32_MAX));
		e[i].dest_blk = f->first + part;
	}
	return_to(f, seq, e, 4000);
	pieces(f, f->first + part, f->first + 2 * part, f->count);
}

static void places_deep(struct forge *f)
{
	const uint64_t returns = 200, part = f->room / (returns + 4);
	uint64_t at = f->first + returns * part;

	for (uint64_t i = 0; i < returns; i++, at -= part) {
		struct bow_entry e = range(BOW_ENTRY_PLACE, at - part, 2 * f->count);
		uint64_t seq = make_mark(f, i);

		e.source_blk = f->first + i * part;
		e.dest_blk = f->first + (i + 1) * part;
		return_to(f, seq, &e, 1);
	}
	pieces(f, f->first + returns * part, f->first + (returns + 1) * part, f->count);
}

static void epochs(struct forge *f)
{
	for (uint64_t i = 0; i < 125; i++)
		make_mark(f, i);
	for (uint64_t i = 0; i < f->count; i++)
		add(f, range(BOW_ENTRY_ZERO, 1 + 2 * i, 1));
	for (uint64_t i = 125; i < 250; i++) {
		make_mark(f, i);
		add(f, range(BOW_ENTRY_ZERO, 1, f->used - 1));
	}
}

/* ---- the image ------------------------------------------------------------------- */

static const struct kind {
	const char *name;
	void (*make)(struct forge *f);
} kinds[] = {
	{"give-take", give_take},     {"give-wide", give_wide},
	{"give-shared", give_shared}, {"marks", marks},
	{"unmarks", unmarks},	      {"places", places},
	{"places-deep", places_deep}, {"epochs", epochs},
};

static const struct kind *find(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	fprintf(stderr, "forge_marks: no kind '%s'\n", name);
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
static void begin(struct forge *f)
{
	static const uint8_t uuid[16] = {0x62, 0x6f, 0x77, 2};

	f->blocks = f->dev->size / BOW_BLOCK;
	f->used = f->blocks / 8 / LEAF * LEAF;
	f->next = f->used;
	f->first = f->blocks / 4 / LEAF * LEAF;
	f->room = f->blocks - f->first;
	bow_super_set_uuid(&f->sb, uuid);
	f->sb.state = BOW_SUPER_CHECKPOINT;
	f->sb.image_size = f->dev->size;
	f->sb.prepared_at = 1;
	memcpy(f->sb.free_source, "map", 4);
	f->sb.free_total_blk = f->blocks - f->used;
	f->sb.flags = BOW_SUPER_EXACT;
	f->sb.incompat = BOW_INCOMPAT_GIVE | BOW_INCOMPAT_MARKS;
	if (bow_log_init(&f->log, f->dev, &f->sb, 512))
		die("log", f);
	put(f, room(f, 1), filled, 1);
	f->sb.live0_blk = room(f, 1);
	put(f, f->sb.live0_blk, filled, 1);
	switch_segment(f, BOW_SEGMENT_MAX_BLK);
	add(f, copy(f, 0, f->used, 1, 0, filled));
	add(f, (struct bow_entry){.type = BOW_ENTRY_MAP_RUN,
				  .source_blk = f->used,
				  .dest_blk = f->blocks - f->used});
	flush(f);
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
	begin(&f);
	kind->make(&f);
	end(&f);
	return 0;
}
