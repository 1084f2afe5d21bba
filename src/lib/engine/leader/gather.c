/* SPDX-License-Identifier: MIT */
/*
 * Waits for company before a barrier.
 *
 * Requests in flight fall into two halves: one waits for its barrier, the other backs up meanwhile,
 * queues for the next barrier, and finds the first half gone for new work. Then each barrier serves
 * half of them for ever. Where a barrier takes long, a leader that waits a part of that time finds
 * all of them; databases call it group commit. Who is alone never waits: as many are expected as
 * were seen together, in the last round and behind it.
 */

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/engine/engine.h"

#define SHARE 4u		      /* of a round is waited at most, */
#define MOST_NS (20u * 1000u * 1000u) /* and at most so long */
#define LEAST_NS (100u * 1000u)	      /* shorter waits cost more than they bring */
#define MEMORY 4u		      /* rounds, roughly, that tell how long one takes */

int bow_gather_init(struct bow_gather *g)
{
	pthread_condattr_t attr;
	int rc = pthread_condattr_init(&attr);

	if (rc)
		return -rc;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	rc = pthread_cond_init(&g->complete, &attr);
	pthread_condattr_destroy(&attr);
	return -rc;
}

void bow_gather_release(struct bow_gather *g)
{
	pthread_cond_destroy(&g->complete);
}

void bow_gather_join(struct bow_gather *g)
{
	g->queued++;
	if (g->waiting && g->queued >= g->expected)
		pthread_cond_signal(&g->complete);
}

void bow_gather_wait(struct bow_gather *g, pthread_mutex_t *lock)
{
	uint64_t wait = bow_min(g->round_ns / SHARE, MOST_NS), until = bow_now_ns() + wait;
	const struct timespec end = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
	int rc = 0;

	if (wait < LEAST_NS)
		return;
	g->waiting = true;
	while (!rc && g->queued < g->expected)
		rc = pthread_cond_timedwait(&g->complete, lock, &end);
	g->waiting = false;
}

void bow_gather_begin(struct bow_gather *g)
{
	g->served = g->queued;
	g->queued = 0;
	g->began_ns = bow_now_ns();
}

void bow_gather_end(struct bow_gather *g)
{
	uint64_t took = bow_now_ns() - g->began_ns;

	g->round_ns = (g->round_ns * (MEMORY - 1) + took) / MEMORY;
	g->expected = g->served + g->queued;
}
