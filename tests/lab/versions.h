/* SPDX-License-Identifier: MIT */
/*
 * Copies of something in blocks, made again and again from the same source: which blocks did not
 * change on either side since the last time, and need not be copied? Each block has the time of its
 * last change, on a clock that only counts; so has each group of blocks, which is looked at first.
 */
#ifndef TESTS_VERSIONS_H
#define TESTS_VERSIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define VERSIONS_GROUP 32u

struct versions {
	uint64_t *at;	 /* per block: when it changed last */
	uint64_t *group; /* per VERSIONS_GROUP blocks: when the last of them did */
	uint64_t now;
	const struct versions *source; /* of the last copy; NULL: there was none */
	uint64_t source_then, then;    /* the two clocks when that was complete */
};

static inline bool versions_init(struct versions *v, uint64_t blocks)
{
	*v = (struct versions){.at = calloc(blocks, sizeof(*v->at)),
			       .group = calloc(blocks / VERSIONS_GROUP + 1, sizeof(*v->group))};
	return v->at && v->group;
}

static inline void versions_release(struct versions *v)
{
	free(v->at);
	free(v->group);
	v->at = v->group = NULL;
}

static inline void versions_changed(struct versions *v, uint64_t first, uint64_t end)
{
	for (v->now++; first < end; first++)
		v->at[first] = v->group[first / VERSIONS_GROUP] = v->now;
}

/* The first block from b on that is not the same in both; `end`, or more: all are. */
static inline uint64_t versions_differ(const struct versions *copy, const struct versions *of,
				       uint64_t b, uint64_t end)
{
	uint64_t g;

	for (; b < end && copy->source == of; b++) {
		g = b / VERSIONS_GROUP;
		if (of->group[g] <= copy->source_then && copy->group[g] <= copy->then)
			b = g * VERSIONS_GROUP + VERSIONS_GROUP - 1;
		else if (of->at[b] > copy->source_then || copy->at[b] > copy->then)
			break;
	}
	return b;
}

/* All blocks that were not the same have been copied, and counted as changed. */
static inline void versions_copied(struct versions *copy, const struct versions *of)
{
	copy->source = of;
	copy->source_then = of->now;
	copy->then = copy->now;
}

/* The first block from b on that was changed since the last copy was complete. */
static inline uint64_t versions_since(const struct versions *copy, uint64_t b, uint64_t end)
{
	for (; b < end && copy->at[b] <= copy->then; b++)
		if (copy->group[b / VERSIONS_GROUP] <= copy->then)
			b |= VERSIONS_GROUP - 1;
	return b;
}

#endif
