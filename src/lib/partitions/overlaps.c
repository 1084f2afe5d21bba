/* SPDX-License-Identifier: MIT */
/* Do the partitions, and the table itself, keep apart? */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"
#include "lib/partitions/table.h"

int bow_table_add_range(struct bowimg_disk *dev, struct bow_table_ranges *c, uint64_t off,
			uint64_t bytes, const char *what, struct bowimg_error *err)
{
	struct bow_table_range *range = &c->list[c->count];

	if (c->count == BOW_TABLE_RANGES_MAX)
		return bow_table_refuse(dev, -EOPNOTSUPP, "it has too many partitions", err);
	*range = (struct bow_table_range){.off = off, .bytes = bytes};
	snprintf(range->what, sizeof(range->what), "%s", what);
	c->count++;
	return 0;
}

int bow_table_add_part(struct bowimg_disk *dev, struct bow_table_ranges *c,
		       const struct bow_part *part, struct bowimg_error *err)
{
	char what[40];

	snprintf(what, sizeof(what), "partition %u", part->number);
	return bow_table_add_range(dev, c, part->off, part->bytes, what, err);
}

static int by_offset(const void *a, const void *b)
{
	const struct bow_table_range *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

int bow_table_check_ranges(struct bowimg_disk *dev, struct bow_table_ranges *c, uint64_t off,
			   uint64_t bytes, const char *where, struct bowimg_error *err)
{
	char why[192];

	bow_sort(c->list, c->count, sizeof(c->list[0]), by_offset);
	for (uint32_t i = 0; i < c->count; i++) {
		const struct bow_table_range *now = &c->list[i], *last = now - 1;

		if (now->off < off || !bow_range_ok(now->off - off, now->bytes, bytes)) {
			snprintf(why, sizeof(why), "%s is not inside %s", now->what, where);
			return bow_table_cut_off(dev, why, err);
		}
		if (i > 0 && now->off - last->off < last->bytes) {
			snprintf(why, sizeof(why), "%s and %s overlap", last->what, now->what);
			return bow_table_refuse(dev, -EUCLEAN, why, err);
		}
	}
	return 0;
}
