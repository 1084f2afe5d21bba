/* SPDX-License-Identifier: MIT */
/* Comparing the files of both versions: opening them, and the steps in order. */
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/stop.h"
#include "bowimg/diff/private.h"

static int compare(struct bow_diff *d, struct bowimg_error *err)
{
	bool same = false;
	int rc = d->ops->open(d, &same, err);

	if (rc || same)
		return rc;
	rc = d->ops->find_files(d, err);
	if (!rc)
		rc = bow_diff_find_links(d, err);
	if (!rc)
		rc = bow_diff_split_moved(d, err);
	if (!rc)
		rc = bow_diff_find_names(d, err);
	return rc ? rc : bow_diff_make_items(d, err);
}

/* How these files are read. *ops is NULL if they cannot be, and *why_not is the reason. */
static int choose(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		  const struct bow_diff_ops **ops, struct bowimg_error *why_not,
		  struct bowimg_error *err)
{
	bool is_ext, is_known = false;
	int rc = bow_diff_ext_probe(source, off, bytes, &is_ext, err);

	*why_not = (struct bowimg_error){0};
	*ops = &bow_diff_ext_ops;
	if (rc || is_ext)
		return rc;
	rc = bow_diff_tree_probe(source, off, bytes, &is_known, why_not, err);
	if (!rc && !is_known) {
		bow_err(why_not, -EOPNOTSUPP,
			"the disk as it is now has no file system whose files can be compared");
		bow_err_hint(why_not,
			     "without --files, the changed ranges can be listed all the same");
	}
	*ops = why_not->code ? NULL : &bow_diff_tree_ops;
	return rc;
}

int bow_diff_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		   bool *possible, struct bowimg_error *why_not, struct bowimg_error *err)
{
	const struct bow_diff_ops *ops;
	int rc = choose(source, off, bytes, &ops, why_not, err);

	*possible = ops != NULL;
	return rc;
}

static int choose_or_fail(const struct bow_diff_source *source, const struct bow_diff_options *opts,
			  const struct bow_diff_ops **ops, struct bowimg_error *err)
{
	struct bowimg_error why_not;
	int rc = choose(source, opts->off, opts->bytes, ops, &why_not, err);

	if (rc || *ops)
		return rc;
	if (err)
		*err = why_not;
	bow_err_wrap(err, -EOPNOTSUPP, "%s: compare files", source->name);
	return -EOPNOTSUPP;
}

int bow_diff_files(const struct bow_diff_source *source, const struct bow_diff_options *opts,
		   struct bow_diff **out, struct bowimg_error *err)
{
	const struct bow_diff_ops *ops;
	struct bow_diff *d;
	int rc = choose_or_fail(source, opts, &ops, err);

	if (rc)
		return rc;
	d = calloc(1, sizeof(*d));
	if (!d)
		return bow_diff_no_memory(err);
	d->source = source;
	d->opts = *opts;
	d->ops = ops;
	rc = compare(d, err);
	if (rc)
		bow_diff_free(d);
	else
		*out = d;
	return rc;
}

void bow_diff_free(struct bow_diff *d)
{
	if (!d)
		return;
	d->ops->close(d);
	for (int version = 0; version < BOW_VERSIONS; version++)
		bow_paths_free(d->paths[version]);
	bow_changed_release(&d->changed);
	bow_arena_release(&d->names);
	free(d->files);
	free(d->added.v);
	free(d->removed.v);
	free(d->replaced.v);
	free(d->kept.v);
	free(d->items);
	free(d);
}

const struct bow_diff_item *bow_diff_items(const struct bow_diff *d, size_t *n)
{
	*n = d->n_items;
	return d->items;
}
