/* SPDX-License-Identifier: MIT */
/*
 * Several threads that do one kind of work, where storage answers many requests at a time and most
 * of the time is waited for answers.
 */
#ifndef BOW_BASE_CREW_H
#define BOW_BASE_CREW_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/err.h"

#define BOW_CREW_MAX 32u

/* How many threads make up a crew for so many requests that are worth having in flight. */
static inline unsigned bow_crew_size(unsigned in_flight)
{
	return in_flight < 1 ? 1 : in_flight < BOW_CREW_MAX ? in_flight : BOW_CREW_MAX;
}

/*
 * What each of the threads does, until nothing is left or *stop is true; `number` tells them apart,
 * from 0 on, which is the caller's. Returns 0 or -errno with err.
 */
typedef int bow_crew_work(void *ctx, unsigned number, const atomic_bool *stop,
			  struct bowimg_error *err);

/*
 * Do the work in n threads, at most BOW_CREW_MAX; number 0 is the caller's own. Where threads are
 * out, fewer do all of it. Signals stay with the caller's thread. Returns 0, or the first failure;
 * the others stop then. All threads are gone when this returns.
 */
int bow_crew_run(unsigned n, bow_crew_work *work, void *ctx, struct bowimg_error *err);

/* What is to be done with the i-th of many pieces; the rest as above. */
typedef int bow_crew_piece(void *ctx, unsigned number, size_t i, struct bowimg_error *err);

/*
 * The same for pieces that depend on nothing, in at most n threads (0 counts as 1), and no more
 * than there are pieces. Who is ready takes the next one; after a failure nobody does.
 */
int bow_crew_each(unsigned n, size_t pieces, bow_crew_piece *piece, void *ctx,
		  struct bowimg_error *err);

/*
 * A crew that stands by, for work that comes again and again where no thread may begin: n - 1
 * threads wait for it. Where threads are out, there are fewer. Returns NULL if memory is out. No
 * work is being done when it is freed; NULL is accepted.
 */
struct bow_crew *bow_crew_new(unsigned n);
void bow_crew_free(struct bow_crew *crew);

/*
 * As bow_crew_run(), with those of the crew that are idle, so that at most n work. Several threads
 * may call this at a time: each is number 0 in its own work, and a number above that belongs to one
 * thread of the crew. Nobody waits for a thread that works for somebody else. A crew of NULL, and
 * one that was made before a fork, is the caller alone.
 */
int bow_crew_do(struct bow_crew *crew, unsigned n, bow_crew_work *work, void *ctx,
		struct bowimg_error *err);

/*
 * A thread as those of a crew are: it takes no signals, and its stack has a size that a daemon can
 * keep in memory. 0 or -EAGAIN.
 */
int bow_crew_thread(pthread_t *out, void *(*thread_main)(void *arg), void *arg);

#endif
