/* SPDX-License-Identifier: MIT */
#include "lib/freespace/helpers/trims.h"

#include <errno.h>

#include "lib/base/bytes.h"
#include "lib/freespace/freemap.h"

#define SECTOR 512u

int bow_trims_init(struct bow_trims *trims, uint64_t bytes)
{
	pthread_mutex_init(&trims->lock, NULL);
	trims->sectors = bow_bitmap_new(bow_div_up(bytes, SECTOR));
	return trims->sectors ? 0 : -ENOMEM;
}

void bow_trims_release(struct bow_trims *trims)
{
	bow_bitmap_free(trims->sectors);
	pthread_mutex_destroy(&trims->lock);
}

void bow_trims_add(struct bow_trims *trims, uint64_t off, uint64_t bytes)
{
	uint64_t first = bow_div_up(off, SECTOR), end = (off + bytes) / SECTOR;

	if (first >= end)
		return;
	pthread_mutex_lock(&trims->lock);
	(void)!bow_bitmap_set(trims->sectors, first, end - first);
	pthread_mutex_unlock(&trims->lock);
}

int bow_trims_take_back(struct bow_trims *trims, uint64_t off, uint64_t bytes)
{
	uint64_t first = off / SECTOR;
	int rc;

	if (!bytes)
		return 0;
	pthread_mutex_lock(&trims->lock);
	rc = bow_bitmap_clear(trims->sectors, first, bow_div_up(off + bytes, SECTOR) - first);
	pthread_mutex_unlock(&trims->lock);
	return rc;
}

int bow_trims_mark(struct bow_trims *trims, struct bow_bitmap *free, uint64_t image_size,
		   uint64_t off, uint64_t *bytes)
{
	uint64_t end = bow_bitmap_bits(trims->sectors), start = 0, count;
	int rc = 0;

	pthread_mutex_lock(&trims->lock);
	*bytes = bow_bitmap_count(trims->sectors) * SECTOR;
	for (; !rc && bow_bitmap_next_run(trims->sectors, &start, &count, end); start += count)
		rc = bow_freemap_mark(free, image_size, off + start * SECTOR, count * SECTOR);
	pthread_mutex_unlock(&trims->lock);
	return rc;
}
