/* SPDX-License-Identifier: MIT */
#include "lib/base/progress.h"

#include "lib/base/stop.h"

int bow_progress_add(struct bow_progress *p, uint64_t bytes, struct bowimg_error *err)
{
	p->done += bytes;
	if (p->events && p->events->progress)
		p->events->progress(p->events->ctx, p->what, p->done, p->total);
	return bow_stop_asked(p->events, err);
}

void bow_shared_begin(struct bow_shared_progress *s, const struct bow_progress *from)
{
	s->progress = *from;
	s->caller = pthread_self();
	pthread_mutex_init(&s->lock, NULL);
}

int bow_shared_add(struct bow_shared_progress *s, uint64_t bytes, struct bowimg_error *err)
{
	struct bow_progress now;

	pthread_mutex_lock(&s->lock);
	s->progress.done += bytes;
	now = s->progress;
	pthread_mutex_unlock(&s->lock);
	return pthread_equal(s->caller, pthread_self()) ? bow_progress_add(&now, 0, err) : 0;
}

int bow_shared_end(struct bow_shared_progress *s, int rc, struct bowimg_error *err)
{
	pthread_mutex_destroy(&s->lock);
	return rc ? rc : bow_progress_add(&s->progress, 0, err);
}
