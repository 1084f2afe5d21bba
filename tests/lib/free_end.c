/* SPDX-License-Identifier: MIT */
#include "free_end.h"

#include <errno.h>
#include "lib/blocks/bitmap.h"
#include "lib/verbs/operations.h"

int prepare_free_end(struct bowimg_disk *dev, uint64_t free_from, enum bowimg_on_full on_full)
{
	uint64_t blocks = bow_disk_size(dev) / BOWIMG_BLOCK_SIZE;
	struct bow_bitmap *free_map = bow_bitmap_new(blocks);
	struct bow_prepare_plan plan = {.free = free_map,
					.free_source = "map",
					.store = BOWIMG_STORE_FREE,
					.on_full = on_full};
	struct bowimg_prepare_report report;
	int rc = free_map ? bow_bitmap_set(free_map, free_from, blocks - free_from) : -ENOMEM;

	if (!rc)
		rc = bow_prepare_dev(dev, &plan, &report, NULL);
	bow_bitmap_free(free_map);
	return rc;
}
