/* SPDX-License-Identifier: MIT */
/*
 * From numbers to paths. Links are known by the numbers of their directory and their inode. Ask for
 * all directories and names that are needed, search each version once, then set the paths.
 */
#include "bowimg/diff/names/names.h"

static int want_parents(struct bow_paths *p, const struct bow_diff_links *links,
			struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < links->n; i++)
		rc = bow_paths_want_dir(p, links->v[i].parent, err);
	return rc;
}

static int want_all(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	int rc = bow_kept_want(d, fresh, err);

	if (!rc)
		rc = want_parents(d->paths[BOW_NEW], &d->added, err);
	if (!rc)
		rc = want_parents(d->paths[BOW_NEW], &d->replaced, err);
	return rc ? rc : bow_removed_want(d, err);
}

struct search {
	struct bow_diff *d;
	const struct bow_fresh *fresh;
};

static int on_found(void *ctx, const struct bow_diff_link *link, struct bowimg_error *err)
{
	const struct search *s = ctx;

	return bow_kept_add(s->d, s->fresh, link, err);
}

static int search_all(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	struct search s = {d, fresh};
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		rc = bow_paths_search(d->paths[version], on_found, &s, err);
	return rc;
}

static int set_all(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	int rc = bow_paths_set(d->paths[BOW_NEW], &d->added, err);

	if (!rc)
		rc = bow_paths_set(d->paths[BOW_NEW], &d->replaced, err);
	if (!rc)
		rc = bow_paths_set(d->paths[BOW_NEW], &d->kept, err);
	if (!rc)
		rc = bow_removed_set_paths(d, err);
	return rc ? rc : bow_kept_add_dirs(d, fresh, err);
}

static int find_names(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err)
{
	int rc = bow_kept_compare(d, fresh, err);

	if (!rc)
		rc = want_all(d, fresh, err);
	if (!rc)
		rc = search_all(d, fresh, err);
	return rc ? rc : set_all(d, fresh, err);
}

int bow_diff_find_names(struct bow_diff *d, struct bowimg_error *err)
{
	struct bow_fresh fresh = {0};
	int rc = bow_fresh_collect(d, &fresh, err);

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		rc = bow_paths_new(d, (enum bow_version)version, &d->paths[version], err);
	if (!rc)
		rc = find_names(d, &fresh, err);
	bow_fresh_release(&fresh);
	return rc;
}
