/* SPDX-License-Identifier: MIT */
#include "bowimg/diff/ext/ahead.h"

#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/base/stop.h"

#define RUN_MAX (1u << 20)	 /* longer runs are read in long requests when they are needed */
#define PIECE_BYTES (128u << 10) /* of a run, read at a time */
#define TOTAL_MAX (16u << 20)	 /* bytes of each version */

struct reading {
	const struct bow_diff *d;
	struct bow_diff_ahead *a;
	size_t n;
};

static uint64_t run_bytes(const struct bow_changed *c, const struct bow_changed_range *r)
{
	uint64_t off = r->start * c->block_size;

	return off < c->bytes ? bow_min((r->end - r->start) * c->block_size, c->bytes - off) : 0;
}

/* Lists in v (unless it is NULL) the pieces to be read; returns how many there are. */
static size_t each_piece(const struct bow_changed *c, struct bow_ext_piece *v, size_t *used)
{
	size_t n = 0;

	*used = 0;
	for (size_t i = 0; i < c->n; i++) {
		uint64_t off = c->v[i].start * c->block_size, left = run_bytes(c, &c->v[i]), k;

		if (left > RUN_MAX || *used + left > TOTAL_MAX)
			continue;
		for (; left; left -= k, off += k) {
			k = bow_min(left, PIECE_BYTES);
			if (v)
				v[n] = (struct bow_ext_piece){
					.off = off, .bytes = (uint32_t)k, .at = *used};
			n++;
			*used += k;
		}
	}
	return n;
}

/* What cannot be read is not known: the comparison may not need it. */
static void read_one(struct reading *r, int version, struct bow_ext_piece *p)
{
	p->known = bowimg_disk_read(r->d->source->disk[version], r->a->data[version] + p->at,
				    p->bytes, r->d->changed.off + p->off, NULL) == 0;
}

static int read_piece(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct reading *r = ctx;
	int version = i < r->n ? BOW_NEW : BOW_OLD;

	read_one(r, version, &r->a->v[version][i % r->n]);
	return number == 0 ? bow_stop_asked(&r->d->opts.events, err) : 0;
}

int bow_diff_ahead_read(const struct bow_diff *d, struct bow_diff_ahead *a,
			struct bowimg_error *err)
{
	unsigned threads = bowimg_disk_in_flight(d->source->disk[BOW_NEW]);
	struct reading r = {.d = d, .a = a};
	size_t used;

	r.n = threads > 1 ? each_piece(&d->changed, NULL, &used) : 0;
	if (!r.n)
		return 0;
	for (int version = 0; version < BOW_VERSIONS; version++) {
		a->v[version] = calloc(r.n, sizeof(*a->v[version]));
		a->data[version] = malloc(used);
		if (!a->v[version] || !a->data[version])
			return bow_diff_no_memory(err);
		each_piece(&d->changed, a->v[version], &used);
		a->known[version] = (struct bow_ext_ahead){a->v[version], r.n, a->data[version]};
	}
	return bow_crew_each(threads, 2 * r.n, read_piece, &r, err);
}

void bow_diff_ahead_release(struct bow_diff_ahead *a)
{
	for (int version = 0; version < BOW_VERSIONS; version++) {
		free(a->v[version]);
		free(a->data[version]);
	}
	*a = (struct bow_diff_ahead){0};
}
