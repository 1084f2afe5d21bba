/* SPDX-License-Identifier: MIT */
/*
 * Writes what is dirty, in rounds. A round takes all blocks that are dirty when it begins, in the
 * order of their numbers, and writes them: many of them together, few with as many requests at a
 * time, which share barriers below. A thread of its own does that, or the one that flushes, if it
 * finds no round under way.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/disk/writeback/private.h"

#define DUE_NS (50u * 1000u * 1000u)
#define CREW 16u /* requests in flight; more runs than that are written together */
#define RUN_BYTES ((size_t)BOW_WRITEBACK_RUN * BOW_WRITEBACK_BLK)

/* ---- the order of a round ------------------------------------------------------------- */

/* Let the i-th sink, until neither of those below it has a higher number. */
static void sift(struct bow_dirty **list, uint32_t i, uint32_t n)
{
	struct bow_dirty *d = list[i];
	uint32_t k;

	while ((k = 2 * i + 1) < n) {
		if (k + 1 < n && list[k + 1]->blk > list[k]->blk)
			k++;
		if (list[k]->blk <= d->blk)
			break;
		list[i] = list[k];
		i = k;
	}
	list[i] = d;
}

/* Heapsort: qsort(3) may ask for memory, and a loop device on our file may wait for us to free it.
 */
static void sort(struct bow_dirty **list, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift(list, i, n);
	while (n-- > 1) {
		struct bow_dirty *highest = list[0];

		list[0] = list[n];
		list[n] = highest;
		sift(list, 0, n);
	}
}

/* ---- one round ------------------------------------------------------------------------ */

/* With the lock held: all blocks that are dirty. */
static void begin_round(struct bow_writeback *w)
{
	w->begun++;
	w->round_n = w->round_next = 0;
	for (uint32_t i = 0; i < w->set.n && w->round_n < w->dirty; i++) {
		struct bow_dirty *d = &w->set.list[i];

		if (d->state == BOW_DIRTY) {
			d->state = BOW_WRITING;
			w->order[w->round_n++] = d;
		}
	}
	w->dirty = 0;
}

/* Get the next blocks that lie side by side; returns how many. */
static uint32_t take_run(struct bow_writeback *w, struct bow_dirty ***run)
{
	uint32_t n = 0;

	pthread_mutex_lock(&w->lock);
	*run = &w->order[w->round_next];
	if (w->round_next < w->round_n)
		n = bow_writeback_run_at(w, w->round_next);
	w->round_next += n;
	pthread_mutex_unlock(&w->lock);
	return n;
}

static int write_run(struct bow_writeback *w, struct bow_dirty **run, uint32_t n, uint8_t *buf,
		     struct bowimg_error *err)
{
	uint64_t off = run[0]->blk * BOW_WRITEBACK_BLK;
	size_t bytes = (size_t)bow_min((uint64_t)n * BOW_WRITEBACK_BLK, w->disk.size - off);

	return bow_disk_write(w->below, bow_writeback_content(w, run, n, buf), bytes, off, err);
}

static int write_runs(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct bow_writeback *w = ctx;
	uint8_t *buf = w->runs + number * RUN_BYTES;
	struct bow_dirty **run;
	uint32_t n;

	(void)stop;
	while ((n = take_run(w, &run))) {
		int rc = write_run(w, run, n, buf, err);

		bow_writeback_clean(w, run, n, rc, err);
	}
	return 0;
}

/* How many runs there are, up to those that are worth being written together. */
static unsigned runs(const struct bow_writeback *w)
{
	unsigned n = 0;

	for (uint32_t at = 0; at < w->round_n && n < CREW; at += bow_writeback_run_at(w, at))
		n++;
	return n;
}

/* With the lock held, which is dropped meanwhile. One thread at a time: nobody is `writing`. */
static void write_round(struct bow_writeback *w)
{
	w->writing = true;
	bow_writeback_ask_room(w);
	begin_round(w);
	pthread_mutex_unlock(&w->lock);
	sort(w->order, w->round_n);
	if (runs(w) == CREW)
		bow_writeback_write_together(w);
	/* As many threads as there is work for: to wake one takes longer than to write a block. */
	bow_crew_do(w->crew, runs(w), write_runs, w, NULL);
	pthread_mutex_lock(&w->lock);
	w->writing = false;
	w->done = w->begun;
	pthread_cond_broadcast(&w->changed);
	pthread_cond_signal(&w->wanted);
}

/* ---- the thread ----------------------------------------------------------------------- */

static bool is_due(const struct bow_writeback *w)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return w->over || w->urgent || w->dirty >= w->set.n / 2 ||
	       !bow_time_is_later(&w->due, &now);
}

static void *writer_main(void *arg)
{
	struct bow_writeback *w = arg;

	pthread_mutex_lock(&w->lock);
	while (w->dirty || !w->over) {
		if (!w->dirty || w->writing)
			pthread_cond_wait(&w->wanted, &w->lock);
		else if (is_due(w))
			write_round(w);
		else
			pthread_cond_timedwait(&w->wanted, &w->lock, &w->due);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int bow_writeback_start(struct bow_writeback *w)
{
	w->order = malloc(w->set.n * sizeof(void *));
	w->runs = malloc((size_t)bow_max(CREW * BOW_WRITEBACK_RUN, BOW_WRITEBACK_MANY) *
			 BOW_WRITEBACK_BLK);
	w->writes = malloc(BOW_WRITEBACK_MANY * sizeof(w->writes[0]));
	w->crew = bow_crew_new(CREW);
	if (!w->order || !w->runs || !w->writes || !w->crew)
		return -ENOMEM;
	return bow_crew_thread(&w->writer, writer_main, w);
}

void bow_writeback_stop(struct bow_writeback *w)
{
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_signal(&w->wanted);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->writer, NULL);
}

/* ---- for the calls, with the lock held ------------------------------------------------- */

void bow_writeback_note_dirty(struct bow_writeback *w)
{
	if (!w->dirty++) {
		clock_gettime(CLOCK_MONOTONIC, &w->due);
		w->due.tv_nsec += DUE_NS;
		if (w->due.tv_nsec >= 1000000000) {
			w->due.tv_nsec -= 1000000000;
			w->due.tv_sec++;
		}
		pthread_cond_signal(&w->wanted);
	} else if (w->dirty == w->set.n / 2) {
		pthread_cond_signal(&w->wanted);
	}
}

int bow_writeback_failed(const struct bow_writeback *w, struct bowimg_error *err)
{
	if (w->failed && err)
		*err = w->failure;
	return w->failed ? bow_err_wrap(err, w->failed, "an earlier write") : 0;
}

void bow_writeback_wait(struct bow_writeback *w)
{
	w->urgent++;
	pthread_cond_signal(&w->wanted);
	pthread_cond_wait(&w->changed, &w->lock);
	w->urgent--;
}

void bow_writeback_settle(struct bow_writeback *w)
{
	uint64_t round = w->begun + (w->dirty ? 1 : 0);

	while (w->done < round) {
		if (w->dirty && !w->writing)
			write_round(w);
		else
			bow_writeback_wait(w);
	}
}
