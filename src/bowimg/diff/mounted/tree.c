/* SPDX-License-Identifier: MIT */
/*
 * Both versions as trees that the kernel has mounted: the answers about their files.
 *
 * walk.c lists both. Content is the same if it has the same places in both versions, and nothing
 * was written there. Other content is read. If only one version can be mounted at a time, walk.c
 * read all content, and hashes are compared.
 */
#include "bowimg/diff/mounted/tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"

static const struct bow_tree_file *find(const struct bow_diff *d, enum bow_version version,
					uint32_t number)
{
	return bow_tree_find(&d->trees->tree[version], number);
}

static int no_such_file(const struct bow_diff *d, enum bow_version version,
			struct bowimg_error *err)
{
	return bow_diff_bad(d, version, "a file has gone", err);
}

/* ---- which may have changed ------------------------------------------------------ */

static bool same_hash(const struct bow_tree_hash *a, const struct bow_tree_hash *b)
{
	return a->low == b->low && a->high == b->high;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_inode(const struct bow_inode *a, const struct bow_inode *b)
{
	return a->mode == b->mode && a->links == b->links && a->uid == b->uid && a->gid == b->gid &&
	       a->major == b->major && a->minor == b->minor && a->size == b->size &&
	       same_time(&a->mtime, &b->mtime) && a->has_birth == b->has_birth &&
	       same_time(&a->birth, &b->birth);
}

/* Is the data known to be the same, without reading it? */
static bool same_data(const struct bow_diff *d, const struct bow_tree_file *a,
		      const struct bow_tree_file *b)
{
	if (a->inode.size == 0 || a->inode.is_encrypted)
		return same_time(&a->inode.mtime, &b->inode.mtime) || a->inode.size == 0;
	return same_hash(&a->data, &b->data) &&
	       (d->trees->hashed || S_ISLNK(a->inode.mode) || (a->is_placed && b->is_placed));
}

/* A directory changes with its entries, which are compared by name. */
static bool may_differ(const struct bow_diff *d, uint32_t number)
{
	const struct bow_tree_file *new = find(d, BOW_NEW, number);
	const struct bow_tree_file *old = find(d, BOW_OLD, number);

	if (!new || !old)
		return new || old;
	if (S_ISDIR(new->inode.mode) || !same_inode(&new->inode, &old->inode) ||
	    !same_hash(&new->attrs, &old->attrs))
		return true;
	return (S_ISREG(new->inode.mode) || S_ISLNK(new->inode.mode)) && !same_data(d, new, old);
}

static int op_find_files(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = BOW_ROOT_INO; !rc && i <= d->trees->numbers.last; i++)
		if (may_differ(d, i))
			rc = bow_diff_add_file(d, i, err);
	return rc ? rc : bow_diff_load_files(d, 0, err);
}

/* ---- inodes and directories ------------------------------------------------------ */

static int op_inode(struct bow_diff *d, enum bow_version version, uint32_t ino,
		    struct bow_inode *out, struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, version, ino);

	(void)err;
	*out = f ? f->inode : (struct bow_inode){.ino = ino};
	return 0;
}

static int op_parent(struct bow_diff *d, enum bow_version version, uint32_t dir, uint32_t *out,
		     struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, version, dir);

	if (!f)
		return no_such_file(d, version, err);
	*out = f->parent;
	return 0;
}

static int op_walk_dir(struct bow_diff *d, enum bow_version version, uint32_t dir,
		       bow_dirent_func *entry, void *ctx, struct bowimg_error *err)
{
	const struct bow_tree *t = &d->trees->tree[version];
	const struct bow_tree_file *f = bow_tree_find(t, dir);
	int rc = 0;

	for (uint32_t i = 0; f && !rc && i < f->n_entries; i++) {
		const struct bow_tree_entry *x = &t->entries[f->entries + i];
		const struct bow_dirent e = {
			.ino = x->number,
			.may_be_dir = S_ISDIR(bow_tree_find(t, x->number)->inode.mode),
			.is_typed = true,
			.name = x->name};

		rc = entry(ctx, &e, err);
	}
	return rc;
}

struct both {
	bow_version_dirent_func *entry;
	void *ctx;
	enum bow_version version;
};

static int on_entry(void *ctx, const struct bow_dirent *e, struct bowimg_error *err)
{
	const struct both *b = ctx;

	return b->entry(b->ctx, b->version, e, err);
}

static int op_walk_changed(struct bow_diff *d, uint32_t dir, bow_version_dirent_func *entry,
			   void *ctx, struct bowimg_error *err)
{
	struct both b = {.entry = entry, .ctx = ctx};
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++) {
		b.version = (enum bow_version)version;
		rc = op_walk_dir(d, b.version, dir, on_entry, &b, err);
	}
	return rc;
}

/* ---- what differs ---------------------------------------------------------------- */

struct pair {
	const struct bow_tree_file *new, *old;
};

static int find_pair(struct bow_diff *d, const struct bow_inode *new, const struct bow_inode *old,
		     struct pair *out, struct bowimg_error *err)
{
	*out = (struct pair){find(d, BOW_NEW, new->ino), find(d, BOW_OLD, old->ino)};
	return out->new && out->old ? 0 : no_such_file(d, BOW_NEW, err);
}

static int op_targets_differ(struct bow_diff *d, const struct bow_inode *new,
			     const struct bow_inode *old, bool *differ, struct bowimg_error *err)
{
	struct pair p;
	int rc = find_pair(d, new, old, &p, err);

	*differ = !rc && !same_hash(&p.new->data, &p.old->data);
	return rc;
}

static int op_attrs_differ(struct bow_diff *d, const struct bow_inode *new,
			   const struct bow_inode *old, bool *differ, struct bowimg_error *err)
{
	struct pair p;
	int rc = find_pair(d, new, old, &p, err);

	*differ = !rc && !same_hash(&p.new->attrs, &p.old->attrs);
	return rc;
}

/* The start of data in one of the two at or after `off`. */
static int64_t next_data(const int fd[BOW_VERSIONS], uint64_t off, uint64_t size)
{
	const int64_t new = bow_tree_next_data(fd[BOW_NEW], off, size);
	const int64_t old = bow_tree_next_data(fd[BOW_OLD], off, size);

	if (new < 0 || old < 0)
		return new < 0 ? new : old;
	return new < old ? new : old;
}

static int compare_data(const int fd[BOW_VERSIONS], uint64_t size, bool *differs)
{
	CLEANUP_FREE uint8_t *buf = malloc((size_t)2 * BOW_DATA_CHUNK);
	int64_t off = 0;
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	while (!rc && !*differs && (off = next_data(fd, (uint64_t)off, size)) >= 0 &&
	       (uint64_t)off < size) {
		const size_t n = bow_min(BOW_DATA_CHUNK, size - (uint64_t)off);

		for (int version = 0; version < BOW_VERSIONS && !rc; version++)
			rc = bow_tree_pread(fd[version], buf + (size_t)version * BOW_DATA_CHUNK, n,
					    (uint64_t)off);
		*differs = !rc && memcmp(buf, buf + BOW_DATA_CHUNK, n) != 0;
		off += (int64_t)n;
	}
	return off < 0 ? (int)off : rc;
}

static int read_both(struct bow_diff *d, const struct pair *p, bool *differs,
		     struct bowimg_error *err)
{
	CLEANUP_CLOSE int new =
		bow_tree_open(&d->trees->tree[BOW_NEW], p->new, O_RDONLY | O_NOATIME, err);
	if (new < 0)
		return new;
	CLEANUP_CLOSE int old =
		bow_tree_open(&d->trees->tree[BOW_OLD], p->old, O_RDONLY | O_NOATIME, err);
	if (old < 0)
		return old;
	const int fd[BOW_VERSIONS] = {[BOW_NEW] = new, [BOW_OLD] = old};
	int rc = compare_data(fd, p->new->inode.size, differs);
	return rc ? bow_tree_fail(&d->trees->tree[BOW_NEW], p->new, rc, "compare it", err) : 0;
}

static int op_content_differs(struct bow_diff *d, const struct bow_inode *new,
			      const struct bow_inode *old, bool *differs, struct bowimg_error *err)
{
	struct pair p;
	int rc = find_pair(d, new, old, &p, err);

	*differs = false;
	if (rc || same_data(d, p.new, p.old))
		return rc;
	if (!d->trees->hashed && !new->is_encrypted && !old->is_encrypted)
		return read_both(d, &p, differs, err);
	*differs = true;
	return 0;
}

/* ---- as it is now, for archives -------------------------------------------------- */

static int op_read_link(struct bow_diff *d, uint32_t ino, char **out, struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, BOW_NEW, ino);

	return f ? bow_tree_target(&d->trees->tree[BOW_NEW], f, out, err)
		 : no_such_file(d, BOW_NEW, err);
}

static int op_load_attrs(struct bow_diff *d, uint32_t ino, struct bow_attrs *out,
			 struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, BOW_NEW, ino);

	return f ? bow_tree_attrs(&d->trees->tree[BOW_NEW], f, out, err)
		 : no_such_file(d, BOW_NEW, err);
}

/* Where the next hole begins; the end of the file is one. */
static int64_t end_of_data(int fd, int64_t off)
{
	const off_t at = lseek(fd, off, SEEK_HOLE);

	return at < 0 ? -errno : at;
}

static int find_pieces(struct bow_content *c)
{
	struct bow_piece piece;
	int64_t off = 0, end;

	while ((off = bow_tree_next_data(c->fd, (uint64_t)off, c->size)) >= 0 &&
	       (uint64_t)off < c->size) {
		end = end_of_data(c->fd, off);
		if (end <= off)
			return end < 0 ? (int)end : -EIO;
		piece = (struct bow_piece){.off = (uint64_t)off,
					   .bytes =
						   bow_min((uint64_t)end, c->size) - (uint64_t)off};
		if (bow_content_add(c, &piece))
			return -ENOMEM;
		off = end;
	}
	return off < 0 ? (int)off : 0;
}

static int op_open_content(struct bow_diff *d, uint32_t ino, struct bow_content *out,
			   struct bowimg_error *err)
{
	const struct bow_tree *t = &d->trees->tree[BOW_NEW];
	const struct bow_tree_file *f = bow_tree_find(t, ino);
	int rc;

	*out = (struct bow_content){.fd = -1};
	if (!f)
		return no_such_file(d, BOW_NEW, err);
	out->size = f->inode.size;
	out->fd = bow_tree_open(t, f, O_RDONLY | O_NOATIME, err);
	if (out->fd < 0)
		return out->fd;
	rc = find_pieces(out);
	return rc ? bow_tree_fail(t, f, rc, "find its data", err) : 0;
}

static int op_read_content(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			   const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			   struct bowimg_error *err)
{
	const struct bow_tree *t = &d->trees->tree[BOW_NEW];
	int rc = bow_tree_pread(c->fd, buf, bytes, piece->off + skip);

	return rc ? bow_tree_fail(t, bow_tree_find(t, ino), rc, "read it", err) : 0;
}

const struct bow_diff_ops bow_diff_tree_ops = {
	.open = bow_diff_tree_open,
	.close = bow_diff_tree_close,
	.find_files = op_find_files,
	.inode = op_inode,
	.parent = op_parent,
	.walk_dir = op_walk_dir,
	.walk_changed = op_walk_changed,
	.targets_differ = op_targets_differ,
	.attrs_differ = op_attrs_differ,
	.content_differs = op_content_differs,
	.read_link = op_read_link,
	.load_attrs = op_load_attrs,
	.open_content = op_open_content,
	.read_content = op_read_content,
};
