/* SPDX-License-Identifier: MIT */
/*
 * From numbers to paths: which directories and names must be known on which side, one search on
 * each, and the paths of all links.
 *
 * "Kept" are the names that a changed inode has on both sides. A removed name gets two paths: the
 * one it had, and the one it would have now if only its directories had been renamed; by the second
 * it is matched with a name that came.
 */
#include <stdlib.h>
#include <string.h>

#include "fronts/diff_private.h"

#define DEPTH_MAX 32768 /* of directories: more make a path that is too long */

/* ---- directories that were there all the time ------------------------------------------------ */

int bow_diff_is_lasting_dir(struct bow_diff *d, uint32_t ino, bool *yes, struct bowimg_error *err)
{
	const struct bow_diff_file *f = bow_diff_find_file(d, ino);
	struct bow_inode inode;
	int rc;

	*yes = f && f->same && S_ISDIR(f->mode[BOWIMG_NOW]);
	if (f || !d->related)
		return 0;
	/* Not among the files: unchanged. */
	rc = d->ops->inode(d, BOWIMG_NOW, ino, &inode, err);
	*yes = !rc && inode.in_use && bow_inode_type(&inode) == S_IFDIR;
	return rc;
}

static int split(struct bow_diff *d, const struct bow_diff_link *l, struct bowimg_error *err)
{
	struct bow_diff_link part = *l;
	int rc;

	part.ino_before = 0;
	rc = bow_diff_add_link(d, &d->added, &part, err);
	part.ino = l->ino_before;
	return rc ? rc : bow_diff_add_link(d, &d->removed, &part, err);
}

/* A directory that came from elsewhere, or went there, is renamed: not what the name became. */
static int split_moved(struct bow_diff *d, struct bowimg_error *err)
{
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < d->replaced.n; i++) {
		const struct bow_diff_link l = d->replaced.v[i];
		bool now, before = false;

		rc = bow_diff_is_lasting_dir(d, l.ino, &now, err);
		if (!rc && !now)
			rc = bow_diff_is_lasting_dir(d, l.ino_before, &before, err);
		if (!rc && (now || before))
			rc = split(d, &l, err);
		else
			d->replaced.v[kept++] = l;
	}
	d->replaced.n = kept;
	return rc;
}

/* ---- new names, by number -------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct bow_diff_link *x = *(struct bow_diff_link *const *)a;
	const struct bow_diff_link *y = *(struct bow_diff_link *const *)b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->name, y->name);
}

struct new_names {
	const struct bow_diff_link **v;
	size_t n;
};

static int collect_new(struct bow_diff *d, struct new_names *out, struct bowimg_error *err)
{
	out->v = calloc(d->added.n + d->replaced.n + 1, sizeof(struct bow_diff_link *));
	if (!out->v)
		return bow_diff_no_memory(err);
	for (size_t i = 0; i < d->added.n; i++)
		out->v[out->n++] = &d->added.v[i];
	for (size_t i = 0; i < d->replaced.n; i++)
		out->v[out->n++] = &d->replaced.v[i];
	qsort(out->v, out->n, sizeof(struct bow_diff_link *), by_name);
	return 0;
}

/* How many of them name this inode. */
static uint32_t count_new(const struct new_names *names, uint32_t ino)
{
	size_t low = 0, high = names->n, n = 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (names->v[mid]->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	while (low + n < names->n && names->v[low + n]->ino == ino)
		n++;
	return (uint32_t)n;
}

static bool is_new(const struct new_names *names, const struct bow_diff_link *link)
{
	return names->n &&
	       bsearch(&link, names->v, names->n, sizeof(struct bow_diff_link *), by_name);
}

/* ---- what is looked for ---------------------------------------------------------------------- */

/* Its old names are needed where it changed, or where an archive has to hold all of them. */
static int want_file(struct bow_diff *d, struct bow_diff_file *f, const struct new_names *names,
		     struct bow_paths *now, struct bowimg_error *err)
{
	const bool dir = S_ISDIR(f->mode[BOWIMG_NOW]);
	const uint32_t fresh = count_new(names, f->ino);
	const bool has_kept = dir ? fresh == 0 : f->links_now > fresh;
	int rc = 0;

	if (!f->mode[BOWIMG_NOW])
		return 0;
	if (f->mode[BOWIMG_BEFORE] && (f->same || has_kept))
		rc = bow_diff_compare(d, f->ino, f->ino, &f->what, err);
	if (rc || !has_kept || !(f->what || (d->opts.all_links && (fresh || !f->same))))
		return rc;
	return dir ? bow_paths_want_dir(now, f->ino, err)
		   : bow_paths_want_links(now, f->ino, f->links_now, err);
}

static int want_files(struct bow_diff *d, const struct new_names *names, struct bow_paths *now,
		      struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		bow_diff_progress(d, "compare files", i, d->n_files);
		rc = want_file(d, &d->files[i], names, now, err);
	}
	return rc;
}

/* The nearest directory upwards, before, that is there now. */
static int find_anchor(struct bow_diff *d, uint32_t dir, uint32_t *out, struct bowimg_error *err)
{
	struct bow_inode inode;
	bool lasting = false;
	int rc = 0;

	for (unsigned depth = 0; dir != BOW_ROOT_INO; depth++) {
		if (depth > DEPTH_MAX)
			return bow_diff_bad(d, BOWIMG_BEFORE, "directories are nested too deeply",
					    err);
		rc = bow_diff_is_lasting_dir(d, dir, &lasting, err);
		if (!rc && !lasting)
			rc = d->ops->inode(d, BOWIMG_BEFORE, dir, &inode, err);
		if (rc || lasting || bow_inode_type(&inode) != S_IFDIR)
			break;
		rc = d->ops->parent(d, BOWIMG_BEFORE, dir, &dir, err);
		if (rc)
			break;
	}
	*out = dir;
	return rc;
}

static int want_links(struct bow_diff *d, struct bow_paths *paths[BOW_SIDES],
		      struct bowimg_error *err)
{
	uint32_t anchor = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < d->added.n; i++)
		rc = bow_paths_want_dir(paths[BOWIMG_NOW], d->added.v[i].parent, err);
	for (size_t i = 0; !rc && i < d->replaced.n; i++)
		rc = bow_paths_want_dir(paths[BOWIMG_NOW], d->replaced.v[i].parent, err);
	for (size_t i = 0; !rc && i < d->removed.n; i++) {
		struct bow_diff_link *l = &d->removed.v[i];

		if (i && l->parent == l[-1].parent) {
			l->ino_before = anchor;
			continue;
		}
		rc = bow_paths_want_dir(paths[BOWIMG_BEFORE], l->parent, err);
		if (!rc)
			rc = find_anchor(d, l->parent, &anchor, err);
		if (!rc)
			rc = bow_paths_want_dir(paths[BOWIMG_NOW], anchor, err);
		l->ino_before = anchor;
	}
	return rc;
}

static int on_found(struct bow_diff *d, uint32_t ino, uint32_t parent, const char *name,
		    struct bowimg_error *err)
{
	const struct bow_diff_link l = {.parent = parent, .ino = ino, .name = name};

	return bow_diff_add_link(d, &d->kept, &l, err);
}

static void drop_new(struct bow_diff *d, const struct new_names *names)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->kept.n; i++)
		if (!is_new(names, &d->kept.v[i]))
			d->kept.v[kept++] = d->kept.v[i];
	d->kept.n = kept;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static int set_paths(struct bow_paths *p, struct bow_diff_links *links, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < links->n; i++)
		rc = bow_paths_get(p, links->v[i].parent, links->v[i].name, &links->v[i].path, err);
	return rc;
}

/* The anchor's path now, and what stood behind its path before. */
static int set_path_now(struct bow_diff *d, struct bow_paths *paths[BOW_SIDES],
			struct bow_diff_link *l, struct bowimg_error *err)
{
	const char *now = NULL, *before = NULL;
	size_t skip, bytes;
	char *path;
	int rc = bow_paths_get(paths[BOWIMG_NOW], l->ino_before, NULL, &now, err);

	if (!rc)
		rc = bow_paths_get(paths[BOWIMG_BEFORE], l->ino_before, NULL, &before, err);
	if (rc || !l->path || !now || !before)
		return rc;
	if (strcmp(now, before) == 0) {
		l->path_now = l->path;
		return 0;
	}
	skip = strcmp(before, "/") == 0 ? 0 : strlen(before);
	bytes = strlen(now) + strlen(l->path + skip) + 1;
	path = bow_arena_get(&d->names, bytes);
	if (!path)
		return bow_diff_no_memory(err);
	stpcpy(stpcpy(path, now), l->path + skip);
	l->path_now = path;
	return 0;
}

static int set_all_paths(struct bow_diff *d, struct bow_paths *paths[BOW_SIDES],
			 struct bowimg_error *err)
{
	int rc = set_paths(paths[BOWIMG_NOW], &d->added, err);

	if (!rc)
		rc = set_paths(paths[BOWIMG_NOW], &d->replaced, err);
	if (!rc)
		rc = set_paths(paths[BOWIMG_NOW], &d->kept, err);
	if (!rc)
		rc = set_paths(paths[BOWIMG_BEFORE], &d->removed, err);
	for (size_t i = 0; !rc && i < d->removed.n; i++)
		rc = set_path_now(d, paths, &d->removed.v[i], err);
	return rc;
}

/* Directories that kept their names and changed are kept links, too. */
static int keep_dirs(struct bow_diff *d, const struct new_names *names, struct bow_paths *now,
		     struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		struct bow_diff_link l = {.ino = d->files[i].ino, .name = ""};

		if (!S_ISDIR(d->files[i].mode[BOWIMG_NOW]) || count_new(names, l.ino) ||
		    !(d->files[i].what || (d->opts.all_links && !d->files[i].same)))
			continue;
		l.parent = bow_paths_parent(now, l.ino);
		rc = bow_paths_get(now, l.ino, NULL, &l.path, err);
		if (!rc)
			rc = bow_diff_add_link(d, &d->kept, &l, err);
	}
	return rc;
}

static int find_names(struct bow_diff *d, const struct new_names *names, struct bowimg_error *err)
{
	struct bow_paths **paths = d->paths;
	int rc = want_files(d, names, paths[BOWIMG_NOW], err);

	if (!rc)
		rc = want_links(d, paths, err);
	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_paths_search(paths[side], on_found, err);
	if (rc)
		return rc;
	drop_new(d, names);
	rc = set_all_paths(d, paths, err);
	return rc ? rc : keep_dirs(d, names, paths[BOWIMG_NOW], err);
}

int bow_diff_find_names(struct bow_diff *d, struct bowimg_error *err)
{
	struct new_names names = {0};
	int rc = split_moved(d, err);

	if (!rc)
		rc = collect_new(d, &names, err);
	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_paths_new(d, (enum bowimg_side)side, &d->paths[side], err);
	if (!rc)
		rc = find_names(d, &names, err);
	free(names.v);
	return rc;
}
