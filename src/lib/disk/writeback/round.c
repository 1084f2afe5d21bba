/* SPDX-License-Identifier: MIT */
/* The blocks of a round: which of them lie side by side, and what becomes of them. */
#include <string.h>

#include "lib/disk/writeback/private.h"

uint32_t bow_writeback_run_at(const struct bow_writeback *w, uint32_t at)
{
	struct bow_dirty **run = &w->order[at];
	uint32_t n = 1;

	while (n < BOW_WRITEBACK_RUN && at + n < w->round_n && run[n]->blk == run[0]->blk + n)
		n++;
	return n;
}

/* A stream fills places in their order. */
static bool lie_together(struct bow_dirty **run, uint32_t n)
{
	uint32_t i = 1;

	while (i < n && run[i] == run[0] + i)
		i++;
	return i == n;
}

const uint8_t *bow_writeback_content(const struct bow_writeback *w, struct bow_dirty **run,
				     uint32_t n, uint8_t *buf)
{
	if (lie_together(run, n))
		return bow_dirty_data(&w->set, run[0]);
	for (uint32_t i = 0; i < n; i++)
		memcpy(buf + (size_t)i * BOW_WRITEBACK_BLK, bow_dirty_data(&w->set, run[i]),
		       BOW_WRITEBACK_BLK);
	return buf;
}

/*
 * What could not be written is not read any more, either: whoever wrote it has had the answer. The
 * next process tries it again.
 */
void bow_writeback_clean(struct bow_writeback *w, struct bow_dirty **run, uint32_t n, int rc,
			 const struct bowimg_error *err)
{
	pthread_mutex_lock(&w->lock);
	if (rc && !w->failed) {
		w->failed = rc;
		w->failure = *err;
	}
	/* Backwards: the next stream finds them in their order. */
	for (uint32_t i = n; i-- > 0;)
		(rc ? bow_dirty_lose : bow_dirty_remove)(&w->set, run[i]);
	w->spent += n * BOW_WRITEBACK_COST;
	w->cleaned++;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}
