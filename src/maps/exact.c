/* SPDX-License-Identifier: MIT */
/*
 * Exact mode: only blocks that read as zeros may be free, since rollback zeroes all of them again.
 * Holes are found by asking the device, not by reading; the rest is read in pieces of at most 1
 * MiB. The device's answer about holes is kept while it lasts: a fragmented map has millions of
 * runs.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/freemap.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define PIECE_BYTES (1u << 20)
#define PROGRESS_STEP (64u << 20)

/* The device's last answer: [start, end) is a hole, or is data. */
struct extent {
	uint64_t start, end;
	bool hole;
};

static int extent_at(struct bow_dev *dev, struct extent *e, uint64_t off, struct bowimg_error *err)
{
	uint64_t bytes;
	bool hole;
	int rc;

	if (off >= e->start && off < e->end)
		return 0;
	rc = bow_dev_extent(dev, off, &hole, &bytes, err);
	if (rc < 0)
		return rc;
	*e = (struct extent){off, bytes > UINT64_MAX - off ? UINT64_MAX : off + bytes, hole};
	return 0;
}

int bow_freemap_hole_bytes(struct bow_dev *dev, const struct bow_bitmap *map, uint64_t *hole_bytes,
			   struct bowimg_error *err)
{
	const uint64_t blocks = bow_bitmap_bits(map);
	struct extent e = {0};
	uint64_t start = 0, count, sum = 0;

	for (; bow_bitmap_next_run(map, &start, &count, blocks); start += count) {
		const uint64_t end = bow_min((start + count) * BLOCK, dev->size);

		for (uint64_t off = start * BLOCK; off < end; off = e.end) {
			int rc = extent_at(dev, &e, off, err);

			if (rc < 0)
				return rc;
			if (e.hole)
				sum += bow_min(e.end, end) - off;
		}
	}
	*hole_bytes = sum;
	return 0;
}

/* Take the blocks of a piece that are not zero out of the map. */
static int drop_nonzero(struct bow_bitmap *map, const uint8_t *buf, uint64_t first, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += BLOCK) {
		int rc = bow_is_zero(buf + at, bow_min(BLOCK, bytes - at))
				 ? 0
				 : bow_bitmap_clear(map, first + at / BLOCK, 1);

		if (rc < 0)
			return rc;
	}
	return 0;
}

struct scan {
	struct bow_dev *dev;
	struct bow_bitmap *map;
	const struct bowimg_events *events;
	uint8_t *buf;
	struct extent e;
	uint64_t done, told, total;
};

static void tell(struct scan *s, uint64_t bytes)
{
	s->done += bytes;
	if (s->done - s->told < PROGRESS_STEP && s->done < s->total)
		return;
	s->told = s->done;
	if (s->events && s->events->progress)
		s->events->progress(s->events->ctx, "read free map", s->done, s->total);
}

/* Deal with some of [off, end), which starts on a block; *bytes says how much. */
static int scan_piece(struct scan *s, uint64_t off, uint64_t end, uint64_t *bytes,
		      struct bowimg_error *err)
{
	int rc = extent_at(s->dev, &s->e, off, err);
	uint64_t reach;

	if (rc < 0)
		return rc;
	/* A hole that ends inside a block says nothing about the rest of that block. */
	reach = s->e.end >= end ? end : s->e.end / BLOCK * BLOCK;
	if (s->e.hole && reach > off) {
		*bytes = reach - off;
		return 0;
	}
	*bytes = bow_min(bow_div_up(bow_min(s->e.end, end) - off, BLOCK) * BLOCK, end - off);
	*bytes = bow_min(*bytes, PIECE_BYTES);
	rc = bow_dev_read(s->dev, s->buf, *bytes, off, err);
	if (rc < 0)
		return rc;
	if (drop_nonzero(s->map, s->buf, off / BLOCK, *bytes) < 0)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", s->dev->name);
	return 0;
}

int bow_freemap_keep_zeros(struct bow_dev *dev, struct bow_bitmap *map,
			   const struct bowimg_events *events, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_BYTES);
	struct scan s = {.dev = dev, .map = map, .events = events, .buf = buf};
	const uint64_t blocks = bow_bitmap_bits(map);
	uint64_t start = 0, count, bytes;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "%s: look for zeros", dev->name);
	s.total = bow_bitmap_count(map) * BLOCK;
	for (; bow_bitmap_next_run(map, &start, &count, blocks); start += count) {
		const uint64_t end = bow_min((start + count) * BLOCK, dev->size);

		for (uint64_t off = start * BLOCK; off < end; off += bytes) {
			int rc = scan_piece(&s, off, end, &bytes, err);

			if (rc < 0)
				return rc;
			tell(&s, bytes);
		}
	}
	return 0;
}
