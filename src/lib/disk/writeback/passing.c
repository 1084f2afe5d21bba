/* SPDX-License-Identifier: MIT */
/*
 * Requests that go past the cache. While one of them is under way, no block of it is in the cache.
 */
#include "lib/base/bytes.h"
#include "lib/disk/writeback/private.h"

#define BLK BOW_WRITEBACK_BLK

bool bow_writeback_is_passed(const struct bow_writeback *w, uint64_t blk)
{
	const struct bow_passing *p = w->passing;

	while (p && (blk < p->first || blk >= p->end))
		p = p->next;
	return p;
}

/* With the lock held: must it wait for dirty blocks, those in its way, or all for their room? */
static bool is_in_the_way(const struct bow_writeback *w, const struct bow_passing *p)
{
	return bow_dirty_any(&w->set, p->first, p->end) ||
	       (p->cost && w->set.used && !bow_writeback_has_room(w, p->cost));
}

/* Zeros take room in the log alone, and for a block at each end. */
static uint64_t cost_of(const struct bow_passing *p, enum bow_passing_kind kind)
{
	uint64_t blocks = kind == BOW_PASSING_READS ? 0 : p->end - p->first;

	return (kind == BOW_PASSING_ZEROS ? bow_min(blocks, 3) : blocks) * BOW_WRITEBACK_COST;
}

int bow_writeback_begin_passing(struct bow_writeback *w, struct bow_passing *p, uint64_t off,
				uint64_t bytes, enum bow_passing_kind kind,
				struct bowimg_error *err)
{
	int rc;

	p->first = off / BLK;
	p->end = bow_div_up(off + bytes, BLK);
	p->cost = cost_of(p, kind);
	pthread_mutex_lock(&w->lock);
	while (!(rc = bow_writeback_failed(w, err)) && is_in_the_way(w, p))
		bow_writeback_wait(w);
	if (!rc) {
		p->next = w->passing;
		w->passing = p;
		w->spent += p->cost;
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

void bow_writeback_end_passing(struct bow_writeback *w, const struct bow_passing *p)
{
	struct bow_passing **at = &w->passing;

	pthread_mutex_lock(&w->lock);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}
