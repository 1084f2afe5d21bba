/* SPDX-License-Identifier: MIT */
/*
 * The range map is a treap: a search tree by start, and a heap by random priority. An attacker may
 * choose the runs in it (they come from a log on disk), so the priorities must not be guessable:
 * each map has a generator of its own, seeded by the kernel. All walks are loops.
 *
 * Happy path of set: get the nodes that could be needed, cut the run out of the existing nodes,
 * then extend a neighbour that continues into the run, or insert a node.
 * Failure mode: only getting the nodes can fail, and it comes first.
 */
#include "lib/blocks/rangemap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/base/bytes.h"

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
	/* Early in boot there may be no randomness; the heap's address is the next best. */
	if (getrandom(&map->random, sizeof(map->random), GRND_NONBLOCK) != sizeof(map->random))
		map->random = (uintptr_t)map;
	map->random |= 1;
	return map;
}

/* Rotates left children up until there are none, so that no stack is needed. */
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

/* Split a tree into the nodes that begin before `at` and the others. */
static void unzip(struct node *rest, uint64_t at, struct node **l, struct node **r)
{
	while (rest) {
		if (rest->start < at) {
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

/* Join two trees, where all of l lies before all of r. */
static void zip(struct node **link, struct node *l, struct node *r)
{
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
}

/* Takes a spare that get_spares() has provided; the run overlaps no node. */
static void insert(struct bow_rangemap *map, uint64_t start, uint64_t count, uint64_t value)
{
	struct node *n = map->spare, **link = &map->root, *rest;

	map->spare = n->right;
	map->spares--;
	map->nodes++;
	*n = (struct node){start, count, value, next_random(map), NULL, NULL};
	while (*link && (*link)->priority >= n->priority)
		link = start < (*link)->start ? &(*link)->left : &(*link)->right;
	rest = *link;
	*link = n;
	/* Split the subtree it displaces into the parts left and right of it. */
	unzip(rest, start, &n->left, &n->right);
}

static void detach(struct bow_rangemap *map, struct node *n)
{
	struct node **link = &map->root;

	while (*link && *link != n)
		link = n->start < (*link)->start ? &(*link)->left : &(*link)->right;
	zip(link, n->left, n->right);
	map->nodes--;
	put_spare(map, n);
}

/* Returns the last node that starts at or before `at`; *after is the first that starts after it. */
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

/* Remove [start, end) from the map; needs at most one spare. */
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

/* Split a node that crosses `at`; takes a spare. */
static void divide(struct bow_rangemap *map, uint64_t at)
{
	struct node *after, *n = find(map, at, &after);
	uint64_t keep;

	if (!n || n->start == at || n->count <= at - n->start)
		return;
	keep = at - n->start;
	insert(map, at, n->count - keep, n->value + keep);
	n->count = keep;
}

/*
 * Add `by` to the start of each node. Returns how many blocks they have. Morris' walk: needs no
 * stack, however deep the tree is.
 */
static uint64_t shift(struct node *n, uint64_t by, size_t *nodes)
{
	uint64_t blocks = 0;

	for (*nodes = 0; n;) {
		struct node *last = n->left;

		while (last && last->right && last->right != n)
			last = last->right;
		if (last && !last->right) {
			last->right = n;
			n = n->left;
			continue;
		}
		if (last)
			last->right = NULL;
		n->start += by;
		blocks += n->count;
		++*nodes;
		n = n->right;
	}
	return blocks;
}

/* Takes two spares, and leaves the count of nodes as it is. */
static struct node *take_out(struct bow_rangemap *map, uint64_t start, uint64_t count)
{
	struct node *l, *m, *r;

	divide(map, start);
	divide(map, start + count);
	unzip(map->root, start, &l, &r);
	unzip(r, start + count, &m, &r);
	zip(&map->root, l, r);
	return m;
}

/* Nothing is known there. */
static void put_in(struct bow_rangemap *map, uint64_t start, struct node *m)
{
	struct node *l, *r;

	unzip(map->root, start, &l, &r);
	zip(&l, l, m);
	zip(&map->root, l, r);
}

/* A block without an entry is at its own place; give it an entry that says so. */
static int fill_gaps(struct bow_rangemap *map, uint64_t start, uint64_t count)
{
	uint64_t run, value;
	bool found;
	int rc = 0;

	for (; count && !rc; start += run, count -= run) {
		run = bow_rangemap_get(map, start, count, &value, &found);
		if (!found)
			rc = bow_rangemap_set(map, start, run, start);
	}
	return rc;
}

/*
 * Take out what is known of these blocks, all of which must have entries, and renumber it. Usually
 * they have: one look at all nodes is cheaper than a search for each.
 */
static int take_all(struct bow_rangemap *map, uint64_t from, uint64_t count, uint64_t by,
		    struct node **out, size_t *nodes)
{
	int rc;

	if (get_spares(map) < 0)
		return -ENOMEM;
	*out = take_out(map, from, count);
	if (shift(*out, by, nodes) == count)
		return 0;
	shift(*out, -by, nodes);
	put_in(map, from, *out);
	rc = fill_gaps(map, from, count);
	if (!rc)
		rc = get_spares(map);
	if (rc)
		return rc;
	*out = take_out(map, from, count);
	shift(*out, by, nodes);
	return 0;
}

/* The nodes keep their order and values: they are cut out, renumbered, and put in elsewhere. */
int bow_rangemap_hand_over(struct bow_rangemap *map, uint64_t from, struct bow_rangemap *other,
			   uint64_t to, uint64_t count)
{
	struct node *m;
	size_t nodes;
	int rc = bow_rangemap_erase(other, to, count);

	if (!rc)
		rc = take_all(map, from, count, to - from, &m, &nodes);
	if (rc)
		return rc;
	put_in(other, to, m);
	map->nodes -= nodes;
	other->nodes += nodes;
	return 0;
}
