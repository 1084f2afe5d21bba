/* SPDX-License-Identifier: MIT */
/* Do the partitions, and the table itself, keep apart? */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "maps/table.h"

int bow_claim(struct bow_dev *dev, struct bow_claims *c, uint64_t off, uint64_t bytes,
	      const char *what, struct bowimg_error *err)
{
	struct bow_claim *claim = &c->list[c->count];

	if (c->count == BOW_CLAIMS_MAX)
		return bow_table_refuse(dev, -EOPNOTSUPP, "it has too many partitions", err);
	*claim = (struct bow_claim){.off = off, .bytes = bytes};
	snprintf(claim->what, sizeof(claim->what), "%s", what);
	c->count++;
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct bow_claim *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

int bow_claims_check(struct bow_dev *dev, struct bow_claims *c, uint64_t off, uint64_t bytes,
		     const char *where, struct bowimg_error *err)
{
	char why[192];

	qsort(c->list, c->count, sizeof(c->list[0]), by_offset);
	for (uint32_t i = 0; i < c->count; i++) {
		const struct bow_claim *now = &c->list[i], *last = now - 1;

		if (now->off < off || !bow_range_ok(now->off - off, now->bytes, bytes)) {
			snprintf(why, sizeof(why), "%s is not inside %s", now->what, where);
			return bow_table_refuse(dev, -EUCLEAN, why, err);
		}
		if (i > 0 && now->off - last->off < last->bytes) {
			snprintf(why, sizeof(why), "%s and %s overlap", last->what, now->what);
			return bow_table_refuse(dev, -EUCLEAN, why, err);
		}
	}
	return 0;
}
