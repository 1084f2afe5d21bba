/* SPDX-License-Identifier: MIT */
/* Counts for the progress callback. */
#ifndef BOW_BASE_PROGRESS_H
#define BOW_BASE_PROGRESS_H

#include <pthread.h>

#include "lib/base/err.h"

struct bow_progress {
	const struct bowimg_events *events;
	const char *what;
	uint64_t done, total;
};
/* So much more is done, and may be left like this. -ECANCELED: it is to be. */
int bow_progress_add(struct bow_progress *p, uint64_t bytes, struct bowimg_error *err);

/*
 * The same from several threads of a crew. Callbacks come from the thread that called
 * bow_shared_begin(), and so does -ECANCELED; it calls bow_shared_end() when the others are gone.
 */
struct bow_shared_progress {
	struct bow_progress progress;
	pthread_mutex_t lock; /* of progress.done, and of what else the threads count */
	pthread_t caller;
};
void bow_shared_begin(struct bow_shared_progress *s, const struct bow_progress *from);
int bow_shared_add(struct bow_shared_progress *s, uint64_t bytes, struct bowimg_error *err);
/* If rc is 0, tells what the others did last. Returns rc, or -ECANCELED. */
int bow_shared_end(struct bow_shared_progress *s, int rc, struct bowimg_error *err);

#endif
