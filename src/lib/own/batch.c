/* SPDX-License-Identifier: MIT */
/*
 * Backups in the order of their places.
 *
 * The log names them newest first, and one at a time. A guest that writes here and there leaves a
 * million backups of one block each, side by side on the disk. Reading each for itself costs more
 * than all the rest, and on a spinning disk the walk backwards costs a turn for each.
 *
 * Storage that is far away answers many requests at a time. Several threads take pieces then, each
 * of few backups, since each of them may be a write of its own.
 */
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/base/grow.h"
#include "lib/own/steps.h"

#define BATCH 65536u			  /* backups sorted at a time; 2 MiB */
#define PIECE_BLK (4u * BOW_COPY_MAX_BLK) /* largest single read: 1 MiB */
#define PIECE_BYTES ((size_t)PIECE_BLK * BOW_BLOCK)
#define FEW 16u /* backups in a piece, where there are several threads */

int bow_batch_init(struct bow_batch *b, struct bowimg_disk *dev, bow_batch_piece *piece, void *ctx)
{
	*b = (struct bow_batch){.dev = dev, .piece = piece, .ctx = ctx};
	b->items = malloc(BATCH * sizeof(b->items[0]));
	b->threads = bow_crew_size(dev->queue_depth);
	b->buf = malloc(b->threads * PIECE_BYTES);
	return b->items && b->buf ? 0 : -ENOMEM;
}

void bow_batch_release(struct bow_batch *b)
{
	free(b->items);
	free(b->buf);
	*b = (struct bow_batch){0};
}

static int by_place(const void *a, const void *b)
{
	const struct bow_backup *x = a, *y = b;

	return x->from_blk < y->from_blk ? -1 : x->from_blk > y->from_blk;
}

/* Returns how many of n backups lie side by side, up to one piece. */
static uint32_t side_by_side(const struct bow_backup *it, uint32_t n, uint32_t *blocks)
{
	uint32_t k = 1, total = it->count_blk;

	while (k < n && it[k].from_blk == it->from_blk + total &&
	       total + it[k].count_blk <= PIECE_BLK)
		total += it[k++].count_blk;
	*blocks = total;
	return k;
}

/* A batch that is being read. */
struct reading {
	const struct bow_batch *batch;
	pthread_mutex_t lock; /* of next */
	uint32_t next;	      /* backup */
};

struct piece {
	const struct bow_backup *first;
	uint32_t n, blocks;
};

static bool take(struct reading *r, struct piece *p)
{
	const struct bow_batch *b = r->batch;
	uint32_t left;

	pthread_mutex_lock(&r->lock);
	left = b->n - r->next;
	if (b->threads > 1)
		left = (uint32_t)bow_min(left, FEW);
	p->first = &b->items[r->next];
	p->n = left ? side_by_side(p->first, left, &p->blocks) : 0;
	r->next += p->n;
	pthread_mutex_unlock(&r->lock);
	return p->n;
}

static int read_pieces(void *ctx, unsigned number, const atomic_bool *stop,
		       struct bowimg_error *err)
{
	struct reading *r = ctx;
	const struct bow_batch *b = r->batch;
	uint8_t *buf = b->buf + number * PIECE_BYTES;
	struct piece p;
	int rc = 0;

	while (!rc && !atomic_load(stop) && take(r, &p)) {
		rc = bow_disk_read(b->dev, buf, (size_t)p.blocks * BOW_BLOCK,
				   p.first->from_blk * BOW_BLOCK, err);
		if (!rc)
			rc = b->piece(b->ctx, p.first, p.n, buf, err);
	}
	return rc;
}

int bow_batch_flush(struct bow_batch *b, struct bowimg_error *err)
{
	struct reading r = {.batch = b};
	int rc;

	bow_sort(b->items, b->n, sizeof(b->items[0]), by_place);
	pthread_mutex_init(&r.lock, NULL);
	rc = bow_crew_run((unsigned)bow_min(b->threads, bow_max(b->n, 1)), read_pieces, &r, err);
	pthread_mutex_destroy(&r.lock);
	b->n = 0;
	return rc;
}

int bow_batch_add(struct bow_batch *b, const struct bow_backup *it, struct bowimg_error *err)
{
	b->items[b->n++] = *it;
	return b->n == BATCH ? bow_batch_flush(b, err) : 0;
}
