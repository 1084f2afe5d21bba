/* SPDX-License-Identifier: MIT */
/*
 * Is there room for what the cache holds? A write that was answered cannot be refused any more when
 * the space for backups ends, so the cache takes a block only if all it holds has room below,
 * whatever else is written meanwhile. Where it has not, writes pass, and their answer is the
 * disk's.
 *
 * `room` is what the disk below had left when it was asked last, and `spent` what was written
 * since, at most. Another program may use up the host; then a write fails late.
 */
#include "lib/disk/writeback/private.h"

/* With the lock held: is there room for so many bytes more? */
bool bow_writeback_has_room(const struct bow_writeback *w, uint64_t bytes)
{
	return w->set.used * BOW_WRITEBACK_COST + w->spent + bytes <= w->room;
}

static uint64_t under_way(const struct bow_writeback *w)
{
	uint64_t bytes = 0;

	for (const struct bow_passing *p = w->passing; p; p = p->next)
		bytes += p->cost;
	return bytes;
}

/* With the lock held, which is dropped meanwhile. One thread at a time. */
void bow_writeback_ask_room(struct bow_writeback *w)
{
	uint64_t spent = w->spent, begun = under_way(w);
	struct bowimg_counters now;

	if (w->asking)
		return;
	w->asking = true;
	pthread_mutex_unlock(&w->lock);
	bowimg_disk_get_counters(w->below, &now);
	pthread_mutex_lock(&w->lock);
	w->asking = false;
	w->room = now.budget.known ? now.budget.left_bytes : UINT64_MAX;
	w->spent = w->spent - spent + begun;
}
