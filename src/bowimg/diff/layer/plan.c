/* SPDX-License-Identifier: MIT */
/*
 * What goes into the archive: paths that were added, modified or renamed; all paths below renamed
 * directories; the directories above, so that unpacking elsewhere gives them their owners and
 * modes; and markers for old names: a whiteout for a name, an opaque mark for a directory that
 * another one replaced.
 *
 * Nothing inside a hidden directory needs a marker: see `hides` in diff/items.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/layer/private.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct plan {
	struct bow_diff *d;
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
	int rc = bow_diff_charge(p->d, sizeof(*e), err);
	struct bow_layer_entry *v;

	if (rc)
		return rc;
	v = bow_grow(out->v, out->n, &out->room, sizeof(*v));
	if (!v)
		return bow_diff_no_memory(err);
	out->v = v;
	v[out->n++] = *e;
	return 0;
}

/* The reason why the archive cannot hold it, or NULL. */
static const char *why_not(const char *path, const struct bow_inode *i)
{
	if (strstr(path, "/" WHITEOUT))
		return "a name that begins with .wh. would delete something";
	if (i->is_encrypted)
		return "it is encrypted";
	if (bow_inode_type(i) == S_IFSOCK)
		return "a socket";
	return NULL;
}

static int add_entry(struct plan *p, const char *path, uint32_t ino, bool *is_dir,
		     struct bowimg_error *err)
{
	const struct bow_layer_entry e = {.key = strcmp(path, "/") == 0 ? "" : path, .ino = ino};
	struct bow_inode inode;
	const char *why;
	int rc = p->d->ops->inode(p->d, BOW_NEW, ino, &inode, err);

	*is_dir = false;
	if (rc)
		return rc;
	why = why_not(path, &inode);
	if (why) {
		leave_out(p, path, why);
		return 0;
	}
	*is_dir = bow_inode_type(&inode) == S_IFDIR;
	return push(p, &e, err);
}

/* ---- directories on the way ------------------------------------------------------ */

static int add_above(struct plan *p, uint32_t dir, struct bowimg_error *err)
{
	bool is_dir;
	int rc = 0;

	while (!rc && bow_paths_mark(p->d->paths[BOW_NEW], dir)) {
		const char *path;

		rc = bow_paths_get(p->d->paths[BOW_NEW], dir, NULL, &path, err);
		if (!rc && path)
			rc = add_entry(p, path, dir, &is_dir, err);
		dir = bow_paths_parent(p->d->paths[BOW_NEW], dir);
	}
	return rc;
}

/* ---- renamed directories --------------------------------------------------------- */

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

static int on_entry(void *ctx, const struct bow_dirent *e, struct bowimg_error *err)
{
	struct walk *w = ctx;
	struct plan *p = w->p;
	const size_t bytes = strlen(w->path) + 1 + strlen(e->name) + 1;
	bool is_dir;
	char *path;
	int rc;

	if (bytes > BOW_PATH_BYTES_MAX)
		return bow_diff_bad(p->d, BOW_NEW, "directories are nested too deeply", err);
	rc = bow_diff_make_path(p->d, BOW_NEW, bytes, &path, err);
	if (rc)
		return rc;
	snprintf(path, bytes, "%s/%s", w->path, e->name);
	rc = add_entry(p, path, e->ino, &is_dir, err);
	return !rc && is_dir ? push_todo(p, err) : rc;
}

/* The length of paths bounds the depth; the steps that the reader counts bound the work. */
static int add_below(struct plan *p, struct bowimg_error *err)
{
	int rc = 0;

	while (!rc && p->n_todo) {
		const struct bow_layer_entry dir = p->out->v[p->todo[--p->n_todo]];
		struct walk w = {p, dir.key};

		rc = p->d->ops->walk_dir(p->d, BOW_NEW, dir.ino, on_entry, &w, err);
	}
	return rc;
}

/* ---- markers --------------------------------------------------------------------- */

static int add_marker(struct plan *p, const char *dir, size_t dir_bytes, const char *text,
		      const char *name, struct bowimg_error *err)
{
	char *key = NULL, *marker = NULL;
	int rc = bow_diff_make_path(p->d, BOW_NEW, dir_bytes + 2, &key, err);

	if (!rc)
		rc = bow_diff_make_path(p->d, BOW_NEW, strlen(text) + strlen(name) + 1, &marker,
					err);
	if (rc)
		return rc;
	memcpy(key, dir, dir_bytes);
	strcpy(key + dir_bytes, "/");
	stpcpy(stpcpy(marker, text), name);
	return push(p, &(struct bow_layer_entry){.key = key, .whiteout = marker}, err);
}

/* Hide the old file of this name. `new_type` is that of the new one, or 0. */
static int hide(struct plan *p, const char *path, char old_type, char new_type,
		struct bowimg_error *err)
{
	const char *name = strrchr(path, '/');

	if (old_type == 'd' && new_type == 'd')
		return add_marker(p, path, strlen(path), OPAQUE, "", err);
	if (new_type && old_type != 'd' && new_type != 'd')
		return 0; /* unpacking the one removes the other */
	return add_marker(p, path, (size_t)(name - path), WHITEOUT, name + 1, err);
}

/* The beginning of a path. */
struct prefix {
	const char *path;
	size_t bytes;
};

/* As strcmp() would order the prefix and the item's path. */
static int by_path(const void *a, const void *b)
{
	const struct prefix *x = a;
	const char *path = ((const struct bow_diff_item *)b)->path;
	int order = strncmp(x->path, path, x->bytes);

	return order ? order : path[x->bytes] ? -1 : 0;
}

/* The new item of this path, or NULL. A deleted item can have the same path as another one. */
static const struct bow_diff_item *new_item_at(const struct bow_diff *d, const struct prefix *path)
{
	const struct bow_diff_item *i =
		bow_find(path, d->items, d->n_items, sizeof(*d->items), by_path);
	const struct bow_diff_item *end = i ? d->items + d->n_items : NULL;

	while (i && i > d->items && by_path(path, i - 1) == 0)
		i--;
	for (; i && i < end && by_path(path, i) == 0; i++)
		if (i->new_type)
			return i;
	return NULL;
}

/* The type of the new file of this name, or 0. */
static char type_at(const struct bow_diff *d, const char *path)
{
	const struct prefix whole = {path, strlen(path)};
	const struct bow_diff_item *i = new_item_at(d, &whole);

	return i ? i->new_type : 0;
}

/* Did a directory above this path come by its name? Then no old file of this path is in sight. */
static bool is_in_new_dir(const struct bow_diff *d, const char *path)
{
	struct prefix above = {path, strlen(path)};

	while (above.bytes > 0) {
		const struct bow_diff_item *i;

		while (path[--above.bytes] != '/')
			;
		i = above.bytes ? new_item_at(d, &above) : NULL;
		if (i && (i->kind == BOW_DIFF_RENAMED || i->kind == BOW_DIFF_ADDED))
			return true;
	}
	return false;
}

static int hide_item(struct plan *p, const struct bow_diff_item *i, struct bowimg_error *err)
{
	int rc = 0;

	if (i->kind == BOW_DIFF_MODIFIED && i->replaced)
		return is_in_new_dir(p->d, i->path)
			       ? 0
			       : hide(p, i->path, i->old_type, i->new_type, err);
	if (!i->hides)
		return 0;
	if (i->kind == BOW_DIFF_DELETED)
		rc = hide(p, i->path, i->old_type, type_at(p->d, i->path), err);
	if (i->kind == BOW_DIFF_RENAMED)
		rc = hide(p, i->old_path, i->old_type, type_at(p->d, i->old_path), err);
	return rc ? rc : add_above(p, i->old_dir, err);
}

/* ---- the whole ------------------------------------------------------------------- */

static int plan_item(struct plan *p, const struct bow_diff_item *i, struct bowimg_error *err)
{
	bool is_dir;
	int rc = 0;

	if (i->new_ino) {
		rc = add_entry(p, i->path, i->new_ino, &is_dir, err);
		if (!rc && is_dir && i->kind == BOW_DIFF_RENAMED)
			rc = push_todo(p, err);
		if (!rc)
			rc = add_above(p, i->new_dir, err);
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

	bow_sort(plan->v, plan->n, sizeof(*plan->v), by_key);
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
	bow_sort(v, plan->n, sizeof(struct bow_layer_entry *), by_ino);
	for (size_t i = 0; i < plan->n; i++) {
		if (!first || !v[i]->ino || v[i]->ino != first->ino)
			first = v[i];
		else
			v[i]->link = first;
	}
	return 0;
}

int bow_layer_make_plan(struct bow_diff *d, struct bow_layer_plan *plan, struct bowimg_error *err)
{
	struct plan p = {.d = d, .out = plan};
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_items; i++)
		rc = plan_item(&p, &d->items[i], err);
	free(p.todo);
	if (rc)
		return rc;
	sort(plan);
	return find_links(plan, err);
}
