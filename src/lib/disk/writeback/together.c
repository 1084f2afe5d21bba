/* SPDX-License-Identifier: MIT */
/*
 * Writes most of a round by few calls: the disk below then has to wait once for what many writes
 * wait for. What it does not take that way is left for those that write one by one.
 */
#include "lib/base/bytes.h"
#include "lib/disk/scatter.h"
#include "lib/disk/writeback/private.h"

#define BLK BOW_WRITEBACK_BLK

/* A write for each run from number `from` on, as many as fit. Returns where it stopped. */
static uint32_t gather(struct bow_writeback *w, uint32_t from, uint32_t *n)
{
	uint32_t at = from, k;

	for (*n = 0; at < w->round_n; at += k) {
		struct bow_dirty **run = &w->order[at];
		uint64_t off = run[0]->blk * BLK;

		k = bow_writeback_run_at(w, at);
		if (at + k - from > BOW_WRITEBACK_MANY)
			break;
		w->writes[(*n)++] = (struct bow_write){
			.buf = bow_writeback_content(w, run, k,
						     w->runs + (size_t)(at - from) * BLK),
			.bytes = (size_t)bow_min((uint64_t)k * BLK, w->disk.size - off),
			.off = off};
	}
	return at;
}

/* What was not begun goes to the others that are left. */
static void settle(struct bow_writeback *w, uint32_t at, uint32_t n, uint32_t *left,
		   const struct bowimg_error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct bow_write *write = &w->writes[i];
		uint32_t k = (uint32_t)bow_div_up(write->bytes, BLK);

		if (write->begun)
			bow_writeback_clean(w, &w->order[at], k, write->result, err);
		for (uint32_t j = 0; j < k && !write->begun; j++)
			w->order[(*left)++] = w->order[at + j];
		at += k;
	}
}

void bow_writeback_write_together(struct bow_writeback *w)
{
	uint32_t at, end, n, left = 0;

	for (at = 0; at < w->round_n; at = end) {
		struct bowimg_error err;

		bow_err_clear(&err);
		end = gather(w, at, &n);
		bow_disk_write_many(w->below, w->writes, n, &err);
		settle(w, at, n, &left, &err);
	}
	w->round_n = left;
}
