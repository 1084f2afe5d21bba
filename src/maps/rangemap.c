/* SPDX-License-Identifier: MIT */
/*
 * The range map is a treap: a search tree by start, and a heap by random priority. Which runs are
 * in it may be chosen by an attacker (they come from a log on disk), so the priorities must not be
 * guessable: they come from a generator per map, seeded by the kernel. All walks are loops.
 *
 * Happy path of set: get the nodes that could be needed, cut the run out of what is there, then
 * extend a neighbour that continues into the run, or insert a node.
 * Failure mode: only getting the nodes can fail, and it comes first.
 */
#include "maps/rangemap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/bytes.h"

struct node {
	uint64_t start, count, value;
	uint64_t priority;
	struct node *left, *right;
};

struct bow_rangemap {
	struct node *root;
	struct node *spare; /* ready for use, linked by `right`; at most MAX_SPARE */
	size_t nodes, spares;
	uint64_t random; /* state of the xorshift generator; never 0 */
};

/* Setting a run can cut one node in two and add one. */
#define MAX_SPARE 2

struct bow_rangemap *bow_rangemap_new(void)
{
	struct bow_rangemap *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	/* Early in boot there may be no randomness: the heap's address is the next best. */
	if (getrandom(&map->random, sizeof(map->random), GRND_NONBLOCK) != sizeof(map->random))
		map->random = (uintptr_t)map;
	map->random |= 1;
	return map;
}

/* Rotates left children up until none is left, so that no stack is needed. */
static void free_tree(struct node *n)
{
	while (n) {
		struct node *next = n->left;

		if (next) {
			n->left = next->right;
			next->right = n;
		} else {
			next = n->right;
			free(n);
		}
		n = next;
	}
}

void bow_rangemap_free(struct bow_rangemap *map)
{
	if (!map)
		return;
	free_tree(map->root);
	free_tree(map->spare);
	free(map);
}

size_t bow_rangemap_nodes(const struct bow_rangemap *map)
{
	return map->nodes;
}

static uint64_t next_random(struct bow_rangemap *map)
{
	map->random ^= map->random << 13;
	map->random ^= map->random >> 7;
	map->random ^= map->random << 17;
	return map->random;
}

static int get_spares(struct bow_rangemap *map)
{
	while (map->spares < MAX_SPARE) {
		struct node *n = malloc(sizeof(*n));

		if (!n)
			return -ENOMEM;
		n->left = NULL;
		n->right = map->spare;
		map->spare = n;
		map->spares++;
	}
	return 0;
}

static void put_spare(struct bow_rangemap *map, struct node *n)
{
	if (map->spares >= MAX_SPARE) {
		free(n);
		return;
	}
	n->left = NULL;
	n->right = map->spare;
	map->spare = n;
	map->spares++;
}

/* Takes a spare, which get_spares() has provided; the run overlaps no node. */
static void insert(struct bow_rangemap *map, uint64_t start, uint64_t count, uint64_t value)
{
	struct node *n = map->spare, **link = &map->root, *rest, **l, **r;

	map->spare = n->right;
	map->spares--;
	map->nodes++;
	*n = (struct node){start, count, value, next_random(map), NULL, NULL};
	while (*link && (*link)->priority >= n->priority)
		link = start < (*link)->start ? &(*link)->left : &(*link)->right;
	rest = *link;
	*link = n;
	/* The subtree it displaces is unzipped into what lies left and right of it. */
	for (l = &n->left, r = &n->right; rest;) {
		if (rest->start < start) {
			*l = rest;
			l = &rest->right;
			rest = *l;
		} else {
			*r = rest;
			r = &rest->left;
			rest = *r;
		}
	}
	*l = *r = NULL;
}

static void detach(struct bow_rangemap *map, struct node *n)
{
	struct node **link = &map->root, *l = n->left, *r = n->right;

	while (*link != n)
		link = n->start < (*link)->start ? &(*link)->left : &(*link)->right;
	while (l && r) {
		if (l->priority >= r->priority) {
			*link = l;
			link = &l->right;
			l = *link;
		} else {
			*link = r;
			link = &r->left;
			r = *link;
		}
	}
	*link = l ? l : r;
	map->nodes--;
	put_spare(map, n);
}

/* The last node that starts at or before `at`, and the first that starts after it. */
static struct node *find(const struct bow_rangemap *map, uint64_t at, struct node **after)
{
	struct node *n = map->root, *before = NULL;

	*after = NULL;
	while (n) {
		if (n->start <= at) {
			before = n;
			n = n->right;
		} else {
			*after = n;
			n = n->left;
		}
	}
	return before;
}

static void drop_head(struct node *n, uint64_t count)
{
	n->start += count;
	n->value += count;
	n->count -= count;
}

/* Take [start, end) out of the map; needs at most one spare. */
static void cut(struct bow_rangemap *map, uint64_t start, uint64_t end)
{
	struct node *after, *n = find(map, start, &after);

	if (n && n->start < start && start - n->start < n->count) {
		uint64_t keep = start - n->start, upto = end - n->start;

		if (upto < n->count)
			insert(map, end, n->count - upto, n->value + upto);
		n->count = keep;
	}
	if (!n || n->start < start)
		n = after;
	while (n && n->start < end) {
		if (n->count > end - n->start) {
			drop_head(n, end - n->start);
			return;
		}
		detach(map, n);
		n = find(map, start, &after);
		n = n && n->start == start ? n : after;
	}
}

int bow_rangemap_erase(struct bow_rangemap *map, uint64_t start, uint64_t count)
{
	if (count > UINT64_MAX - start)
		return -EINVAL;
	if (!count)
		return 0;
	if (get_spares(map) < 0)
		return -ENOMEM;
	cut(map, start, start + count);
	return 0;
}

int bow_rangemap_set(struct bow_rangemap *map, uint64_t start, uint64_t count, uint64_t value)
{
	struct node *l, *r;

	if (count > UINT64_MAX - start || count > UINT64_MAX - value)
		return -EINVAL;
	if (!count)
		return 0;
	if (get_spares(map) < 0)
		return -ENOMEM;
	cut(map, start, start + count);
	l = find(map, start, &r);
	if (l && (l->start + l->count != start || l->value + l->count != value))
		l = NULL;
	if (r && (r->start != start + count || r->value != value + count))
		r = NULL;
	if (l) {
		l->count += count + (r ? r->count : 0);
		if (r)
			detach(map, r);
	} else if (r) {
		*r = (struct node){start, count + r->count, value, r->priority, r->left, r->right};
	} else {
		insert(map, start, count, value);
	}
	return 0;
}

uint64_t bow_rangemap_get(const struct bow_rangemap *map, uint64_t start, uint64_t count,
			  uint64_t *value, bool *found)
{
	struct node *after, *n = find(map, start, &after);

	*found = n && start - n->start < n->count;
	if (*found) {
		*value = n->value + (start - n->start);
		return bow_min(count, n->count - (start - n->start));
	}
	return after ? bow_min(count, after->start - start) : count;
}
