/* SPDX-License-Identifier: MIT */
/*
 * Which names came and went. A directory that is the same one in both versions is read where it
 * changed. A directory that was deleted or made is read as a whole; it is among the files, since
 * its inode changed.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"
#include "bowimg/diff/private.h"

struct name {
	const char *text;
	uint32_t ino;
};

struct names {
	struct name *v;
	size_t n, room;
	struct bow_arena *arena;
	struct bow_diff *d;
};

struct dir {
	struct bow_diff *d;
	uint32_t ino;
	struct names names[BOW_VERSIONS];
	struct bow_arena arena;
};

int bow_diff_add_link(struct bow_diff *d, struct bow_diff_links *to, const struct bow_diff_link *l,
		      struct bowimg_error *err)
{
	int rc = bow_diff_charge(d, sizeof(*l) + strlen(l->name), err);
	struct bow_diff_link *v;

	if (rc)
		return rc;
	v = bow_grow(to->v, to->n, &to->room, sizeof(*v));
	if (!v)
		return bow_diff_no_memory(err);
	to->v = v;
	v[to->n] = *l;
	v[to->n].name = bow_arena_text(&d->names, l->name);
	return v[to->n++].name ? 0 : bow_diff_no_memory(err);
}

static int keep_name(void *ctx, const struct bow_dirent *e, struct bowimg_error *err)
{
	struct names *names = ctx;
	int rc = bow_diff_charge(names->d, sizeof(struct name) + strlen(e->name), err);
	struct name *v;

	if (rc)
		return rc;
	v = bow_grow(names->v, names->n, &names->room, sizeof(*v));
	if (!v)
		return bow_diff_no_memory(err);
	names->v = v;
	v[names->n] = (struct name){bow_arena_text(names->arena, e->name), e->ino};
	return v[names->n++].text ? 0 : bow_diff_no_memory(err);
}

static int keep_changed(void *ctx, enum bow_version version, const struct bow_dirent *e,
			struct bowimg_error *err)
{
	struct dir *dir = ctx;

	return keep_name(&dir->names[version], e, err);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* A name in one version only. */
static int emit_one(struct dir *dir, enum bow_version version, const struct name *name,
		    struct bowimg_error *err)
{
	const struct bow_diff_link l = {.parent = dir->ino, .ino = name->ino, .name = name->text};

	return bow_diff_add_link(dir->d, version == BOW_NEW ? &dir->d->added : &dir->d->removed, &l,
				 err);
}

static int emit_both(struct dir *dir, const struct name *new, const struct name *old,
		     struct bowimg_error *err)
{
	const struct bow_diff_link l = {
		.parent = dir->ino, .ino = new->ino, .old_ino = old->ino, .name = new->text};

	return new->ino == old->ino ? 0 : bow_diff_add_link(dir->d, &dir->d->replaced, &l, err);
}

static int compare_names(struct dir *dir, struct bowimg_error *err)
{
	const struct names *new = &dir->names[BOW_NEW], *old = &dir->names[BOW_OLD];
	size_t i = 0, k = 0;
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS; version++)
		bow_sort(dir->names[version].v, dir->names[version].n, sizeof(struct name),
			 by_text);
	while (!rc && (i < new->n || k < old->n)) {
		int order = i == new->n ? 1 : k == old->n ? -1 : by_text(&new->v[i], &old->v[k]);

		if (order == 0)
			rc = emit_both(dir, &new->v[i], &old->v[k], err);
		else if (order < 0)
			rc = emit_one(dir, BOW_NEW, &new->v[i], err);
		else
			rc = emit_one(dir, BOW_OLD, &old->v[k], err);
		i += order <= 0;
		k += order >= 0;
	}
	return rc;
}

static int read_names(struct dir *dir, const struct bow_diff_file *f, struct bowimg_error *err)
{
	const struct bow_diff_ops *ops = dir->d->ops;
	int rc = 0;

	if (f->same)
		return ops->walk_changed(dir->d, f->ino, keep_changed, dir, err);
	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		if (S_ISDIR(f->mode[version]))
			rc = ops->walk_dir(dir->d, (enum bow_version)version, f->ino, keep_name,
					   &dir->names[version], err);
	return rc;
}

/* Two directories had this number, one after the other: every name came or went. */
static int all_came_or_went(struct dir *dir, struct bowimg_error *err)
{
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS; version++)
		for (size_t k = 0; !rc && k < dir->names[version].n; k++)
			rc = emit_one(dir, (enum bow_version)version, &dir->names[version].v[k],
				      err);
	return rc;
}

static int one_dir(struct bow_diff *d, const struct bow_diff_file *f, struct bowimg_error *err)
{
	struct dir dir = {.d = d, .ino = f->ino};
	int rc;

	for (int version = 0; version < BOW_VERSIONS; version++)
		dir.names[version] = (struct names){.arena = &dir.arena, .d = d};
	rc = read_names(&dir, f, err);
	if (!rc)
		rc = f->same ? compare_names(&dir, err) : all_came_or_went(&dir, err);
	for (int version = 0; version < BOW_VERSIONS; version++)
		free(dir.names[version].v);
	bow_arena_release(&dir.arena);
	return rc;
}

int bow_diff_find_links(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		rc = bow_diff_progress(d, "compare directories", i, d->n_files, err);
		if (!rc &&
		    (S_ISDIR(d->files[i].mode[BOW_NEW]) || S_ISDIR(d->files[i].mode[BOW_OLD])))
			rc = one_dir(d, &d->files[i], err);
	}
	return rc;
}
