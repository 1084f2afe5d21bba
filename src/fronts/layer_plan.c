/* SPDX-License-Identifier: MIT */
/*
 * What goes into the archive: what was added, modified or renamed; all that is below renamed
 * directories; the directories above all of these, so that unpacking them elsewhere gives them
 * their owners and modes; and markers for what is gone: a whiteout for a name, an opaque mark for a
 * directory in whose place there is another one.
 *
 * What is hidden needs no markers inside it; diff_items.c tells which names lay in directories that
 * are still in their place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fronts/layer_private.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct plan {
	struct bow_diff *d;
	const struct bow_layer_format *format;
	struct bow_layer_plan *out;
	size_t *todo; /* entries that are directories still to be walked */
	size_t n_todo, room_todo;
};

static void leave_out(struct plan *p, const char *path, const char *why)
{
	const struct bowimg_events *events = &p->d->opts.events;
	char text[512];

	p->out->left_out++;
	snprintf(text, sizeof(text), "left out of the archive: %.300s: %s", path, why);
	if (events->notice)
		events->notice(events->ctx, text);
}

static int push(struct plan *p, const struct bow_layer_entry *e, struct bowimg_error *err)
{
	struct bow_layer_plan *out = p->out;
	struct bow_layer_entry *v = bow_grow(out->v, out->n, &out->room, sizeof(*v));

	if (!v)
		return bow_diff_no_memory(err);
	out->v = v;
	v[out->n++] = *e;
	return 0;
}

/* NULL: it can be in the archive. */
static const char *why_not(const struct plan *p, const char *path, const struct bow_inode *i)
{
	const unsigned type = bow_inode_type(i);

	if (strstr(path, "/" WHITEOUT))
		return "a name that begins with .wh. would delete something";
	if (i->is_encrypted)
		return "it is encrypted";
	if (type == S_IFSOCK)
		return "a socket";
	if (!p->format->is_tar && type != S_IFREG && type != S_IFDIR && type != S_IFLNK)
		return "this format holds files, directories and links only";
	return NULL;
}

static int add_entry(struct plan *p, const char *path, uint32_t ino, bool *is_dir,
		     struct bowimg_error *err)
{
	const struct bow_layer_entry e = {.key = strcmp(path, "/") == 0 ? "" : path, .ino = ino};
	struct bow_inode inode;
	const char *why;
	int rc = p->d->ops->inode(p->d, BOWIMG_NOW, ino, &inode, err);

	*is_dir = false;
	if (rc)
		return rc;
	why = why_not(p, path, &inode);
	if (why) {
		leave_out(p, path, why);
		return 0;
	}
	*is_dir = bow_inode_type(&inode) == S_IFDIR;
	return push(p, &e, err);
}

/* ---- directories on the way ------------------------------------------------------------------ */

static int add_above(struct plan *p, uint32_t dir, struct bowimg_error *err)
{
	bool is_dir;
	int rc = 0;

	while (!rc && bow_paths_mark(p->d->paths[BOWIMG_NOW], dir)) {
		const char *path;

		rc = bow_paths_get(p->d->paths[BOWIMG_NOW], dir, NULL, &path, err);
		if (!rc && path)
			rc = add_entry(p, path, dir, &is_dir, err);
		dir = bow_paths_parent(p->d->paths[BOWIMG_NOW], dir);
	}
	return rc;
}

/* ---- renamed directories --------------------------------------------------------------------- */

struct walk {
	struct plan *p;
	const char *path;
};

static int push_todo(struct plan *p, struct bowimg_error *err)
{
	size_t *v = bow_grow(p->todo, p->n_todo, &p->room_todo, sizeof(*v));

	if (!v)
		return bow_diff_no_memory(err);
	p->todo = v;
	v[p->n_todo++] = p->out->n - 1;
	return 0;
}

static int on_entry(void *ctx, const struct bow_entry *e, struct bowimg_error *err)
{
	struct walk *w = ctx;
	struct plan *p = w->p;
	const size_t bytes = strlen(w->path) + 1 + strlen(e->name) + 1;
	char *path = bow_arena_get(&p->d->names, bytes);
	bool is_dir;
	int rc;

	if (!path)
		return bow_diff_no_memory(err);
	if (bytes > BOW_PATH_BYTES_MAX || p->d->names.bytes > BOW_PATHS_BYTES_MAX)
		return bow_diff_bad(p->d, BOWIMG_NOW, "directories are nested too deeply", err);
	snprintf(path, bytes, "%s/%s", w->path, e->name);
	rc = add_entry(p, path, e->ino, &is_dir, err);
	return !rc && is_dir ? push_todo(p, err) : rc;
}

/* Depth is bounded by the length of paths, work by what the file system may refer to. */
static int add_below(struct plan *p, struct bowimg_error *err)
{
	int rc = 0;

	while (!rc && p->n_todo) {
		const struct bow_layer_entry dir = p->out->v[p->todo[--p->n_todo]];
		struct walk w = {p, dir.key};

		rc = p->d->ops->walk_dir(p->d, BOWIMG_NOW, dir.ino, on_entry, &w, err);
	}
	return rc;
}

/* ---- markers --------------------------------------------------------------------------------- */

static int add_marker(struct plan *p, const char *dir, size_t dir_bytes, const char *text,
		      const char *name, struct bowimg_error *err)
{
	char *key = bow_arena_get(&p->d->names, dir_bytes + 2);
	char *marker = bow_arena_get(&p->d->names, strlen(text) + strlen(name) + 1);
	const struct bow_layer_entry e = {.key = key, .whiteout = marker};

	if (!key || !marker)
		return bow_diff_no_memory(err);
	memcpy(key, dir, dir_bytes);
	strcpy(key + dir_bytes, "/");
	stpcpy(stpcpy(marker, text), name);
	return push(p, &e, err);
}

/* The name meant something that is not there any more; what may be there now is `type_now`. */
static int hide(struct plan *p, const char *path, char type_before, char type_now,
		struct bowimg_error *err)
{
	const char *name = strrchr(path, '/');

	if (type_before == 'd' && type_now == 'd')
		return add_marker(p, path, strlen(path), OPAQUE, "", err);
	if (type_now && type_before != 'd' && type_now != 'd')
		return 0; /* unpacking the one removes the other */
	return add_marker(p, path, (size_t)(name - path), WHITEOUT, name + 1, err);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(a, ((const struct bow_diff_item *)b)->path);
}

/* What was made under the old name of something that was renamed. */
static char type_at(const struct bow_diff *d, const char *path)
{
	const struct bow_diff_item *i =
		bsearch(path, d->items, d->n_items, sizeof(*d->items), by_path);
	const struct bow_diff_item *end = d->items + d->n_items;

	/* A deleted item can have the same path as another one. */
	while (i && i > d->items && strcmp(i[-1].path, path) == 0)
		i--;
	for (; i && i < end && strcmp(i->path, path) == 0; i++)
		if (i->type_now)
			return i->type_now;
	return 0;
}

static int hide_item(struct plan *p, const struct bow_diff_item *i, struct bowimg_error *err)
{
	int rc = 0;

	if (i->kind == BOW_DIFF_MODIFIED && i->replaced)
		return hide(p, i->path, i->type_before, i->type_now, err);
	if (!i->hides)
		return 0;
	if (i->kind == BOW_DIFF_DELETED)
		rc = hide(p, i->path, i->type_before, type_at(p->d, i->path), err);
	if (i->kind == BOW_DIFF_RENAMED)
		rc = hide(p, i->old_path, i->type_before, type_at(p->d, i->old_path), err);
	return rc ? rc : add_above(p, i->dir_before, err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int plan_item(struct plan *p, const struct bow_diff_item *i, struct bowimg_error *err)
{
	bool is_dir;
	int rc = 0;

	if (i->ino_now) {
		rc = add_entry(p, i->path, i->ino_now, &is_dir, err);
		if (!rc && is_dir && i->kind == BOW_DIFF_RENAMED)
			rc = push_todo(p, err);
		if (!rc)
			rc = add_above(p, i->dir_now, err);
	}
	if (!rc)
		rc = hide_item(p, i, err);
	return rc ? rc : add_below(p, err);
}

static int by_key(const void *a, const void *b)
{
	const struct bow_layer_entry *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order
		     : strcmp(x->whiteout ? x->whiteout : "", y->whiteout ? y->whiteout : "");
}

static void sort(struct bow_layer_plan *plan)
{
	size_t kept = 0;

	if (plan->n)
		qsort(plan->v, plan->n, sizeof(*plan->v), by_key);
	for (size_t i = 0; i < plan->n; i++)
		if (!kept || by_key(&plan->v[kept - 1], &plan->v[i]) != 0)
			plan->v[kept++] = plan->v[i];
	plan->n = kept;
}

static int by_ino(const void *a, const void *b)
{
	const struct bow_layer_entry *x = *(struct bow_layer_entry *const *)a;
	const struct bow_layer_entry *y = *(struct bow_layer_entry *const *)b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Names of one inode: all but the first become links to it. */
static int find_links(struct bow_layer_plan *plan, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_layer_entry **v =
		calloc(plan->n + 1, sizeof(struct bow_layer_entry *));
	const struct bow_layer_entry *first = NULL;

	if (!v)
		return bow_diff_no_memory(err);
	for (size_t i = 0; i < plan->n; i++)
		v[i] = &plan->v[i];
	qsort(v, plan->n, sizeof(struct bow_layer_entry *), by_ino);
	for (size_t i = 0; i < plan->n; i++) {
		if (!first || !v[i]->ino || v[i]->ino != first->ino)
			first = v[i];
		else
			v[i]->link = first;
	}
	return 0;
}

int bow_layer_make_plan(struct bow_diff *d, const struct bow_layer_format *format,
			struct bow_layer_plan *plan, struct bowimg_error *err)
{
	struct plan p = {.d = d, .format = format, .out = plan};
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_items; i++)
		rc = plan_item(&p, &d->items[i], err);
	free(p.todo);
	if (rc)
		return rc;
	sort(plan);
	return format->is_tar ? find_links(plan, err) : 0;
}
