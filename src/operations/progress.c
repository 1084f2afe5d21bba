/* SPDX-License-Identifier: MIT */
#include "operations/internal.h"

void bow_progress_add(struct bow_progress *p, uint64_t bytes)
{
	p->done += bytes;
	if (p->events && p->events->progress)
		p->events->progress(p->events->ctx, p->what, p->done, p->total);
}
