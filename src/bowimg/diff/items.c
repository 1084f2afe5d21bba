/* SPDX-License-Identifier: MIT */
/*
 * One item for each path. First directories that lasted are matched, as renamed. Then a name in
 * both versions is one path, whatever file it means. Then files are matched, as renamed. The rest
 * came or went.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"
#include "bowimg/diff/private.h"

const char *bow_diff_type_name(char type)
{
	switch (type) {
	case 'f':
		return "file";
	case 'd':
		return "directory";
	case 'l':
		return "link";
	case 'c':
		return "character device";
	case 'b':
		return "block device";
	case 'p':
		return "fifo";
	case 's':
		return "socket";
	default:
		return "unknown";
	}
}

static char type_of(const struct bow_inode *i)
{
	switch (bow_inode_type(i)) {
	case S_IFREG:
		return 'f';
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	default:
		return '?';
	}
}

static int describe_version(struct bow_diff *d, enum bow_version version, uint32_t ino, char *type,
			    uint64_t *size, struct bowimg_error *err)
{
	struct bow_inode inode;
	int rc;

	if (!ino)
		return 0;
	rc = d->ops->inode(d, version, ino, &inode, err);
	if (rc)
		return rc;
	*type = type_of(&inode);
	*size = *type == 'd' ? 0 : inode.size;
	return 0;
}

static int add_item(struct bow_diff *d, const struct bow_diff_item *item, struct bowimg_error *err)
{
	int rc = bow_diff_charge(d, sizeof(*item), err);
	struct bow_diff_item *v, *i;

	if (rc)
		return rc;
	v = bow_grow(d->items, d->n_items, &d->room_items, sizeof(*v));
	if (!v)
		return bow_diff_no_memory(err);
	d->items = v;
	i = &v[d->n_items++];
	*i = *item;
	rc = describe_version(d, BOW_NEW, i->new_ino, &i->new_type, &i->new_size, err);
	return rc ? rc : describe_version(d, BOW_OLD, i->old_ino, &i->old_type, &i->old_size, err);
}

/* An archive also needs items without a difference: other names, files in new directories. */
static bool is_wanted(const struct bow_diff *d, unsigned what)
{
	return what || d->opts.all_links;
}

/* The same path in both versions. There is no item if only the number differs. */
static int add_pair(struct bow_diff *d, const struct bow_diff_link *l, uint32_t old,
		    struct bowimg_error *err)
{
	struct bow_diff_item item = {.kind = BOW_DIFF_MODIFIED,
				     .path = l->path,
				     .new_ino = l->ino,
				     .old_ino = old,
				     .new_dir = l->parent,
				     .replaced = true};
	int rc = bow_diff_compare(d, l->ino, old, &item.what, err);

	return rc || !is_wanted(d, item.what) ? rc : add_item(d, &item, err);
}

static int add_kept(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->kept.n; i++) {
		const struct bow_diff_link *l = &d->kept.v[i];
		const struct bow_diff_file *f = bow_diff_find_file(d, l->ino);
		const struct bow_diff_item item = {.kind = BOW_DIFF_MODIFIED,
						   .what = f ? f->what : 0,
						   .path = l->path,
						   .new_ino = l->ino,
						   .old_ino = l->ino,
						   .new_dir = l->parent,
						   .replaced = f && !f->same};

		if (l->path && is_wanted(d, item.what))
			rc = add_item(d, &item, err);
	}
	return rc;
}

static int add_replaced(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->replaced.n; i++) {
		const struct bow_diff_link *l = &d->replaced.v[i];

		if (l->path)
			rc = add_pair(d, l, l->old_ino, err);
	}
	return rc;
}

/* ---- removed and added names, matched -------------------------------------------- */

static int by_ino(const void *a, const void *b)
{
	const struct bow_diff_link *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return strcmp(x->path ? x->path : "", y->path ? y->path : "");
}

static int by_new_path(const void *a, const void *b)
{
	const struct bow_diff_link *x = a, *y = b;

	return strcmp(x->new_path ? x->new_path : "", y->new_path ? y->new_path : "");
}

static void sort_links(struct bow_diff_links *links, bow_order *order)
{
	bow_sort(links->v, links->n, sizeof(*links->v), order);
}

/* The directory of this removed name lasted, and is where it was. */
static bool is_in_place(const struct bow_diff_link *l)
{
	return l->anchor == l->parent && l->path && l->new_path &&
	       strcmp(l->path, l->new_path) == 0;
}

/* Can a removed and an added name of this number be one file, renamed? */
static int is_renamed(struct bow_diff *d, uint32_t ino, bool dirs, bool *yes,
		      struct bowimg_error *err)
{
	const struct bow_diff_file *f = bow_diff_find_file(d, ino);
	struct bow_inode new, old;
	int rc = bow_diff_is_lasting_dir(d, ino, yes, err);

	if (rc || dirs)
		return rc;
	*yes = !*yes && d->related && (!f || f->same);
	if (!*yes || !f)
		return 0;
	rc = d->ops->inode(d, BOW_NEW, ino, &new, err);
	if (!rc)
		rc = d->ops->inode(d, BOW_OLD, ino, &old, err);
	/* Without a generation or a time of birth it may be another file of the same number. */
	*yes = !rc && (bow_inode_is_unique(&new) || !(f->what & (BOW_DIFF_SIZE | BOW_DIFF_TIMES)));
	return rc;
}

static int add_renamed(struct bow_diff *d, struct bow_diff_link *new, struct bow_diff_link *old,
		       struct bowimg_error *err)
{
	const struct bow_diff_file *f = bow_diff_find_file(d, new->ino);
	const struct bow_diff_item item = {.kind = BOW_DIFF_RENAMED,
					   .what = f ? f->what : 0,
					   .path = new->path,
					   .old_path = old->path,
					   .new_ino = new->ino,
					   .old_ino = old->ino,
					   .new_dir = new->parent,
					   .old_dir = old->parent,
					   .hides = is_in_place(old)};

	new->done = old->done = true;
	return new->path && old->path ? add_item(d, &item, err) : 0;
}

/* Both lists are sorted by number. */
static int match_numbers(struct bow_diff *d, bool dirs, struct bowimg_error *err)
{
	size_t i = 0, k = 0;
	bool yes;
	int rc = 0;

	while (!rc && i < d->added.n && k < d->removed.n) {
		struct bow_diff_link *new = &d->added.v[i], *old = &d->removed.v[k];

		if (new->done || new->ino < old->ino) {
			i++;
		} else if (old->done || old->ino < new->ino) {
			k++;
		} else {
			rc = is_renamed(d, new->ino, dirs, &yes, err);
			if (!rc && yes)
				rc = add_renamed(d, new, old, err);
			i++;
			k++;
		}
	}
	return rc;
}

/* The removed names are sorted by new_path. */
static int match_paths(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->added.n && d->removed.n; i++) {
		struct bow_diff_link *l = &d->added.v[i];
		const struct bow_diff_link key = {.new_path = l->path};
		struct bow_diff_link *old = NULL;

		if (!l->done && l->path)
			old = bow_find(&key, d->removed.v, d->removed.n, sizeof(key), by_new_path);
		if (!old || old->done)
			continue;
		l->done = old->done = true;
		rc = add_pair(d, l, old->ino, err);
	}
	return rc;
}

static int add_rest(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->added.n; i++) {
		const struct bow_diff_link *l = &d->added.v[i];
		const struct bow_diff_item item = {
			.kind = BOW_DIFF_ADDED,
			.path = l->path,
			.new_ino = l->ino,
			.new_dir = l->parent,
		};

		rc = l->done || !l->path ? 0 : add_item(d, &item, err);
	}
	for (size_t i = 0; !rc && i < d->removed.n; i++) {
		const struct bow_diff_link *l = &d->removed.v[i];
		const struct bow_diff_item item = {
			.kind = BOW_DIFF_DELETED,
			.path = l->path,
			.old_ino = l->ino,
			.old_dir = l->parent,
			.hides = is_in_place(l),
		};

		rc = l->done || !l->path ? 0 : add_item(d, &item, err);
	}
	return rc;
}

static int match_all(struct bow_diff *d, struct bowimg_error *err)
{
	int rc;

	sort_links(&d->added, by_ino);
	sort_links(&d->removed, by_ino);
	rc = match_numbers(d, true, err);
	sort_links(&d->removed, by_new_path);
	if (!rc)
		rc = match_paths(d, err);
	sort_links(&d->removed, by_ino);
	if (!rc)
		rc = match_numbers(d, false, err);
	return rc ? rc : add_rest(d, err);
}

static int by_path(const void *a, const void *b)
{
	const struct bow_diff_item *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	return order ? order : (int)y->kind - (int)x->kind;
}

int bow_diff_make_items(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = add_kept(d, err);

	if (!rc)
		rc = add_replaced(d, err);
	if (!rc)
		rc = match_all(d, err);
	if (!rc)
		bow_sort(d->items, d->n_items, sizeof(*d->items), by_path);
	return rc;
}
