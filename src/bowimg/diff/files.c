/* SPDX-License-Identifier: MIT */
/* The files that may have changed: a list by number. */
#include <stdlib.h>

#include "lib/base/grow.h"
#include "bowimg/diff/private.h"

int bow_diff_add_file(struct bow_diff *d, uint32_t ino, struct bowimg_error *err)
{
	struct bow_diff_file *v = bow_grow(d->files, d->n_files, &d->room_files, sizeof(*v));

	if (!v)
		return bow_diff_no_memory(err);
	d->files = v;
	v[d->n_files++] = (struct bow_diff_file){.ino = ino};
	return 0;
}

static int load_file(struct bow_diff *d, struct bow_diff_file *f, struct bowimg_error *err)
{
	struct bow_inode inode[BOW_VERSIONS];
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++) {
		rc = d->ops->inode(d, (enum bow_version)version, f->ino, &inode[version], err);
		if (!rc && inode[version].in_use)
			f->mode[version] = inode[version].mode;
	}
	if (rc)
		return rc;
	f->same = d->related && bow_inode_same(&inode[BOW_NEW], &inode[BOW_OLD]);
	f->new_links = f->mode[BOW_NEW] ? inode[BOW_NEW].links : 0;
	return 0;
}

int bow_diff_load_files(struct bow_diff *d, size_t from, struct bowimg_error *err)
{
	size_t kept = from;

	for (size_t i = from; i < d->n_files; i++) {
		struct bow_diff_file f = d->files[i];
		int rc = load_file(d, &f, err);

		if (rc)
			return rc;
		if (f.mode[BOW_NEW] || f.mode[BOW_OLD])
			d->files[kept++] = f;
	}
	d->n_files = kept;
	return 0;
}

static int by_ino(const void *a, const void *b)
{
	const uint32_t x = ((const struct bow_diff_file *)a)->ino;
	const uint32_t y = ((const struct bow_diff_file *)b)->ino;

	return x < y ? -1 : x > y;
}

void bow_diff_sort_files(struct bow_diff *d)
{
	bow_sort(d->files, d->n_files, sizeof(*d->files), by_ino);
}

struct bow_diff_file *bow_diff_find_file(const struct bow_diff *d, uint32_t ino)
{
	const struct bow_diff_file key = {.ino = ino};

	return bow_find(&key, d->files, d->n_files, sizeof(key), by_ino);
}
