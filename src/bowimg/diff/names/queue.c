/* SPDX-License-Identifier: MIT */
/* Which directory is read next: first all that must be, then the one nearest to a missing name. */
#include "lib/base/bytes.h"
#include "bowimg/diff/names/names.h"

#define MUST 0		      /* priorities; others are distances between numbers, plus one */
#define IDLE BOW_TARGETS_NONE /* no name is missing */

static uint32_t priority(struct bow_paths *p, uint32_t dir)
{
	uint32_t distance;

	if (p->dirs.v[dir].must)
		return MUST;
	distance = bow_targets_distance(&p->targets, p->dirs.v[dir].ino);
	return distance == BOW_TARGETS_NONE ? IDLE : (uint32_t)bow_min(distance + 1ull, IDLE - 1);
}

static void swap(struct bow_queued *a, struct bow_queued *b)
{
	const struct bow_queued t = *a;

	*a = *b;
	*b = t;
}

static void sift_down(struct bow_dir_queue *q)
{
	for (size_t i = 0, least;; i = least) {
		least = i;
		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < q->n; k++)
			if (q->v[k].priority < q->v[least].priority)
				least = k;
		if (least == i)
			return;
		swap(&q->v[i], &q->v[least]);
	}
}

int bow_paths_enqueue(struct bow_paths *p, uint32_t dir, struct bowimg_error *err)
{
	struct bow_dir_queue *q = &p->queue;
	struct bow_queued *v = bow_grow(q->v, q->n, &q->room, sizeof(*v));
	size_t i = q->n;

	if (!v)
		return bow_diff_no_memory(err);
	q->v = v;
	v[q->n++] = (struct bow_queued){dir, priority(p, dir)};
	for (; i && v[i].priority < v[(i - 1) / 2].priority; i = (i - 1) / 2)
		swap(&v[i], &v[(i - 1) / 2]);
	return 0;
}

/* Priorities only get worse, as names are found: a priority that is out of date is corrected. */
bool bow_paths_dequeue(struct bow_paths *p, uint32_t *dir)
{
	struct bow_dir_queue *q = &p->queue;

	while (q->n) {
		struct bow_queued *top = &q->v[0];
		const uint32_t now = priority(p, top->dir);

		if (now > top->priority) {
			top->priority = now;
			sift_down(q);
			continue;
		}
		if (now == IDLE)
			return false;
		*dir = top->dir;
		*top = q->v[--q->n];
		sift_down(q);
		return true;
	}
	return false;
}
