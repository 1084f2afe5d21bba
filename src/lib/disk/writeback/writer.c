/* SPDX-License-Identifier: MIT */
/*
 * Writes what is dirty, in rounds. A round takes all blocks that are dirty when it begins, in the
 * order of their numbers, and writes them side by side, with many requests at a time: below they
 * share barriers, and what lies near to each other is backed up together. A thread of its own does
 * that, or the one that flushes, if it finds no round under way.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/disk/writeback/private.h"

#define DUE_NS (50u * 1000u * 1000u)
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
	while (n < BOW_WRITEBACK_RUN && w->round_next + n < w->round_n &&
	       (*run)[n]->blk == (*run)[0]->blk + n)
		n++;
	w->round_next += n;
	pthread_mutex_unlock(&w->lock);
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

static int write_run(struct bow_writeback *w, struct bow_dirty **run, uint32_t n, uint8_t *buf,
		     struct bowimg_error *err)
{
	uint64_t off = run[0]->blk * BOW_WRITEBACK_BLK;
	size_t bytes = (size_t)bow_min((uint64_t)n * BOW_WRITEBACK_BLK, w->disk.size - off);

	if (lie_together(run, n))
		return bow_disk_write(w->below, bow_dirty_data(&w->set, run[0]), bytes, off, err);
	for (uint32_t i = 0; i < n; i++)
		memcpy(buf + (size_t)i * BOW_WRITEBACK_BLK, bow_dirty_data(&w->set, run[i]),
		       BOW_WRITEBACK_BLK);
	return bow_disk_write(w->below, buf, bytes, off, err);
}

/*
 * What could not be written is not read any more, either: whoever wrote it has had the answer. The
 * next process tries it again.
 */
static void clean(struct bow_writeback *w, struct bow_dirty **run, uint32_t n, int rc,
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

static int write_runs(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct bow_writeback *w = ctx;
	uint8_t *buf = w->runs + number * RUN_BYTES;
	struct bow_dirty **run;
	uint32_t n;

	(void)stop;
	while ((n = take_run(w, &run))) {
		int rc = write_run(w, run, n, buf, err);

		clean(w, run, n, rc, err);
	}
	return 0;
}

/* As many threads as there is work for: to wake one takes longer than to write a block. */
static unsigned helpers(const struct bow_writeback *w)
{
	unsigned runs = 1;

	for (uint32_t i = 1; i < w->round_n && runs < BOW_CREW_MAX; i++)
		runs += w->order[i]->blk != w->order[i - 1]->blk + 1;
	return runs;
}

/* With the lock held, which is dropped meanwhile. One thread at a time: nobody is `writing`. */
static void write_round(struct bow_writeback *w)
{
	w->writing = true;
	bow_writeback_ask_room(w);
	begin_round(w);
	pthread_mutex_unlock(&w->lock);
	sort(w->order, w->round_n);
	bow_crew_do(w->crew, helpers(w), write_runs, w, NULL);
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
	w->runs = malloc(BOW_CREW_MAX * RUN_BYTES);
	w->crew = bow_crew_new(BOW_CREW_MAX);
	if (!w->order || !w->runs || !w->crew)
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
