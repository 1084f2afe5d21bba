/* SPDX-License-Identifier: MIT */
/* Joins neighbours, and asks for all that is left at the same time; several writes at a time. */
#include "lib/disk/scatter.h"

#include <assert.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)

struct scatter {
	struct bowimg_disk *dev;
	const uint64_t *blk;
	uint8_t *in;	    /* NULL: it is written */
	const uint8_t *out; /* NULL: it is read */
	uint32_t runs;
	uint32_t first[BOW_SCATTER_MAX + 1]; /* of each run, and behind the last */
};

static void find_runs(struct scatter *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (i == 0 || s->blk[i] != s->blk[i - 1] + 1)
			s->first[s->runs++] = i;
	s->first[s->runs] = n;
}

static int transfer(void *ctx, unsigned number, size_t run, struct bowimg_error *err)
{
	const struct scatter *s = ctx;
	uint32_t first = s->first[run];
	size_t at = first * BLOCK, bytes = (s->first[run + 1] - first) * BLOCK;
	uint64_t off = s->blk[first] * BLOCK;

	(void)number;
	return s->in ? bow_disk_read(s->dev, s->in + at, bytes, off, err)
		     : bow_disk_write(s->dev, s->out + at, bytes, off, err);
}

static int run(struct scatter *s, uint32_t n, struct bowimg_error *err)
{
	assert(n <= BOW_SCATTER_MAX);
	find_runs(s, n);
	return bow_crew_each(s->dev->queue_depth, s->runs, transfer, s, err);
}

int bow_disk_read_scattered(struct bowimg_disk *dev, const uint64_t *blk, uint32_t n, void *buf,
			    struct bowimg_error *err)
{
	struct scatter s = {.dev = dev, .blk = blk, .in = buf};

	return run(&s, n, err);
}

int bow_disk_write_scattered(struct bowimg_disk *dev, const uint64_t *blk, uint32_t n,
			     const void *buf, struct bowimg_error *err)
{
	struct scatter s = {.dev = dev, .blk = blk, .out = buf};

	return run(&s, n, err);
}

static bool may_write(const struct bowimg_disk *dev, const struct bow_write *w)
{
	return w->bytes <= BOW_WRITE_MAX && bow_range_ok(w->off, w->bytes, bow_disk_size(dev));
}

void bow_disk_write_many(struct bowimg_disk *dev, struct bow_write *writes, uint32_t n,
			 struct bowimg_error *err)
{
	bool possible = !dev->readonly && dev->built && dev->built->write_many;

	for (uint32_t i = 0; i < n; i++) {
		writes[i].begun = false;
		possible &= may_write(dev, &writes[i]);
	}
	if (possible)
		dev->built->write_many(dev, writes, n, err);
}

void bow_disk_will_read(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	if (dev->ops && dev->ops->will_read)
		dev->ops->will_read(dev, off, bytes);
}
