/* SPDX-License-Identifier: MIT */
/*
 * Bytes to an image. Pieces {kind, block (2), length (2), bytes} follow a head of 8 bytes:
 *
 *	SUPER    the superblock from its first byte on
 *	SEGMENT  at the block: 128 bytes of header, then records {count, entries of 32 bytes}
 *	RAW      content of the block from its first byte on
 *	LIST     at the block: a list of the finish plan, from its count on
 *	FOOTER   at the end: image size, block 0's hash
 *
 * Whatever is not given is zero. Magic numbers, UUIDs and checksums are put in here; a record gets
 * the next number, unless the highest bit of its count is set (then it is the number before). A
 *hash of zero in an entry, a footer, or for block 0's final content is replaced by the right one.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz.h"
#include "mem_dev.h"

#define SEED_OF_SEEDS 0x626f77696d670001ull
#define GROWTH (48u << 20)

struct builder {
	const uint8_t *data;
	size_t size;
	struct bowimg_disk *dev;
	uint8_t *bytes; /* of dev */
	uint64_t image_size;
	uint8_t flags;
	uint8_t uuid[16];
	uint64_t seed;
};

struct piece {
	uint8_t kind;
	uint64_t blk;
	const uint8_t *bytes;
	size_t n;
};

static bool next_piece(const struct builder *b, size_t *at, struct piece *p)
{
	if (b->size - *at < 5)
		return false;
	p->kind = b->data[*at] % FUZZ_PIECES;
	p->blk = bow_get16(b->data + *at + 1);
	p->n = bow_min(bow_get16(b->data + *at + 3), b->size - *at - 5);
	p->bytes = b->data + *at + 5;
	*at += 5 + p->n;
	return true;
}

/* Where the piece goes, and how much room there is; NULL outside the image and its tail. */
static uint8_t *place(const struct builder *b, uint64_t blk, size_t *room)
{
	uint64_t off = blk * BOW_BLOCK;

	if (off >= b->dev->size)
		return NULL;
	*room = (size_t)(b->dev->size - off);
	return b->bytes + off;
}

static uint64_t hash(const struct builder *b, const void *p, size_t n)
{
	return bow_hash(p, n, b->seed);
}

/* ---- one function for each kind of piece ----------------------------------------- */

static void put_super(struct builder *b, const struct piece *p)
{
	uint8_t *to = b->bytes;
	uint64_t blk;

	memset(to, 0, BOW_SUPER_BYTES);
	memcpy(to, p->bytes, bow_min(p->n, 496));
	memcpy(to, "BOWIMG\x1a\n", 8);
	if (b->flags & FUZZ_FIT)
		bow_put64(to + 24, b->image_size);
	memcpy(b->uuid, to + 40, 16);
	b->seed = bow_hash(b->uuid, 16, SEED_OF_SEEDS);
	blk = bow_get64(to + 160);
	if (!bow_get64(to + 168) && blk < b->dev->size / BOW_BLOCK)
		bow_put64(to + 168, hash(b, b->bytes + blk * BOW_BLOCK, BOW_BLOCK));
	bow_put64(to + 496, hash(b, to, 496));
}

static void put_raw(struct builder *b, const struct piece *p)
{
	size_t room;
	uint8_t *to = place(b, p->blk, &room);

	if (to)
		memcpy(to, p->bytes, bow_min(bow_min(p->n, BOW_BLOCK), room));
}

/* What the destination has now; of the source's bytes, as a partial last block has them. */
static void fix_entry(const struct builder *b, uint8_t *e)
{
	uint64_t source = bow_get64(e + 8), dest = bow_get64(e + 16), count = bow_get32(e + 4);
	uint64_t bytes;

	if ((e[0] != BOW_ENTRY_COPY && e[0] != BOW_ENTRY_MAP_BITS) || bow_get64(e + 24) ||
	    count > BOW_COPY_MAX_BLK || source > FUZZ_MAX_BLK * 256 || dest > FUZZ_MAX_BLK * 256)
		return;
	bytes = count * BOW_BLOCK;
	if (e[0] == BOW_ENTRY_MAP_BITS)
		bytes = BOW_BLOCK;
	else if (source * BOW_BLOCK < b->image_size)
		bytes = bow_min(bytes, b->image_size - source * BOW_BLOCK);
	if (bow_range_ok(dest * BOW_BLOCK, bytes, b->dev->size))
		bow_put64(e + 24, hash(b, b->bytes + dest * BOW_BLOCK, bytes));
}

/* The record of n entries at `to`, in the order of the format: checksum over header, then entries.
 */
static void put_record(const struct builder *b, uint8_t *to, uint64_t seq, const uint8_t *entries,
		       uint32_t n)
{
	memset(to, 0, 32);
	bow_put32(to, 0x43524f42);
	bow_put32(to + 4, n);
	bow_put64(to + 8, seq);
	memcpy(to + 32, entries, n * (size_t)32);
	for (uint32_t i = 0; i < n; i++)
		fix_entry(b, to + 32 + i * (size_t)32);
	bow_put64(to + 16, bow_hash(to + 32, n * (size_t)32, hash(b, to, 32)));
}

static void put_segment(struct builder *b, const struct piece *p)
{
	size_t room, at = 512, used = bow_min(p->n, 128), bytes, unit;
	uint8_t *to = place(b, p->blk, &room);
	uint64_t seq;

	if (!to || room < BOW_BLOCK || p->blk == 0)
		return;
	memset(to, 0, 512);
	memcpy(to, p->bytes, used);
	memcpy(to, "bowSEG\x1a\n", 8);
	memcpy(to + 16, b->uuid, 16);
	if (b->flags & FUZZ_FIT)
		bow_put64(to + 72, b->image_size);
	bow_put64(to + 496, hash(b, to, 496));
	room = bow_min(room, bow_min(bow_get32(to + 40), BOW_SEGMENT_MAX_BLK) * (size_t)BOW_BLOCK);
	unit = bow_get32(to + 12) == 4096 ? 4096 : 512;
	seq = bow_get64(to + 56);
	while (used < p->n && p->bytes[used] & 0x7f) {
		uint32_t n = p->bytes[used] & 0x7f;

		bytes = 32 + n * (size_t)32;
		if (p->n - used - 1 < n * (size_t)32 || at > room || room - at < bytes)
			break;
		seq -= p->bytes[used] >> 7;
		put_record(b, to + at, seq++, p->bytes + used + 1, n);
		used += 1 + n * (size_t)32;
		at = bow_div_up(at + bytes, unit) * unit;
	}
}

static void put_list(struct builder *b, const struct piece *p)
{
	size_t room;
	uint8_t *to = place(b, p->blk, &room);

	if (!to || room < BOW_BLOCK || p->blk == 0)
		return;
	memset(to, 0, BOW_BLOCK);
	memcpy(to, "bowZERO\n", 8);
	memcpy(to + 8, b->uuid, 16);
	memcpy(to + 24, p->bytes, bow_min(p->n, BOW_BLOCK - 24 - 8));
	bow_put64(to + 4088, hash(b, to, 4088));
}

static void put_footer(struct builder *b, const struct piece *p)
{
	uint8_t *to = b->bytes + b->dev->size - BOW_BLOCK;

	if (b->dev->size % BOW_BLOCK)
		return;
	memset(to, 0, BOW_BLOCK);
	memcpy(to, "bowTAIL\n", 8);
	memcpy(to + 8, p->bytes, bow_min(p->n, 16));
	if (!bow_get64(to + 16))
		bow_put64(to + 16, bow_hash(b->bytes, BOW_BLOCK, 0));
	bow_put64(to + 4088, bow_hash(to, 4088, 0));
}

static void put_note(struct builder *b)
{
	struct bow_super sb = {0};

	bow_super_set_uuid(&sb, b->uuid);
	bow_note_render(&sb, (char *)b->bytes + BOW_SUPER_BYTES);
}

/* ---- together -------------------------------------------------------------------- */

static void put_all(struct builder *b, enum fuzz_piece kind)
{
	static void (*const put[])(struct builder *, const struct piece *) = {
		put_super, put_segment, put_raw, put_list, put_footer,
	};
	size_t at = FUZZ_HEAD;
	struct piece p;

	while (next_piece(b, &at, &p))
		if (p.kind == kind)
			put[kind](b, &p);
}

/* What others are hashed over comes before them; block 0 as a footer sees it has no superblock. */
static void put_pieces(struct builder *b)
{
	put_all(b, FUZZ_RAW);
	put_all(b, FUZZ_FOOTER);
	put_all(b, FUZZ_SUPER);
	put_all(b, FUZZ_LIST);
	put_all(b, FUZZ_SEGMENT);
	if (b->flags & FUZZ_NOTE)
		put_note(b);
	if (b->flags & FUZZ_LOST)
		memset(b->bytes, 0xa5, BOW_SUPER_BYTES);
}

bool fuzz_build(const uint8_t *data, size_t size, struct fuzz_built *out)
{
	struct builder b = {.data = data, .size = size};
	uint64_t tail;

	if (size < FUZZ_HEAD)
		return false;
	b.flags = data[0];
	b.image_size = (16 + bow_get16(data + 2) % (FUZZ_MAX_BLK - 16)) * (uint64_t)BOW_BLOCK +
		       bow_get16(data + 4) % BOW_BLOCK;
	tail = b.flags & FUZZ_DEVICE ? 0 : bow_get16(data + 6) % 1024;
	if (tail)
		tail = bow_div_up(b.image_size, BOW_BLOCK) * BOW_BLOCK + tail * BOW_BLOCK;
	b.dev = mem_dev_new(bow_max(b.image_size, tail), b.image_size + GROWTH);
	if (!b.dev)
		abort();
	if (b.flags & FUZZ_DEVICE)
		mem_dev_make_device(b.dev);
	if (b.flags & FUZZ_SECTOR_4K)
		b.dev->sector_size = 4096;
	b.bytes = mem_dev_bytes(b.dev);
	b.seed = bow_hash(b.uuid, 16, SEED_OF_SEEDS);
	put_pieces(&b);
	out->dev = b.dev;
	out->op = data[1];
	out->super = bow_super_decode(b.bytes, &out->sb) == BOW_DECODE_OK;
	return true;
}
