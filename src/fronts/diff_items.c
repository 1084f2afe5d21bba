/* SPDX-License-Identifier: MIT */
/*
 * One item for each path. Directories that lasted are renamed, whatever has their old name now;
 * then a name that is there on both sides is the same path, whatever file it means; then files are
 * renamed; what is left came or went.
 */
#include <stdlib.h>
#include <string.h>

#include "fronts/diff_private.h"

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

static int side_of_item(struct bow_diff *d, enum bowimg_side side, uint32_t ino, char *type,
			uint64_t *size, struct bowimg_error *err)
{
	struct bow_inode inode;
	int rc;

	if (!ino)
		return 0;
	rc = d->ops->inode(d, side, ino, &inode, err);
	if (rc)
		return rc;
	*type = type_of(&inode);
	*size = *type == 'd' ? 0 : inode.size;
	return 0;
}

static int add_item(struct bow_diff *d, const struct bow_diff_item *item, struct bowimg_error *err)
{
	struct bow_diff_item *v = bow_grow(d->items, d->n_items, &d->room_items, sizeof(*v));
	struct bow_diff_item *i;
	int rc;

	if (!v)
		return bow_diff_no_memory(err);
	d->items = v;
	i = &v[d->n_items++];
	*i = *item;
	rc = side_of_item(d, BOWIMG_NOW, i->ino_now, &i->type_now, &i->size_now, err);
	return rc ? rc
		  : side_of_item(d, BOWIMG_BEFORE, i->ino_before, &i->type_before, &i->size_before,
				 err);
}

/* An archive also needs what has no difference: another name, a file in a directory made anew. */
static bool is_wanted(const struct bow_diff *d, unsigned what)
{
	return what || d->opts.all_links;
}

/* The same path on both sides; nothing to say where only the number differs. */
static int add_pair(struct bow_diff *d, const struct bow_diff_link *l, uint32_t before,
		    struct bowimg_error *err)
{
	struct bow_diff_item item = {.kind = BOW_DIFF_MODIFIED,
				     .path = l->path,
				     .ino_now = l->ino,
				     .ino_before = before,
				     .dir_now = l->parent,
				     .replaced = true};
	int rc = bow_diff_compare(d, l->ino, before, &item.what, err);

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
						   .ino_now = l->ino,
						   .ino_before = l->ino,
						   .dir_now = l->parent,
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
			rc = add_pair(d, l, l->ino_before, err);
	}
	return rc;
}

/* ---- removed and added names, matched -------------------------------------------------------- */

static int by_ino(const void *a, const void *b)
{
	const struct bow_diff_link *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return strcmp(x->path ? x->path : "", y->path ? y->path : "");
}

static int by_path_now(const void *a, const void *b)
{
	const struct bow_diff_link *x = a, *y = b;

	return strcmp(x->path_now ? x->path_now : "", y->path_now ? y->path_now : "");
}

static void sort_links(struct bow_diff_links *links, int (*order)(const void *, const void *))
{
	if (links->n)
		qsort(links->v, links->n, sizeof(*links->v), order);
}

/* The directory of this removed name is there, and where it was. */
static bool is_in_place(const struct bow_diff_link *l)
{
	return l->ino_before == l->parent && l->path && l->path_now &&
	       strcmp(l->path, l->path_now) == 0;
}

/* Could this removed and this added name of one number be one file, renamed? */
static int is_renamed(struct bow_diff *d, uint32_t ino, bool dirs, bool *yes,
		      struct bowimg_error *err)
{
	const struct bow_diff_file *f = bow_diff_find_file(d, ino);
	struct bow_inode now, before;
	int rc = bow_diff_is_lasting_dir(d, ino, yes, err);

	if (rc || dirs)
		return rc;
	*yes = !*yes && d->related && (!f || f->same);
	if (!*yes || !f)
		return 0;
	rc = d->ops->inode(d, BOWIMG_NOW, ino, &now, err);
	if (!rc)
		rc = d->ops->inode(d, BOWIMG_BEFORE, ino, &before, err);
	/* Without a generation or a time of birth the number may have been given away again. */
	*yes = !rc && (bow_inode_is_unique(&now) || !(f->what & (BOW_DIFF_SIZE | BOW_DIFF_TIMES)));
	return rc;
}

static int add_renamed(struct bow_diff *d, struct bow_diff_link *now, struct bow_diff_link *before,
		       struct bowimg_error *err)
{
	const struct bow_diff_file *f = bow_diff_find_file(d, now->ino);
	const struct bow_diff_item item = {.kind = BOW_DIFF_RENAMED,
					   .what = f ? f->what : 0,
					   .path = now->path,
					   .old_path = before->path,
					   .ino_now = now->ino,
					   .ino_before = before->ino,
					   .dir_now = now->parent,
					   .dir_before = before->parent,
					   .hides = is_in_place(before)};

	now->done = before->done = true;
	return now->path && before->path ? add_item(d, &item, err) : 0;
}

/* Both lists are sorted by number. */
static int match_numbers(struct bow_diff *d, bool dirs, struct bowimg_error *err)
{
	struct bow_diff_link *now = d->added.v, *before = d->removed.v;
	const struct bow_diff_link *now_end = now + d->added.n, *before_end = before + d->removed.n;
	bool yes;
	int rc = 0;

	while (!rc && now < now_end && before < before_end) {
		if (now->done || now->ino < before->ino) {
			now++;
		} else if (before->done || before->ino < now->ino) {
			before++;
		} else {
			rc = is_renamed(d, now->ino, dirs, &yes, err);
			if (!rc && yes)
				rc = add_renamed(d, now, before, err);
			now++;
			before++;
		}
	}
	return rc;
}

/* The removed names are sorted by where they would be now. */
static int match_paths(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < d->added.n && d->removed.n; i++) {
		struct bow_diff_link *l = &d->added.v[i];
		const struct bow_diff_link key = {.path_now = l->path};
		struct bow_diff_link *before = NULL;

		if (!l->done && l->path)
			before =
				bsearch(&key, d->removed.v, d->removed.n, sizeof(key), by_path_now);
		if (!before || before->done)
			continue;
		l->done = before->done = true;
		rc = add_pair(d, l, before->ino, err);
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
			.ino_now = l->ino,
			.dir_now = l->parent,
		};

		rc = l->done || !l->path ? 0 : add_item(d, &item, err);
	}
	for (size_t i = 0; !rc && i < d->removed.n; i++) {
		const struct bow_diff_link *l = &d->removed.v[i];
		const struct bow_diff_item item = {
			.kind = BOW_DIFF_DELETED,
			.path = l->path,
			.ino_before = l->ino,
			.dir_before = l->parent,
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
	sort_links(&d->removed, by_path_now);
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
	if (!rc && d->n_items)
		qsort(d->items, d->n_items, sizeof(*d->items), by_path);
	return rc;
}
