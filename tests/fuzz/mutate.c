/* SPDX-License-Identifier: MIT */
/*
 * Changes that keep the description of an image one (build.c): a field of an entry, of a header, of
 * the superblock gets another value, often one that stands elsewhere in the same image; an entry is
 * doubled, moved, taken away. Flipped bytes alone seldom make two entries meet.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz.h"
#include "rng.h"

#define PIECES_MAX 512u

struct mutator {
	struct rng rng;
	uint8_t *data;
	size_t size, max;
	size_t at[PIECES_MAX]; /* of each piece */
	uint32_t n;
};

static size_t piece_bytes(const struct mutator *m, uint32_t i)
{
	return bow_min(bow_get16(m->data + m->at[i] + 3), m->size - m->at[i] - 5);
}

static void find_pieces(struct mutator *m)
{
	size_t at = FUZZ_HEAD;

	for (m->n = 0; at + 5 <= m->size && m->n < PIECES_MAX; m->n++) {
		m->at[m->n] = at;
		at += 5 + piece_bytes(m, m->n);
	}
}

/* A random piece of this kind; false if there is none. */
static bool pick_piece(struct mutator *m, enum fuzz_piece kind, uint32_t *i)
{
	uint32_t start = rng_below(&m->rng, m->n);

	for (uint32_t k = 0; k < m->n; k++) {
		*i = (start + k) % m->n;
		if (m->data[m->at[*i]] % FUZZ_PIECES == kind)
			return true;
	}
	return false;
}

/* Where an entry of a random segment is, and its record's count; 0 if there is none. */
static size_t pick_entry(struct mutator *m, size_t *count_at)
{
	size_t at, end, found = 0;
	uint32_t i, seen = 0;

	if (!pick_piece(m, FUZZ_SEGMENT, &i))
		return 0;
	at = m->at[i] + 5 + 128;
	end = m->at[i] + 5 + piece_bytes(m, i);
	while (at < end && m->data[at] & 0x7f) {
		uint32_t n = m->data[at] & 0x7f;

		if (end - at - 1 < n * (size_t)BOW_ENTRY_BYTES)
			break;
		/* Each record with the same chance, whatever is before it. */
		if (rng_below(&m->rng, ++seen) == 0) {
			*count_at = at;
			found = at + 1 + rng_below(&m->rng, n) * (size_t)BOW_ENTRY_BYTES;
		}
		at += 1 + n * (size_t)BOW_ENTRY_BYTES;
	}
	return found;
}

/* A block number that means something here, or is at a limit, or one beside such. */
static uint64_t some_block(struct mutator *m)
{
	uint64_t image_blk = 16 + bow_get16(m->data + 2) % (FUZZ_MAX_BLK - 16), blk;
	size_t count_at, e = pick_entry(m, &count_at);

	switch (rng_below(&m->rng, 8)) {
	case 0:
		return rng_below(&m->rng, (uint32_t)image_blk);
	case 1:
		return rng_chance(&m->rng, 50) ? BOW_NO_BLK : BOW_NO_BLK >> rng_below(&m->rng, 64);
	case 2:
		blk = image_blk + rng_below(&m->rng, 4) - 2;
		break;
	case 3:
		blk = bow_get16(m->data + m->at[rng_below(&m->rng, m->n)] + 1);
		break;
	default:
		blk = e ? bow_get64(m->data + e + (rng_chance(&m->rng, 50) ? 8 : 16)) : 0;
	}
	return rng_chance(&m->rng, 70) ? blk : blk + rng_below(&m->rng, 5) - 2;
}

static uint32_t some_count(struct mutator *m)
{
	static const uint32_t counts[] = {0, 1, 1, 2, 3, 8, 63, 64, 65, 255, 256, 257, UINT32_MAX};

	return counts[rng_below(&m->rng, sizeof(counts) / sizeof(counts[0]))];
}

static void change_entry(struct mutator *m)
{
	size_t count_at, at = pick_entry(m, &count_at);
	uint8_t *e = m->data + at;

	if (!at)
		return;
	switch (rng_below(&m->rng, 6)) {
	case 0:
		e[0] = (uint8_t)rng_below(&m->rng, 9);
		break;
	case 1:
		e[1] ^= (uint8_t)(1 << rng_below(&m->rng, 3));
		break;
	case 2:
		bow_put32(e + 4, some_count(m));
		break;
	case 3:
		bow_put64(e + 8, some_block(m));
		break;
	case 4:
		bow_put64(e + 16, some_block(m));
		break;
	default:
		break;
	}
	/* The right hash: build.c finds it. */
	if (rng_chance(&m->rng, 90))
		memset(e + 24, 0, 8);
}

/* Make room for, or take away, `n` bytes at `at`, in the piece that they are in. */
static bool resize_piece(struct mutator *m, size_t at, size_t n, bool grow)
{
	uint32_t i = 0;

	while (i + 1 < m->n && m->at[i + 1] <= at)
		i++;
	if (grow && (m->size + n > m->max || piece_bytes(m, i) + n > UINT16_MAX))
		return false;
	if (grow)
		memmove(m->data + at + n, m->data + at, m->size - at);
	else
		memmove(m->data + at, m->data + at + n, m->size - at - n);
	bow_put16(m->data + m->at[i] + 3,
		  (uint16_t)(grow ? piece_bytes(m, i) + n : piece_bytes(m, i) - n));
	m->size = grow ? m->size + n : m->size - n;
	return true;
}

static void double_entry(struct mutator *m)
{
	uint8_t copy[1 + BOW_ENTRY_BYTES] = {1};
	size_t count_at, to_count, from = pick_entry(m, &count_at), to = pick_entry(m, &to_count);

	if (!from || !to)
		return;
	memcpy(copy + 1, m->data + from, BOW_ENTRY_BYTES);
	/* Into the record, or as one of its own before it. */
	if (rng_chance(&m->rng, 50) && (m->data[to_count] & 0x7f) < 0x7f) {
		if (resize_piece(m, to, BOW_ENTRY_BYTES, true)) {
			memcpy(m->data + to, copy + 1, BOW_ENTRY_BYTES);
			m->data[to_count]++;
		}
	} else if (resize_piece(m, to_count, sizeof(copy), true)) {
		memcpy(m->data + to_count, copy, sizeof(copy));
	}
	find_pieces(m);
	change_entry(m);
}

static void drop_entry(struct mutator *m)
{
	size_t count_at, e = pick_entry(m, &count_at);

	if (!e)
		return;
	if ((m->data[count_at] & 0x7f) > 1) {
		resize_piece(m, e, BOW_ENTRY_BYTES, false);
		m->data[count_at]--;
	} else {
		resize_piece(m, count_at, 1 + BOW_ENTRY_BYTES, false);
	}
}

static void swap_entries(struct mutator *m)
{
	size_t count_at, a = pick_entry(m, &count_at), b = pick_entry(m, &count_at);
	uint8_t e[BOW_ENTRY_BYTES];

	if (!a || !b)
		return;
	memcpy(e, m->data + a, sizeof(e));
	memmove(m->data + a, m->data + b, sizeof(e));
	memcpy(m->data + b, e, sizeof(e));
}

static const struct field {
	uint8_t at, bytes;
} super_fields[] = {{20, 4}, {24, 8}, {36, 4},	{64, 8},  {72, 8},  {80, 4},
		    {88, 8}, {96, 8}, {128, 8}, {152, 8}, {160, 8}, {168, 8}},
  header_fields[] = {{12, 4}, {32, 8}, {40, 4}, {44, 4}, {48, 8},
		     {56, 8}, {64, 8}, {88, 8}, {104, 8}};

static void change_field(struct mutator *m, enum fuzz_piece kind, const struct field *fields,
			 uint32_t n)
{
	const struct field *f = &fields[rng_below(&m->rng, n)];
	uint32_t i;
	uint8_t *p;

	if (!pick_piece(m, kind, &i) || piece_bytes(m, i) < f->at + (size_t)f->bytes)
		return;
	p = m->data + m->at[i] + 5 + f->at;
	if (f->bytes == 8)
		bow_put64(p, rng_chance(&m->rng, 50) ? some_block(m)
						     : bow_get64(p) + rng_below(&m->rng, 3) - 1);
	else
		bow_put32(p, rng_chance(&m->rng, 50) ? some_count(m) : 1u << rng_below(&m->rng, 6));
}

/* A segment twice, or at another block: chains that meet. */
static void copy_segment(struct mutator *m)
{
	uint32_t i;
	size_t n, at;

	if (!pick_piece(m, FUZZ_SEGMENT, &i))
		return;
	n = 5 + piece_bytes(m, i);
	at = m->size;
	if (at + n > m->max)
		return;
	memcpy(m->data + at, m->data + m->at[i], n);
	m->size += n;
	bow_put16(m->data + at + 1, (uint16_t)some_block(m));
	if (n >= 5 + 40)
		bow_put64(m->data + at + 5 + 32, bow_get16(m->data + at + 1));
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t max, uint64_t seed)
{
	struct mutator m = {.rng = {seed}, .data = data, .size = size, .max = max};

	if (size < FUZZ_HEAD + 5)
		return size;
	for (uint32_t k = rng_between(&m.rng, 1, 4); k; k--) {
		find_pieces(&m);
		switch (rng_below(&m.rng, 10)) {
		case 0:
			data[rng_below(&m.rng, FUZZ_HEAD)] ^= (uint8_t)rng_next(&m.rng);
			break;
		case 1:
			change_field(&m, FUZZ_SUPER, super_fields, 12);
			break;
		case 2:
			change_field(&m, FUZZ_SEGMENT, header_fields, 9);
			break;
		case 3:
			drop_entry(&m);
			break;
		case 4:
			swap_entries(&m);
			break;
		case 5:
			copy_segment(&m);
			break;
		case 6:
			double_entry(&m);
			break;
		default:
			change_entry(&m);
		}
	}
	return m.size;
}
