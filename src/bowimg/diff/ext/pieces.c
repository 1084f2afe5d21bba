/* SPDX-License-Identifier: MIT */
/*
 * Where two files can differ: they have different blocks there, or the same block changed. So a
 * large file that was overwritten a little costs that little.
 */
#include "lib/base/bytes.h"
#include "bowimg/diff/ext/ext.h"

struct merge {
	const struct bow_diff *d;
	bow_diff_piece_func *piece;
	void *ctx;
	struct bowimg_error *err;
};

/* The same blocks in both versions: only those that changed. */
static int same_place(const struct merge *m, uint64_t logical, uint64_t n, uint64_t physical)
{
	uint64_t at = physical, k;
	int rc = 0;

	while (!rc && (k = bow_changed_next(&m->d->changed, at, physical + n, &at))) {
		const uint64_t blk[BOW_VERSIONS] = {at, at};

		rc = m->piece(m->ctx, logical + (at - physical), k, blk, m->err);
		at += k;
	}
	return rc;
}

static int piece(const struct merge *m, uint64_t logical, uint64_t n,
		 const uint64_t blk[BOW_VERSIONS])
{
	if (!blk[BOW_NEW] && !blk[BOW_OLD])
		return 0;
	if (m->d->related && blk[BOW_NEW] == blk[BOW_OLD])
		return same_place(m, logical, n, blk[BOW_NEW]);
	return m->piece(m->ctx, logical, n, blk, m->err);
}

int bow_diff_pieces(const struct bow_diff *d, const struct bow_ext_runs runs[BOW_VERSIONS],
		    bow_diff_piece_func *func, void *ctx, struct bowimg_error *err)
{
	const struct merge m = {d, func, ctx, err};
	size_t i[BOW_VERSIONS] = {0};
	uint64_t at = 0, end;
	int rc = 0;

	for (; !rc; at = end) {
		uint64_t blk[BOW_VERSIONS] = {0};

		end = UINT64_MAX;
		for (int version = 0; version < BOW_VERSIONS; version++) {
			const struct bow_ext_runs *all = &runs[version];

			while (i[version] < all->n &&
			       all->v[i[version]].logical + all->v[i[version]].count <= at)
				i[version]++;
			if (i[version] == all->n)
				continue;
			const struct bow_ext_run *r = &all->v[i[version]];

			end = bow_min(end, r->logical > at ? r->logical : r->logical + r->count);
			if (r->logical <= at && !r->unwritten)
				blk[version] = r->physical + (at - r->logical);
		}
		if (end == UINT64_MAX)
			break;
		rc = piece(&m, at, end - at, blk);
	}
	return rc;
}
