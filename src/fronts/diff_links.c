/* SPDX-License-Identifier: MIT */
/*
 * Which names came and went. A directory that is the same one on both sides is read where it
 * changed. Of one that was deleted or made all entries count; its inode changed, and so it is among
 * the files.
 */
#include <stdlib.h>
#include <string.h>

#include "fronts/diff_private.h"

struct name {
	const char *text;
	uint32_t ino;
};

struct names {
	struct name *v;
	size_t n, room;
	struct bow_arena *arena;
};

struct dir {
	struct bow_diff *d;
	uint32_t ino;
	struct names names[BOW_SIDES];
	struct bow_arena arena;
};

int bow_diff_add_link(struct bow_diff *d, struct bow_diff_links *to, const struct bow_diff_link *l,
		      struct bowimg_error *err)
{
	struct bow_diff_link *v = bow_grow(to->v, to->n, &to->room, sizeof(*v));

	if (!v)
		return bow_diff_no_memory(err);
	to->v = v;
	v[to->n] = *l;
	v[to->n].name = bow_arena_text(&d->names, l->name);
	return v[to->n++].name ? 0 : bow_diff_no_memory(err);
}

static int keep_name(void *ctx, const struct bow_entry *e, struct bowimg_error *err)
{
	struct names *names = ctx;
	struct name *v = bow_grow(names->v, names->n, &names->room, sizeof(*v));

	if (!v)
		return bow_diff_no_memory(err);
	names->v = v;
	v[names->n] = (struct name){bow_arena_text(names->arena, e->name), e->ino};
	return v[names->n++].text ? 0 : bow_diff_no_memory(err);
}

static int keep_changed(void *ctx, enum bowimg_side side, const struct bow_entry *e,
			struct bowimg_error *err)
{
	struct dir *dir = ctx;

	return keep_name(&dir->names[side], e, err);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* A name on one side only. */
static int emit_one(struct dir *dir, enum bowimg_side side, const struct name *name,
		    struct bowimg_error *err)
{
	const struct bow_diff_link l = {.parent = dir->ino, .ino = name->ino, .name = name->text};

	return bow_diff_add_link(dir->d, side == BOWIMG_NOW ? &dir->d->added : &dir->d->removed, &l,
				 err);
}

static int emit_both(struct dir *dir, const struct name *now, const struct name *before,
		     struct bowimg_error *err)
{
	const struct bow_diff_link l = {
		.parent = dir->ino, .ino = now->ino, .ino_before = before->ino, .name = now->text};

	return now->ino == before->ino ? 0 : bow_diff_add_link(dir->d, &dir->d->replaced, &l, err);
}

static int compare_names(struct dir *dir, struct bowimg_error *err)
{
	const struct names *now = &dir->names[BOWIMG_NOW], *before = &dir->names[BOWIMG_BEFORE];
	size_t i = 0, k = 0;
	int rc = 0;

	for (int side = 0; side < BOW_SIDES; side++)
		if (dir->names[side].n)
			qsort(dir->names[side].v, dir->names[side].n, sizeof(struct name), by_text);
	while (!rc && (i < now->n || k < before->n)) {
		int order = i == now->n	     ? 1
			    : k == before->n ? -1
					     : by_text(&now->v[i], &before->v[k]);

		if (order == 0)
			rc = emit_both(dir, &now->v[i], &before->v[k], err);
		else if (order < 0)
			rc = emit_one(dir, BOWIMG_NOW, &now->v[i], err);
		else
			rc = emit_one(dir, BOWIMG_BEFORE, &before->v[k], err);
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
	for (int side = 0; side < BOW_SIDES && !rc; side++)
		if (S_ISDIR(f->mode[side]))
			rc = ops->walk_dir(dir->d, (enum bowimg_side)side, f->ino, keep_name,
					   &dir->names[side], err);
	return rc;
}

/* Not the same directory: what the number stood for before and what it does now have no part in
 * common, and every name came or went. */
static int one_side_only(struct dir *dir, struct bowimg_error *err)
{
	int rc = 0;

	for (int side = 0; side < BOW_SIDES; side++)
		for (size_t k = 0; !rc && k < dir->names[side].n; k++)
			rc = emit_one(dir, (enum bowimg_side)side, &dir->names[side].v[k], err);
	return rc;
}

static int one_dir(struct bow_diff *d, const struct bow_diff_file *f, struct bowimg_error *err)
{
	struct dir dir = {.d = d, .ino = f->ino};
	int rc;

	for (int side = 0; side < BOW_SIDES; side++)
		dir.names[side].arena = &dir.arena;
	rc = read_names(&dir, f, err);
	if (!rc)
		rc = f->same ? compare_names(&dir, err) : one_side_only(&dir, err);
	for (int side = 0; side < BOW_SIDES; side++)
		free(dir.names[side].v);
	bow_arena_release(&dir.arena);
	return rc;
}

int bow_diff_find_links(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		bow_diff_progress(d, "compare directories", i, d->n_files);
		if (S_ISDIR(d->files[i].mode[BOWIMG_NOW]) ||
		    S_ISDIR(d->files[i].mode[BOWIMG_BEFORE]))
			rc = one_dir(d, &d->files[i], err);
	}
	return rc;
}
