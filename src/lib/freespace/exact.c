/* SPDX-License-Identifier: MIT */
/*
 * Exact mode: only blocks that read as zeros may be free, since rollback zeroes all of them again.
 * The device is asked for holes, which are not read; the rest is read in pieces of at most
 * 1 MiB, several at a time where many requests can be in flight. Each answer about holes is kept
 * until its end: a fragmented map has millions of runs.
 */
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/base/crew.h"
#include "lib/base/stop.h"
#include "lib/freespace/freemap.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define PIECE_BYTES (1u << 20)
#define PROGRESS_STEP (64u << 20)

/* The device's last answer: [start, end) is a hole, or is data. */
struct extent {
	uint64_t start, end;
	bool hole;
};

static int extent_at(struct bowimg_disk *dev, struct extent *e, uint64_t off,
		     struct bowimg_error *err)
{
	uint64_t bytes;
	bool hole;
	int rc;

	if (off >= e->start && off < e->end)
		return 0;
	rc = bow_disk_extent(dev, off, &hole, &bytes, err);
	if (rc < 0)
		return rc;
	*e = (struct extent){off, bytes > UINT64_MAX - off ? UINT64_MAX : off + bytes, hole};
	return 0;
}

int bow_freemap_hole_bytes(struct bowimg_disk *dev, const struct bow_bitmap *map,
			   uint64_t *hole_bytes, struct bowimg_error *err)
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

struct piece {
	uint64_t off, bytes;
};

struct scan {
	struct bowimg_disk *dev;
	struct bow_bitmap *map;
	const struct bowimg_events *events;
	struct piece pieces[BOW_CREW_MAX]; /* to be read; n of them, at most depth */
	unsigned n, depth;
	uint8_t *buf; /* PIECE_BYTES for each */
	struct extent e;
	uint64_t done, reported, total;
};

static int report_progress(struct scan *s, uint64_t bytes, struct bowimg_error *err)
{
	s->done += bytes;
	if (s->done - s->reported < PROGRESS_STEP && s->done < s->total)
		return bow_stop_asked(s->events, err);
	s->reported = s->done;
	if (s->events && s->events->progress)
		s->events->progress(s->events->ctx, "read free map", s->done, s->total);
	return bow_stop_asked(s->events, err);
}

static int read_piece(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct scan *s = ctx;

	(void)number;
	return bow_disk_read(s->dev, s->buf + i * PIECE_BYTES, s->pieces[i].bytes, s->pieces[i].off,
			     err);
}

/* Read the pieces that were collected. */
static int flush(struct scan *s, struct bowimg_error *err)
{
	int rc = bow_crew_each(s->n, s->n, read_piece, s, err);

	for (unsigned i = 0; i < s->n && !rc; i++) {
		const struct piece *p = &s->pieces[i];

		if (drop_nonzero(s->map, s->buf + (size_t)i * PIECE_BYTES, p->off / BLOCK,
				 p->bytes) < 0)
			rc = bow_err_errno(err, -ENOMEM, "%s: keep the free map", s->dev->name);
	}
	s->n = 0;
	return rc;
}

/* Look at some of [off, end), which starts on a block; *bytes says how much. */
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
	s->pieces[s->n++] = (struct piece){off, *bytes};
	return s->n == s->depth ? flush(s, err) : 0;
}

int bow_freemap_keep_zeros(struct bowimg_disk *dev, struct bow_bitmap *map,
			   const struct bowimg_events *events, struct bowimg_error *err)
{
	const unsigned depth = bow_crew_size(dev->queue_depth);
	CLEANUP_FREE uint8_t *buf = malloc((size_t)depth * PIECE_BYTES);
	struct scan s = {.dev = dev, .map = map, .events = events, .depth = depth, .buf = buf};
	const uint64_t blocks = bow_bitmap_bits(map);
	uint64_t start = 0, count, bytes;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "%s: look for zeros", dev->name);
	s.total = bow_bitmap_count(map) * BLOCK;
	for (; bow_bitmap_next_run(map, &start, &count, blocks); start += count) {
		const uint64_t end = bow_min((start + count) * BLOCK, dev->size);

		for (uint64_t off = start * BLOCK; off < end; off += bytes) {
			int rc = scan_piece(&s, off, end, &bytes, err);

			if (!rc)
				rc = report_progress(&s, bytes, err);
			if (rc < 0)
				return rc;
		}
	}
	return flush(&s, err);
}
