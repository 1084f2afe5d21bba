/* SPDX-License-Identifier: MIT */
/*
 * Where two files can differ: where their blocks are different ones, or the same ones that changed.
 * So a large file of which a little was overwritten costs that little.
 */
#include "base/bytes.h"
#include "fronts/diff_ext.h"

struct merge {
	const struct bow_diff *d;
	bow_diff_piece_func *piece;
	void *ctx;
	struct bowimg_error *err;
};

/* The same blocks on both sides: only what changed of them. */
static int same_place(const struct merge *m, uint64_t logical, uint64_t n, uint64_t physical)
{
	uint64_t at = physical, k;
	int rc = 0;

	while (!rc && (k = bow_changed_next(&m->d->changed, at, physical + n, &at))) {
		const uint64_t blk[BOW_SIDES] = {at, at};

		rc = m->piece(m->ctx, logical + (at - physical), k, blk, m->err);
		at += k;
	}
	return rc;
}

static int piece(const struct merge *m, uint64_t logical, uint64_t n, const uint64_t blk[BOW_SIDES])
{
	if (!blk[BOWIMG_NOW] && !blk[BOWIMG_BEFORE])
		return 0;
	if (m->d->related && blk[BOWIMG_NOW] == blk[BOWIMG_BEFORE])
		return same_place(m, logical, n, blk[BOWIMG_NOW]);
	return m->piece(m->ctx, logical, n, blk, m->err);
}

int bow_diff_pieces(const struct bow_diff *d, const struct bow_ext_runs runs[BOW_SIDES],
		    bow_diff_piece_func *func, void *ctx, struct bowimg_error *err)
{
	const struct merge m = {d, func, ctx, err};
	size_t i[BOW_SIDES] = {0};
	uint64_t at = 0, end;
	int rc = 0;

	for (; !rc; at = end) {
		uint64_t blk[BOW_SIDES] = {0};

		end = UINT64_MAX;
		for (int side = 0; side < BOW_SIDES; side++) {
			const struct bow_ext_runs *all = &runs[side];

			while (i[side] < all->n &&
			       all->v[i[side]].logical + all->v[i[side]].count <= at)
				i[side]++;
			if (i[side] == all->n)
				continue;
			const struct bow_ext_run *r = &all->v[i[side]];

			end = bow_min(end, r->logical > at ? r->logical : r->logical + r->count);
			if (r->logical <= at && !r->unwritten)
				blk[side] = r->physical + (at - r->logical);
		}
		if (end == UINT64_MAX)
			break;
		rc = piece(&m, at, end - at, blk);
	}
	return rc;
}
