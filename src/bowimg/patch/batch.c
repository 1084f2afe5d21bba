/* SPDX-License-Identifier: MIT */
#include "bowimg/patch/batch.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"

int bow_patch_batch_init(struct bow_patch_batch *b, unsigned depth, struct bowimg_error *err)
{
	b->depth = bow_crew_size(depth);
	b->after = malloc((size_t)b->depth * BOW_PATCH_RUN_MAX);
	b->now = malloc((size_t)b->depth * BOW_PATCH_RUN_MAX);
	bow_patch_batch_empty(b);
	return b->after && b->now ? 0 : bow_err_errno(err, -ENOMEM, "applying the patch");
}

void bow_patch_batch_release(struct bow_patch_batch *b)
{
	free(b->after);
	free(b->now);
	b->after = b->now = NULL;
}

void bow_patch_batch_empty(struct bow_patch_batch *b)
{
	b->n = 0;
	b->used = 0;
}

bool bow_patch_batch_add(struct bow_patch_batch *b, const struct bow_patch_run *run,
			 const void *after)
{
	const uint32_t most = b->depth > 1 ? BOW_PATCH_BATCH : 1;

	if (b->n == most || b->used + run->bytes > (size_t)b->depth * BOW_PATCH_RUN_MAX)
		return false;
	if (!run->zero)
		memcpy(b->after + b->used, after, run->bytes);
	b->items[b->n++] = (struct bow_patch_item){.run = *run, .at = b->used};
	b->used += run->bytes;
	return true;
}

static int read_now(struct bow_patch_batch *b, struct bow_patch_item *it, unsigned number,
		    struct bowimg_error *err)
{
	uint8_t *buf = b->now + (size_t)number * BOW_PATCH_RUN_MAX;
	int rc = bowimg_disk_read(b->disk, buf, it->run.bytes, it->run.off, err);

	if (!rc)
		it->now = bow_hash(buf, it->run.bytes, 0);
	return rc;
}

static int compare(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct bow_patch_batch *b = ctx;

	return read_now(b, &b->items[i], number, err);
}

static int write_one(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct bow_patch_batch *b = ctx;
	struct bow_patch_item *it = &b->items[i];
	const struct bow_patch_run *run = &it->run;
	int rc = run->any ? 0 : read_now(b, it, number, err);

	it->unexpected = !run->any && it->now != run->before;
	if (rc || it->unexpected)
		return rc;
	return run->zero ? bowimg_disk_zero(b->disk, run->off, run->bytes, 0, err)
			 : bowimg_disk_write(b->disk, b->after + it->at, run->bytes, run->off, 0,
					     err);
}

static int run(struct bow_patch_batch *b, bowimg_disk *disk, bow_crew_piece *piece,
	       struct bowimg_error *err)
{
	b->disk = disk;
	return bow_crew_each(b->depth, b->n, piece, b, err);
}

int bow_patch_batch_compare(struct bow_patch_batch *b, bowimg_disk *disk, struct bowimg_error *err)
{
	return run(b, disk, compare, err);
}

int bow_patch_batch_write(struct bow_patch_batch *b, bowimg_disk *disk, struct bowimg_error *err)
{
	return run(b, disk, write_one, err);
}
