/* SPDX-License-Identifier: MIT */
/*
 * The search for directories and names. ext4 knows a directory's parent ("..") but not a file's. So
 * directories are read from the root downwards, in an order that finds the names early:
 *
 *   - first those that must be read: the ancestors of wanted directories;
 *   - then, while names of files are missing, the one whose number is nearest to a missing file's:
 *     files are made in their directory's group, and numbers are given out in order.
 *
 * No file's inode and no content is read. At worst, for a file whose other names are far away, all
 * directories are read. Nothing recurses, and each directory is read once.
 */
#include <string.h>

#include "bowimg/diff/names/names.h"

struct reading {
	struct bow_paths *p;
	uint32_t dir; /* index */
	bow_link_func *found;
	void *ctx;
};

/* If entries have no types, as on early ext2, the inode says whether it is a directory. */
static int is_dir(struct bow_paths *p, const struct bow_dirent *e, bool *yes,
		  struct bowimg_error *err)
{
	struct bow_inode inode;
	int rc;

	*yes = e->may_be_dir;
	if (!*yes || e->is_typed)
		return 0;
	rc = p->d->ops->inode(p->d, p->version, e->ino, &inode, err);
	*yes = !rc && bow_inode_type(&inode) == S_IFDIR;
	return rc;
}

/* The directory is reached; its path has this many bytes. */
static int reach(struct reading *r, struct bow_dir *dir, const char *name, struct bowimg_error *err)
{
	struct bow_paths *p = r->p;

	dir->bytes = p->dirs.v[r->dir].bytes + 1 + (uint32_t)strlen(name);
	if (dir->bytes > BOW_PATH_BYTES_MAX)
		return bow_diff_bad(p->d, p->version, "directories are nested too deeply", err);
	dir->name = bow_arena_text(&p->names, name);
	if (!dir->name)
		return bow_diff_no_memory(err);
	dir->parent = r->dir;
	return 0;
}

/* While names are missing any directory may lead to them; then only one that was asked for. */
static int meet_dir(struct reading *r, const struct bow_dirent *e, struct bowimg_error *err)
{
	struct bow_paths *p = r->p;
	uint32_t i;
	int rc;

	if (!p->targets.open && bow_dirs_find(&p->dirs, e->ino) == BOW_NO_DIR)
		return 0;
	if (bow_dirs_get(&p->dirs, e->ino, &i))
		return bow_diff_no_memory(err);
	if (p->dirs.v[i].parent != BOW_NO_DIR)
		return 0;
	rc = reach(r, &p->dirs.v[i], e->name, err);
	return rc ? rc : bow_paths_enqueue(p, i, err);
}

static int on_entry(void *ctx, const struct bow_dirent *e, struct bowimg_error *err)
{
	struct reading *r = ctx;
	const struct bow_diff_link link = {
		.parent = r->p->dirs.v[r->dir].ino, .ino = e->ino, .name = e->name};
	bool dir = false;
	int rc = 0;

	if (bow_targets_found(&r->p->targets, e->ino))
		rc = r->found(r->ctx, &link, err);
	if (!rc)
		rc = is_dir(r->p, e, &dir, err);
	return !rc && dir ? meet_dir(r, e, err) : rc;
}

static int read_dir(struct reading *r, struct bowimg_error *err)
{
	struct bow_paths *p = r->p;
	struct bow_inode inode;
	int rc = p->d->ops->inode(p->d, p->version, p->dirs.v[r->dir].ino, &inode, err);

	if (rc || !inode.in_use || bow_inode_type(&inode) != S_IFDIR)
		return rc;
	return p->d->ops->walk_dir(p->d, p->version, inode.ino, on_entry, r, err);
}

int bow_paths_search(struct bow_paths *p, bow_link_func *found, void *ctx, struct bowimg_error *err)
{
	struct reading r = {.p = p, .found = found, .ctx = ctx};
	uint64_t done = 0;
	int rc;

	if (bow_targets_seal(&p->targets))
		return bow_diff_no_memory(err);
	rc = bow_paths_enqueue(p, 0, err);
	while (!rc && bow_paths_dequeue(p, &r.dir)) {
		rc = bow_diff_progress(p->d, "search names", done, done + p->queue.n + 1, err);
		if (!rc)
			rc = read_dir(&r, err);
		done++;
	}
	return rc;
}
