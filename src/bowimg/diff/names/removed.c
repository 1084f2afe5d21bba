/* SPDX-License-Identifier: MIT */
/*
 * Removed links get two paths: the old one, and the one they would have now if only directories
 * above them had been renamed. By the second a removed link is matched with one that came.
 *
 * The anchor of a removed link is the nearest directory above it that lasted.
 */
#include <string.h>

#include "bowimg/diff/names/names.h"

#define DEPTH_MAX 32768 /* of directories: more make a path that is too long */

static int is_gone_dir(struct bow_diff *d, uint32_t dir, bool *yes, struct bowimg_error *err)
{
	struct bow_inode inode;
	bool lasting;
	int rc = bow_diff_is_lasting_dir(d, dir, &lasting, err);

	*yes = false;
	if (rc || lasting)
		return rc;
	rc = d->ops->inode(d, BOW_OLD, dir, &inode, err);
	*yes = !rc && bow_inode_type(&inode) == S_IFDIR;
	return rc;
}

static int find_anchor(struct bow_diff *d, uint32_t dir, uint32_t *out, struct bowimg_error *err)
{
	bool gone;

	for (unsigned depth = 0; dir != BOW_ROOT_INO; depth++) {
		int rc = is_gone_dir(d, dir, &gone, err);

		if (rc)
			return rc;
		if (!gone)
			break;
		if (depth > DEPTH_MAX)
			return bow_diff_bad(d, BOW_OLD, "directories are nested too deeply", err);
		rc = d->ops->parent(d, BOW_OLD, dir, &dir, err);
		if (rc)
			return rc;
	}
	*out = dir;
	return 0;
}

static int want_parent(struct bow_diff *d, struct bow_diff_link *l, struct bowimg_error *err)
{
	int rc = bow_paths_want_dir(d->paths[BOW_OLD], l->parent, err);

	if (!rc)
		rc = find_anchor(d, l->parent, &l->anchor, err);
	return rc ? rc : bow_paths_want_dir(d->paths[BOW_NEW], l->anchor, err);
}

/* The links of one directory lie together. */
int bow_removed_want(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->removed.n; i++) {
		struct bow_diff_link *l = &d->removed.v[i];

		if (i && l->parent == l[-1].parent)
			l->anchor = l[-1].anchor;
		else
			rc = want_parent(d, l, err);
	}
	return rc;
}

/* The path with another beginning: `new_top` in place of `old_top`. */
static int move_path(struct bow_diff *d, const char *path, const char *old_top, const char *new_top,
		     const char **out, struct bowimg_error *err)
{
	const char *rest = path + (strcmp(old_top, "/") == 0 ? 0 : strlen(old_top));
	char *moved;
	int rc = bow_diff_make_path(d, BOW_NEW, strlen(new_top) + strlen(rest) + 1, &moved, err);

	if (rc)
		return rc;
	stpcpy(stpcpy(moved, new_top), rest);
	*out = moved;
	return 0;
}

static int set_new_path(struct bow_diff *d, struct bow_diff_link *l, struct bowimg_error *err)
{
	const char *old_top = NULL, *new_top = NULL;
	int rc = bow_paths_get(d->paths[BOW_NEW], l->anchor, NULL, &new_top, err);

	if (!rc)
		rc = bow_paths_get(d->paths[BOW_OLD], l->anchor, NULL, &old_top, err);
	if (rc || !l->path || !new_top || !old_top)
		return rc;
	if (strcmp(new_top, old_top) != 0)
		return move_path(d, l->path, old_top, new_top, &l->new_path, err);
	l->new_path = l->path;
	return 0;
}

int bow_removed_set_paths(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = bow_paths_set(d->paths[BOW_OLD], &d->removed, err);

	for (size_t i = 0; !rc && i < d->removed.n; i++)
		rc = set_new_path(d, &d->removed.v[i], err);
	return rc;
}
