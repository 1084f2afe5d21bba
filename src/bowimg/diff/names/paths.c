/* SPDX-License-Identifier: MIT */
/* Paths in one version: which directories are wanted, and after the search their paths. */
#include <stdlib.h>
#include <string.h>

#include "bowimg/diff/names/names.h"

int bow_paths_new(struct bow_diff *d, enum bow_version version, struct bow_paths **out,
		  struct bowimg_error *err)
{
	struct bow_paths *p = calloc(1, sizeof(*p));
	uint32_t root;

	if (!p)
		return bow_diff_no_memory(err);
	*p = (struct bow_paths){.d = d, .version = version};
	if (bow_dirs_get(&p->dirs, BOW_ROOT_INO, &root)) {
		bow_paths_free(p);
		return bow_diff_no_memory(err);
	}
	p->dirs.v[root] = (struct bow_dir){
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
	bow_dirs_release(&p->dirs);
	free(p->queue.v);
	free(p);
}

/* ---- what is wanted -------------------------------------------------------------- */

/* *parent is 0 if no directory has this number. */
static int find_parent(struct bow_paths *p, uint32_t ino, uint32_t *parent,
		       struct bowimg_error *err)
{
	struct bow_inode inode;
	int rc = p->d->ops->inode(p->d, p->version, ino, &inode, err);

	*parent = 0;
	if (rc || !inode.in_use || bow_inode_type(&inode) != S_IFDIR)
		return rc;
	return p->d->ops->parent(p->d, p->version, ino, parent, err);
}

/* Upwards to the root or to a directory that was asked for before, so that loops end, too. */
int bow_paths_want_dir(struct bow_paths *p, uint32_t ino, struct bowimg_error *err)
{
	uint32_t i, parent;
	int rc;

	if (bow_dirs_get(&p->dirs, ino, &i))
		return bow_diff_no_memory(err);
	while (!p->dirs.v[i].asked) {
		p->dirs.v[i].asked = true;
		rc = find_parent(p, p->dirs.v[i].ino, &parent, err);
		if (rc || !parent)
			return rc;
		if (bow_dirs_get(&p->dirs, parent, &i))
			return bow_diff_no_memory(err);
		p->dirs.v[i].must = true;
	}
	return 0;
}

int bow_paths_want_links(struct bow_paths *p, uint32_t ino, uint32_t links,
			 struct bowimg_error *err)
{
	return bow_targets_add(&p->targets, ino, links) ? bow_diff_no_memory(err) : 0;
}

/* ---- paths ----------------------------------------------------------------------- */

/* NULL: unknown, or not below the root. */
static struct bow_dir *find_reached(const struct bow_paths *p, uint32_t ino)
{
	const uint32_t i = bow_dirs_find(&p->dirs, ino);

	return i != BOW_NO_DIR && p->dirs.v[i].parent != BOW_NO_DIR ? &p->dirs.v[i] : NULL;
}

uint32_t bow_paths_parent(const struct bow_paths *p, uint32_t dir)
{
	const struct bow_dir *d = find_reached(p, dir);

	return d ? p->dirs.v[d->parent].ino : 0;
}

bool bow_paths_mark(struct bow_paths *p, uint32_t dir)
{
	struct bow_dir *d = find_reached(p, dir);

	if (!d || d->marked)
		return false;
	d->marked = true;
	return true;
}

/* Put "/name" before `end`; returns where it begins. */
static char *put_before(char *end, const char *name)
{
	const size_t n = strlen(name);

	end = memcpy(end - n, name, n);
	*--end = '/';
	return end;
}

/* From its end, upwards. */
static void write_path(const struct bow_paths *p, const struct bow_dir *dir, const char *name,
		       char *end)
{
	*--end = '\0';
	if (name)
		end = put_before(end, name);
	for (; dir->ino != BOW_ROOT_INO; dir = &p->dirs.v[dir->parent])
		end = put_before(end, dir->name);
}

int bow_paths_get(struct bow_paths *p, uint32_t ino, const char *name, const char **out,
		  struct bowimg_error *err)
{
	const struct bow_dir *dir = find_reached(p, ino);
	size_t bytes;
	char *path;
	int rc;

	*out = NULL;
	if (!dir)
		return 0;
	bytes = dir->bytes + (name ? 1 + strlen(name) : 0);
	if (bytes == 1) {
		*out = "/";
		return 0;
	}
	rc = bow_diff_make_path(p->d, p->version, bytes, &path, err);
	if (rc)
		return rc;
	write_path(p, dir, name, path + bytes);
	*out = path;
	return 0;
}

int bow_paths_set(struct bow_paths *p, struct bow_diff_links *links, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < links->n; i++)
		rc = bow_paths_get(p, links->v[i].parent, links->v[i].name, &links->v[i].path, err);
	return rc;
}
