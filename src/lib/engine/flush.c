/* SPDX-License-Identifier: MIT */
/*
 * A flush is one barrier; with pending zeros, a record and its barrier; with zeros that are done,
 * barrier, ZERO_DONE entries, barrier [I4]. Afterwards blocks may be given back (give.c), which is
 * no part of it: if that is not possible, the flush is done all the same.
 */
#include "lib/engine/engine.h"

#define ZERO_DONE_MAX 128u /* logged at a time */

/* Make entries of the next done zeros that are ready, and clear their bits. */
static uint32_t collect_zero_done(struct bow_engine *img, struct bow_entry *e, uint32_t most,
				  uint64_t *from)
{
	uint64_t n;
	uint32_t k = 0;

	pthread_mutex_lock(&img->lock);
	for (; k < most && bow_bitmap_next_run(img->zero_done_ready, from, &n, img->blocks.count);
	     *from += n) {
		bow_bitmap_clear(img->zero_done_ready, *from, n);
		e[k++] = (struct bow_entry){
			.type = BOW_ENTRY_ZERO_DONE,
			.source_blk = *from,
			.count_blk = (uint32_t)n,
		};
	}
	pthread_mutex_unlock(&img->lock);
	return k;
}

/*
 * Rule 3: barrier, then the ZERO_DONE entries, then another barrier (which bow_engine_log()
 * passes). Zeros done meanwhile go to the other bitmap: their data may not be durable yet.
 */
static int log_zero_done(struct bow_engine *img, struct bowimg_error *err)
{
	struct bow_entry e[ZERO_DONE_MAX];
	/* Whole units at a time, as the reserve counts them. */
	uint32_t unit = bow_log_unit_entries(&img->log), most = ZERO_DONE_MAX / unit * unit, k;
	uint64_t from = 0, blocks;
	int rc = bow_engine_barrier(img, err);

	while (!rc && (k = collect_zero_done(img, e, most, &from)) > 0) {
		rc = bow_engine_log(img, e, k, err);
		pthread_mutex_lock(&img->lock);
		for (blocks = 0; k--; blocks += e[k].count_blk)
			if (!rc)
				bow_carry_zero_done_logged(img, e[k].source_blk, e[k].count_blk);
		img->n_zero_done -= blocks;
		pthread_mutex_unlock(&img->lock);
	}
	return rc;
}

/* With img->lock held: the zeros done so far become ours to log; false if there are none. */
static bool take_zero_done(struct bow_engine *img)
{
	struct bow_bitmap *ready;

	while (img->logging_zero_done)
		pthread_cond_wait(&img->changed, &img->lock);
	if (!bow_bitmap_count(img->blocks.zero_done))
		return false;
	ready = img->zero_done_ready;
	img->zero_done_ready = img->blocks.zero_done;
	img->blocks.zero_done = ready;
	img->logging_zero_done = true;
	return true;
}

static int flush_zero_done(struct bow_engine *img, struct bowimg_error *err)
{
	int rc = log_zero_done(img, err);

	/* Their bits are gone, so that no later flush would log them. */
	if (rc)
		bow_engine_fail(img, rc);
	pthread_mutex_lock(&img->lock);
	img->logging_zero_done = false;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	return rc;
}

static int flush(struct bow_engine *img, struct bowimg_error *err)
{
	bool done = false, pending = false;
	int rc;

	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	if (!rc) {
		done = take_zero_done(img);
		pending = img->n_zero_pending + img->led_zero_pending > 0;
	}
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	if (done)
		return flush_zero_done(img, err);
	/* Rule 4: the guest may rely on pending zeros now; one barrier covers them and all data. */
	return pending ? bow_engine_log(img, NULL, 0, err) : bow_engine_barrier(img, err);
}

int bow_engine_flush(struct bow_engine *img, struct bowimg_error *err)
{
	struct bow_warning due;
	uint64_t given;
	bool worth;
	int rc = flush(img, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&img->lock);
	worth = !img->give_running && bow_share_give_worth(img, BOW_GIVE_AT_FLUSH);
	due = bow_warning_at_flush(img);
	pthread_mutex_unlock(&img->lock);
	bow_warn(img, due);
	if (worth)
		bow_give(img, BOW_GIVE_AT_FLUSH, &given, NULL);
	return 0;
}

uint64_t bow_engine_make_room(struct bow_engine *img)
{
	uint64_t given = 0;
	bool share, done;

	pthread_mutex_lock(&img->lock);
	share = bow_share_in_the_way(img);
	pthread_mutex_unlock(&img->lock);
	if (share)
		bow_give(img, BOW_GIVE_SHARE, &given, NULL);
	if (!given)
		bow_give(img, BOW_GIVE_ON_DEMAND, &given, NULL);
	if (given)
		return given;
	/* Blocks may wait for a ZERO_DONE to be logged. */
	pthread_mutex_lock(&img->lock);
	done = !img->failed && take_zero_done(img);
	pthread_mutex_unlock(&img->lock);
	if (done && !flush_zero_done(img, NULL))
		bow_give(img, BOW_GIVE_ON_DEMAND, &given, NULL);
	return given;
}
