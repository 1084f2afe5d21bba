/* SPDX-License-Identifier: MIT */
/*
 * The paths of inodes that are known by number only. ext4 tells a directory's parent ("..") but not
 * a file's; so directories are read from the root downwards, in an order that finds them early:
 *
 *   - first those that must be read: the ancestors of wanted directories, found by their "..";
 *   - then, as long as names of files are missing, the one whose number is nearest to a missing
 *     file's: files are made in their directory's group, and numbers are given out in order.
 *
 * No file's inode and no content is read. At worst, for a file whose other names are far away,
 * all directories are. Nothing recurses, and each directory is read once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "fronts/diff_paths.h"

#define MUST 0		      /* priorities; others are distances between numbers, plus one */
#define IDLE BOW_TARGETS_NONE /* nothing is missing */

struct dir {
	uint32_t ino;
	uint32_t parent;  /* index; BOW_NO_DIR: not reached from the root yet */
	const char *name; /* in its parent */
	bool must, asked; /* to be read; its ancestors are noted */
	bool marked;
	uint32_t bytes; /* of its path, the final zero included */
};

struct queued {
	uint32_t dir, priority;
};

struct bow_paths {
	struct bow_diff *d;
	enum bowimg_side side;
	struct bow_targets targets;
	struct dir *dirs;
	size_t n_dirs, room_dirs;
	uint32_t *hash; /* open addressing: index + 1 of a directory, by number */
	size_t hash_room;
	struct queued *queue; /* a binary heap, the most urgent first */
	size_t n_queue, room_queue;
	struct bow_arena names;
};

/* ---- known directories ----------------------------------------------------------------------- */

static uint32_t *slot_of(const struct bow_paths *p, uint32_t ino)
{
	size_t i = (ino * UINT32_C(2654435761)) & (p->hash_room - 1);

	while (p->hash[i] && p->dirs[p->hash[i] - 1].ino != ino)
		i = (i + 1) & (p->hash_room - 1);
	return &p->hash[i];
}

static int grow_hash(struct bow_paths *p)
{
	const size_t room = p->hash_room ? p->hash_room * 2 : 1024;
	uint32_t *hash = calloc(room, sizeof(*hash));

	if (!hash)
		return -ENOMEM;
	free(p->hash);
	p->hash = hash;
	p->hash_room = room;
	for (size_t i = 0; i < p->n_dirs; i++)
		*slot_of(p, p->dirs[i].ino) = (uint32_t)i + 1;
	return 0;
}

static int get_dir(struct bow_paths *p, uint32_t ino, uint32_t *index, struct bowimg_error *err)
{
	struct dir *v;
	uint32_t *slot;

	if (2 * (p->n_dirs + 1) > p->hash_room && grow_hash(p))
		return bow_diff_no_memory(err);
	slot = slot_of(p, ino);
	if (!*slot) {
		v = bow_grow(p->dirs, p->n_dirs, &p->room_dirs, sizeof(*v));
		if (!v)
			return bow_diff_no_memory(err);
		p->dirs = v;
		v[p->n_dirs++] = (struct dir){.ino = ino, .parent = BOW_NO_DIR};
		*slot = (uint32_t)p->n_dirs;
	}
	*index = *slot - 1;
	return 0;
}

int bow_paths_new(struct bow_diff *d, enum bowimg_side side, struct bow_paths **out,
		  struct bowimg_error *err)
{
	struct bow_paths *p = calloc(1, sizeof(*p));
	uint32_t root;

	if (!p)
		return bow_diff_no_memory(err);
	*p = (struct bow_paths){.d = d, .side = side};
	if (get_dir(p, BOW_ROOT_INO, &root, err)) {
		bow_paths_free(p);
		return -ENOMEM;
	}
	p->dirs[root] = (struct dir){
		.ino = BOW_ROOT_INO, .parent = root, .name = "", .asked = true, .bytes = 1};
	*out = p;
	return 0;
}

void bow_paths_free(struct bow_paths *p)
{
	if (!p)
		return;
	bow_targets_release(&p->targets);
	bow_arena_release(&p->names);
	free(p->dirs);
	free(p->hash);
	free(p->queue);
	free(p);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

/* Upwards until the root, or a directory whose ancestors are noted: so that loops end, too. */
int bow_paths_want_dir(struct bow_paths *p, uint32_t ino, struct bowimg_error *err)
{
	struct bow_inode inode;
	uint32_t i;
	int rc = get_dir(p, ino, &i, err);

	while (!rc && !p->dirs[i].asked) {
		p->dirs[i].asked = true;
		rc = p->d->ops->inode(p->d, p->side, ino, &inode, err);
		if (rc || !inode.in_use || bow_inode_type(&inode) != S_IFDIR)
			return rc;
		rc = p->d->ops->parent(p->d, p->side, ino, &ino, err);
		if (!rc)
			rc = get_dir(p, ino, &i, err);
		if (!rc)
			p->dirs[i].must = true;
	}
	return rc;
}

int bow_paths_want_links(struct bow_paths *p, uint32_t ino, uint32_t links,
			 struct bowimg_error *err)
{
	return bow_targets_add(&p->targets, ino, links) ? bow_diff_no_memory(err) : 0;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static uint32_t priority(struct bow_paths *p, uint32_t dir)
{
	uint32_t distance;

	if (p->dirs[dir].must)
		return MUST;
	distance = bow_targets_distance(&p->targets, p->dirs[dir].ino);
	return distance == BOW_TARGETS_NONE ? IDLE : (uint32_t)bow_min(distance + 1ull, IDLE - 1);
}

static void swap(struct queued *a, struct queued *b)
{
	const struct queued t = *a;

	*a = *b;
	*b = t;
}

static void sift_down(struct bow_paths *p)
{
	for (size_t i = 0, least;; i = least) {
		least = i;
		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < p->n_queue; k++)
			if (p->queue[k].priority < p->queue[least].priority)
				least = k;
		if (least == i)
			return;
		swap(&p->queue[i], &p->queue[least]);
	}
}

static int enqueue(struct bow_paths *p, uint32_t dir, struct bowimg_error *err)
{
	struct queued *v = bow_grow(p->queue, p->n_queue, &p->room_queue, sizeof(*v));
	size_t i = p->n_queue;

	if (!v)
		return bow_diff_no_memory(err);
	p->queue = v;
	v[p->n_queue++] = (struct queued){dir, priority(p, dir)};
	for (; i && v[i].priority < v[(i - 1) / 2].priority; i = (i - 1) / 2)
		swap(&v[i], &v[(i - 1) / 2]);
	return 0;
}

/* Priorities only get worse, as names are found: one that is out of date goes back in. */
static bool dequeue(struct bow_paths *p, uint32_t *dir)
{
	while (p->n_queue) {
		struct queued *top = &p->queue[0];
		const uint32_t now = priority(p, top->dir);

		if (now > top->priority) {
			top->priority = now;
			sift_down(p);
			continue;
		}
		if (now == IDLE)
			return false;
		*dir = top->dir;
		*top = p->queue[--p->n_queue];
		sift_down(p);
		return true;
	}
	return false;
}

/* ---- the search ------------------------------------------------------------------------------ */

struct reading {
	struct bow_paths *p;
	uint32_t dir;
	int (*found)(struct bow_diff *d, uint32_t ino, uint32_t parent, const char *name,
		     struct bowimg_error *err);
};

/* Where entries have no types, as on ext2 of old, the inode says whether it is a directory. */
static int is_dir(struct bow_paths *p, const struct bow_entry *e, bool *yes,
		  struct bowimg_error *err)
{
	struct bow_inode inode;
	int rc;

	*yes = e->may_be_dir;
	if (!*yes || e->is_typed)
		return 0;
	rc = p->d->ops->inode(p->d, p->side, e->ino, &inode, err);
	*yes = !rc && bow_inode_type(&inode) == S_IFDIR;
	return rc;
}

/* One that was asked for always counts; others may lead to what is missing. */
static int meet_dir(struct reading *r, const struct bow_entry *e, struct bowimg_error *err)
{
	struct bow_paths *p = r->p;
	struct dir *dir;
	uint32_t i;
	int rc;

	if (!p->targets.open && !*slot_of(p, e->ino))
		return 0;
	rc = get_dir(p, e->ino, &i, err);
	if (rc || p->dirs[i].parent != BOW_NO_DIR)
		return rc;
	dir = &p->dirs[i];
	dir->bytes = p->dirs[r->dir].bytes + 1 + (uint32_t)strlen(e->name);
	dir->name = bow_arena_text(&p->names, e->name);
	if (!dir->name)
		return bow_diff_no_memory(err);
	if (dir->bytes > BOW_PATH_BYTES_MAX)
		return bow_diff_bad(p->d, p->side, "directories are nested too deeply", err);
	dir->parent = r->dir;
	return enqueue(p, i, err);
}

static int on_entry(void *ctx, const struct bow_entry *e, struct bowimg_error *err)
{
	struct reading *r = ctx;
	bool dir = false;
	int rc = 0;

	if (bow_targets_found(&r->p->targets, e->ino))
		rc = r->found(r->p->d, e->ino, r->p->dirs[r->dir].ino, e->name, err);
	if (!rc)
		rc = is_dir(r->p, e, &dir, err);
	return !rc && dir ? meet_dir(r, e, err) : rc;
}

int bow_paths_search(struct bow_paths *p,
		     int (*found)(struct bow_diff *d, uint32_t ino, uint32_t parent,
				  const char *name, struct bowimg_error *err),
		     struct bowimg_error *err)
{
	struct reading r = {.p = p, .found = found};
	struct bow_inode inode;
	uint64_t done = 0;
	int rc;

	if (bow_targets_seal(&p->targets))
		return bow_diff_no_memory(err);
	rc = enqueue(p, 0, err);
	while (!rc && dequeue(p, &r.dir)) {
		bow_diff_progress(p->d, "search names", done, done + p->n_queue + 1);
		done++;
		rc = p->d->ops->inode(p->d, p->side, p->dirs[r.dir].ino, &inode, err);
		if (!rc && inode.in_use && bow_inode_type(&inode) == S_IFDIR)
			rc = p->d->ops->walk_dir(p->d, p->side, inode.ino, on_entry, &r, err);
	}
	return rc;
}

/* Written from its end, upwards. */
static char *write_path(const struct bow_paths *p, uint32_t i, const char *name, char *path,
			size_t bytes)
{
	char *at = path + bytes;
	size_t k;

	*--at = '\0';
	if (name) {
		k = strlen(name);
		at = memcpy(at - k, name, k);
		*--at = '/';
	}
	for (; p->dirs[i].parent != i; i = p->dirs[i].parent) {
		k = strlen(p->dirs[i].name);
		at = memcpy(at - k, p->dirs[i].name, k);
		*--at = '/';
	}
	return path;
}

/* NULL: unknown, or not below the root. */
static struct dir *reached(const struct bow_paths *p, uint32_t ino)
{
	const uint32_t index = *slot_of(p, ino);

	return index && p->dirs[index - 1].parent != BOW_NO_DIR ? &p->dirs[index - 1] : NULL;
}

uint32_t bow_paths_parent(const struct bow_paths *p, uint32_t dir)
{
	const struct dir *d = reached(p, dir);

	return d ? p->dirs[d->parent].ino : 0;
}

bool bow_paths_mark(struct bow_paths *p, uint32_t dir)
{
	struct dir *d = reached(p, dir);

	if (!d || d->marked)
		return false;
	d->marked = true;
	return true;
}

int bow_paths_get(struct bow_paths *p, uint32_t ino, const char *name, const char **out,
		  struct bowimg_error *err)
{
	const struct dir *dir = reached(p, ino);
	size_t bytes;
	char *path;

	*out = NULL;
	if (!dir)
		return 0;
	bytes = dir->bytes + (name ? 1 + strlen(name) : 0);
	if (bytes == 1) {
		*out = "/";
		return 0;
	}
	path = bow_arena_get(&p->d->names, bytes);
	if (!path)
		return bow_diff_no_memory(err);
	if (p->d->names.bytes > BOW_PATHS_BYTES_MAX)
		return bow_diff_bad(p->d, p->side, "its changed paths are too long in all", err);
	*out = write_path(p, (uint32_t)(dir - p->dirs), name, path, bytes);
	return 0;
}
