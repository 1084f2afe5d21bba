/* SPDX-License-Identifier: MIT */
/* Between threads.c and crowd.c: threads and the sectors that are theirs. */
#ifndef TESTS_CRASH_CROWD_H
#define TESTS_CRASH_CROWD_H

#include "crash.h"

#define THREADS 3u
#define MOST_BYTES (4u * SIM_BLOCK)
#define TOGETHER 8u /* writes in one call */

struct crowd {
	struct lab *lab;
	pthread_mutex_t lock;	/* over the oracle */
	bool all_shared;	/* sectors are dealt out in all blocks */
	uint32_t first, blocks; /* where they are at work */
};

struct worker {
	pthread_t thread;
	struct crowd *crowd;
	struct rng rng;
	uint32_t number, requests, cursor;
	uint8_t buf[TOGETHER * SIM_BLOCK];
	char why[640];
};

/* Can the oracle note more values of each sector? */
bool crowd_has_room(struct crowd *c);
bool crowd_owns(const struct worker *w, uint32_t sector);
/* The next request of this thread. */
void crowd_choose(struct worker *w, struct lab_request *req);
/* Places that are this thread's, apart from each other and in order. Returns how many. */
uint32_t crowd_choose_places(struct worker *w, struct lab_request req[TOGETHER]);
/* A range to be looked at as it was; often where somebody is just about to overwrite. */
void crowd_choose_before(struct worker *w, uint64_t *off, uint64_t *bytes);

#endif
