/* SPDX-License-Identifier: MIT */
/*
 * Files that keep a name: one that means them in both versions. The comparison of directories did
 * not meet such a name, so it is searched for if the file changed.
 */
#include "bowimg/diff/names/names.h"

/* A directory has one name only. A file's inode says how many it has. */
static bool keeps_name(const struct bow_diff_file *f, uint32_t fresh)
{
	if (!f->mode[BOW_NEW])
		return false;
	return S_ISDIR(f->mode[BOW_NEW]) ? fresh == 0 : f->new_links > fresh;
}

/* Does the result need the names that this file keeps? An archive also holds a file that has
 * another name, or lies in a directory that was made anew, without a difference. */
static bool needs_kept(const struct bow_diff *d, const struct bow_diff_file *f, uint32_t fresh)
{
	if (!keeps_name(f, fresh))
		return false;
	return f->what || (d->opts.all_links && (fresh || !f->same));
}

static int compare_file(struct bow_diff *d, struct bow_diff_file *f, uint32_t fresh,
			struct bowimg_error *err)
{
	if (!f->mode[BOW_NEW] || !f->mode[BOW_OLD] || !(f->same || keeps_name(f, fresh)))
		return 0;
	return bow_diff_compare(d, f->ino, f->ino, &f->what, err);
}

int bow_kept_compare(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		struct bow_diff_file *f = &d->files[i];

		rc = bow_diff_progress(d, "compare files", i, d->n_files, err);
		if (!rc)
			rc = compare_file(d, f, bow_fresh_count(fresh, f->ino), err);
	}
	return rc;
}

int bow_kept_want(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	struct bow_paths *paths = d->paths[BOW_NEW];
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		const struct bow_diff_file *f = &d->files[i];

		if (!needs_kept(d, f, bow_fresh_count(fresh, f->ino)))
			continue;
		if (S_ISDIR(f->mode[BOW_NEW]))
			rc = bow_paths_want_dir(paths, f->ino, err);
		else
			rc = bow_paths_want_links(paths, f->ino, f->new_links, err);
	}
	return rc;
}

int bow_kept_add(struct bow_diff *d, const struct bow_fresh *fresh,
		 const struct bow_diff_link *link, struct bowimg_error *err)
{
	return bow_fresh_has(fresh, link) ? 0 : bow_diff_add_link(d, &d->kept, link, err);
}

int bow_kept_add_dirs(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	struct bow_paths *paths = d->paths[BOW_NEW];
	int rc = 0;

	for (size_t i = 0; !rc && i < d->n_files; i++) {
		const struct bow_diff_file *f = &d->files[i];
		struct bow_diff_link l = {.ino = f->ino, .name = ""};

		if (!S_ISDIR(f->mode[BOW_NEW]) || !needs_kept(d, f, bow_fresh_count(fresh, f->ino)))
			continue;
		l.parent = bow_paths_parent(paths, f->ino);
		rc = bow_paths_get(paths, f->ino, NULL, &l.path, err);
		if (!rc)
			rc = bow_diff_add_link(d, &d->kept, &l, err);
	}
	return rc;
}
