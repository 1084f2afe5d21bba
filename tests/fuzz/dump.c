/* SPDX-License-Identifier: MIT */
/* A real image to the bytes that build.c makes it of. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz.h"
#include "mem_dev.h"

struct dumper {
	const uint8_t *bytes;
	uint64_t size;
	struct bow_super sb;
	struct bow_segment segment;
	bool in_segment[FUZZ_MAX_BLK * 4];
	struct fuzz_buf *out;
};

static void put16(struct fuzz_buf *out, uint64_t value)
{
	uint8_t b[2];

	bow_put16(b, (uint16_t)value);
	fuzz_put(out, b, sizeof(b));
}

static void put_piece(struct dumper *d, enum fuzz_piece kind, uint64_t blk, const void *bytes,
		      size_t n)
{
	uint8_t k = (uint8_t)kind;

	fuzz_put(d->out, &k, 1);
	put16(d->out, blk);
	put16(d->out, n);
	fuzz_put(d->out, bytes, n);
}

static size_t without_zeros(const uint8_t *p, size_t n)
{
	while (n && !p[n - 1])
		n--;
	return n;
}

/* A hash that build.c will find by itself is left to it. */
static void put_entry(struct dumper *d, struct fuzz_buf *to, const uint8_t *entry)
{
	uint64_t source = bow_get64(entry + 8), dest = bow_get64(entry + 16);
	size_t n = bow_super_bytes(&d->sb, source, bow_get32(entry + 4));
	uint8_t copy[BOW_ENTRY_BYTES];
	bool plain = dest < FUZZ_MAX_BLK * 4 && !d->in_segment[dest] &&
		     (dest * BOW_BLOCK) + n <= d->size;

	memcpy(copy, entry, sizeof(copy));
	if (copy[0] == BOW_ENTRY_MAP_BITS)
		n = BOW_BLOCK;
	if ((copy[0] == BOW_ENTRY_COPY || copy[0] == BOW_ENTRY_MAP_BITS) && plain &&
	    bow_hash(d->bytes + dest * BOW_BLOCK, n, d->sb.seed) == bow_get64(copy + 24))
		memset(copy + 24, 0, 8);
	fuzz_put(to, copy, sizeof(copy));
}

static void put_segment(struct dumper *d, uint64_t blk)
{
	struct fuzz_buf s = {0};

	fuzz_put(&s, d->bytes + blk * BOW_BLOCK, 128);
	for (uint32_t i = 0; i < d->segment.records; i++) {
		const uint8_t *record = d->segment.bytes + d->segment.record_at[i];
		uint32_t n = bow_record_count(record);
		uint8_t count = (uint8_t)n;

		if (n > 0x7f)
			fuzz_die("a seed has a record of %u entries", n);
		fuzz_put(&s, &count, 1);
		for (uint32_t k = 0; k < n; k++)
			put_entry(d, &s, record + bow_record_bytes(k));
	}
	put_piece(d, FUZZ_SEGMENT, blk, s.bytes, s.n);
	fuzz_buf_release(&s);
}

/* Is this where a segment of the checkpoint was begun, and whole? */
static bool find_segment(struct dumper *d, uint64_t blk)
{
	struct bow_segment_header h;
	struct bow_segment_ref ref;
	struct bow_super facts;

	if ((blk + 1) * BOW_BLOCK > d->size ||
	    !bow_segment_super_copy(d->bytes + blk * BOW_BLOCK, &facts, &h) || h.start_blk != blk ||
	    memcmp(facts.uuid, d->sb.uuid, 16) || (blk + h.len_blk) * BOW_BLOCK > d->size)
		return false;
	ref = (struct bow_segment_ref){blk, h.len_blk, h.first_seq, 0};
	memcpy(d->segment.bytes, d->bytes + blk * BOW_BLOCK, h.len_blk * (size_t)BOW_BLOCK);
	return !bow_segment_parse(&d->segment, &ref, &d->sb, NULL);
}

static void put_block(struct dumper *d, uint64_t blk)
{
	const uint8_t *p = d->bytes + blk * BOW_BLOCK;
	size_t n = without_zeros(p, bow_min(BOW_BLOCK, d->size - blk * BOW_BLOCK));

	if (n >= 8 && !memcmp(p, "bowZERO\n", 8))
		put_piece(d, FUZZ_LIST, blk, p + 24, without_zeros(p, 4088) - 24);
	else if (n >= 8 && !memcmp(p, "bowTAIL\n", 8))
		put_piece(d, FUZZ_FOOTER, blk, p + 8, 16);
	else if (n)
		put_piece(d, FUZZ_RAW, blk, p, n);
}

static void put_head(struct dumper *d, uint8_t flags, uint8_t op)
{
	uint64_t end = bow_super_image_blk(&d->sb);
	uint8_t head[2] = {flags, op};

	fuzz_put(d->out, head, sizeof(head));
	put16(d->out, d->sb.image_size / BOW_BLOCK - 16);
	put16(d->out, d->sb.image_size % BOW_BLOCK);
	put16(d->out, d->size > d->sb.image_size ? d->size / BOW_BLOCK - end : 0);
}

void fuzz_dump(struct bowimg_disk *dev, uint8_t flags, uint8_t op, struct fuzz_buf *out)
{
	struct dumper d = {.bytes = mem_dev_bytes(dev), .size = dev->size, .out = out};
	uint64_t end = bow_div_up(d.size, BOW_BLOCK);

	if (bow_super_decode(d.bytes, &d.sb) != BOW_DECODE_OK || end > FUZZ_MAX_BLK * 4 ||
	    bow_segment_init(&d.segment))
		fuzz_die("a seed is no checkpoint");
	put_head(&d, flags, op);
	put_piece(&d, FUZZ_SUPER, 0, d.bytes, without_zeros(d.bytes, 176));
	for (uint64_t blk = 1; blk < end; blk++)
		if (find_segment(&d, blk))
			memset(d.in_segment + blk, 1, d.segment.header.len_blk);
	for (uint64_t blk = 1; blk < end; blk++) {
		if (find_segment(&d, blk))
			put_segment(&d, blk);
		else if (!d.in_segment[blk])
			put_block(&d, blk);
	}
	bow_segment_release(&d.segment);
}
