/* SPDX-License-Identifier: MIT */
/* Directories that are in both versions, and so were at most renamed. */
#include "bowimg/diff/private.h"

int bow_diff_is_lasting_dir(struct bow_diff *d, uint32_t ino, bool *yes, struct bowimg_error *err)
{
	const struct bow_diff_file *f = bow_diff_find_file(d, ino);
	struct bow_inode inode;
	int rc;

	*yes = f && f->same && S_ISDIR(f->mode[BOW_NEW]);
	if (f || !d->related)
		return 0;
	/* Not among the files: unchanged. */
	rc = d->ops->inode(d, BOW_NEW, ino, &inode, err);
	*yes = !rc && inode.in_use && bow_inode_type(&inode) == S_IFDIR;
	return rc;
}

static int means_lasting_dir(struct bow_diff *d, const struct bow_diff_link *l, bool *yes,
			     struct bowimg_error *err)
{
	int rc = bow_diff_is_lasting_dir(d, l->ino, yes, err);

	return rc || *yes ? rc : bow_diff_is_lasting_dir(d, l->old_ino, yes, err);
}

static int split(struct bow_diff *d, const struct bow_diff_link *l, struct bowimg_error *err)
{
	struct bow_diff_link part = *l;
	int rc;

	part.old_ino = 0;
	rc = bow_diff_add_link(d, &d->added, &part, err);
	part.ino = l->old_ino;
	return rc ? rc : bow_diff_add_link(d, &d->removed, &part, err);
}

int bow_diff_split_moved(struct bow_diff *d, struct bowimg_error *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->replaced.n; i++) {
		const struct bow_diff_link l = d->replaced.v[i];
		bool moved;
		int rc = means_lasting_dir(d, &l, &moved, err);

		if (!rc && moved)
			rc = split(d, &l, err);
		if (rc)
			return rc;
		if (!moved)
			d->replaced.v[kept++] = l;
	}
	d->replaced.n = kept;
	return 0;
}
