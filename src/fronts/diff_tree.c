/* SPDX-License-Identifier: MIT */
/*
 * Both sides as trees that the kernel has mounted: what is asked about their files.
 *
 * Both are listed (tree.c). Of content, what has the same places on both sides, none of which was
 * written to, is the same. The rest is read; on a file system of which only one state can be
 * mounted at a time, all of it was, and what is compared are hashes.
 */
#include "fronts/diff_tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

static const struct bow_tree_file *find(const struct bow_diff *d, enum bowimg_side side,
					uint32_t number)
{
	return bow_tree_find(&d->trees->tree[side], number);
}

static int no_such_file(const struct bow_diff *d, enum bowimg_side side, struct bowimg_error *err)
{
	return bow_diff_bad(d, side, "a file has gone", err);
}

/* ---- which may have changed ------------------------------------------------------------------ */

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

/* Is the data the same, without reading any now? */
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
	const struct bow_tree_file *now = find(d, BOWIMG_NOW, number);
	const struct bow_tree_file *before = find(d, BOWIMG_BEFORE, number);

	if (!now || !before)
		return now || before;
	if (S_ISDIR(now->inode.mode) || !same_inode(&now->inode, &before->inode) ||
	    !same_hash(&now->attrs, &before->attrs))
		return true;
	return (S_ISREG(now->inode.mode) || S_ISLNK(now->inode.mode)) && !same_data(d, now, before);
}

static int op_find_files(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = BOW_ROOT_INO; !rc && i <= d->trees->numbers.last; i++)
		if (may_differ(d, i))
			rc = bow_diff_add_file(d, i, err);
	return rc ? rc : bow_diff_load_files(d, 0, err);
}

/* ---- inodes and directories ------------------------------------------------------------------ */

static int op_inode(struct bow_diff *d, enum bowimg_side side, uint32_t ino, struct bow_inode *out,
		    struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, side, ino);

	(void)err;
	*out = f ? f->inode : (struct bow_inode){.ino = ino};
	return 0;
}

static int op_parent(struct bow_diff *d, enum bowimg_side side, uint32_t dir, uint32_t *out,
		     struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, side, dir);

	if (!f)
		return no_such_file(d, side, err);
	*out = f->parent;
	return 0;
}

static int op_walk_dir(struct bow_diff *d, enum bowimg_side side, uint32_t dir,
		       bow_entry_func *entry, void *ctx, struct bowimg_error *err)
{
	const struct bow_tree *t = &d->trees->tree[side];
	const struct bow_tree_file *f = bow_tree_find(t, dir);
	int rc = 0;

	for (uint32_t i = 0; f && !rc && i < f->n_entries; i++) {
		const struct bow_tree_entry *x = &t->entries[f->entries + i];
		const struct bow_entry e = {
			.ino = x->number,
			.may_be_dir = S_ISDIR(bow_tree_find(t, x->number)->inode.mode),
			.is_typed = true,
			.name = x->name};

		rc = entry(ctx, &e, err);
	}
	return rc;
}

struct both {
	bow_side_entry_func *entry;
	void *ctx;
	enum bowimg_side side;
};

static int on_entry(void *ctx, const struct bow_entry *e, struct bowimg_error *err)
{
	const struct both *b = ctx;

	return b->entry(b->ctx, b->side, e, err);
}

static int op_walk_changed(struct bow_diff *d, uint32_t dir, bow_side_entry_func *entry, void *ctx,
			   struct bowimg_error *err)
{
	struct both b = {.entry = entry, .ctx = ctx};
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++) {
		b.side = (enum bowimg_side)side;
		rc = op_walk_dir(d, b.side, dir, on_entry, &b, err);
	}
	return rc;
}

/* ---- what differs ---------------------------------------------------------------------------- */

struct pair {
	const struct bow_tree_file *now, *before;
};

static int find_pair(struct bow_diff *d, const struct bow_inode *now,
		     const struct bow_inode *before, struct pair *out, struct bowimg_error *err)
{
	*out = (struct pair){find(d, BOWIMG_NOW, now->ino), find(d, BOWIMG_BEFORE, before->ino)};
	return out->now && out->before ? 0 : no_such_file(d, BOWIMG_NOW, err);
}

static int op_targets_differ(struct bow_diff *d, const struct bow_inode *now,
			     const struct bow_inode *before, bool *differ, struct bowimg_error *err)
{
	struct pair p;
	int rc = find_pair(d, now, before, &p, err);

	*differ = !rc && !same_hash(&p.now->data, &p.before->data);
	return rc;
}

static int op_attrs_differ(struct bow_diff *d, const struct bow_inode *now,
			   const struct bow_inode *before, bool *differ, struct bowimg_error *err)
{
	struct pair p;
	int rc = find_pair(d, now, before, &p, err);

	*differ = !rc && !same_hash(&p.now->attrs, &p.before->attrs);
	return rc;
}

/* Where either has data, from `off` on. */
static int64_t next_data(const int fd[BOW_SIDES], uint64_t off, uint64_t size)
{
	const int64_t now = bow_tree_next_data(fd[BOWIMG_NOW], off, size);
	const int64_t before = bow_tree_next_data(fd[BOWIMG_BEFORE], off, size);

	if (now < 0 || before < 0)
		return now < 0 ? now : before;
	return now < before ? now : before;
}

static int compare_data(const int fd[BOW_SIDES], uint64_t size, bool *differs)
{
	CLEANUP_FREE uint8_t *buf = malloc((size_t)2 * BOW_DATA_CHUNK);
	int64_t off = 0;
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	while (!rc && !*differs && (off = next_data(fd, (uint64_t)off, size)) >= 0 &&
	       (uint64_t)off < size) {
		const size_t n = bow_min(BOW_DATA_CHUNK, size - (uint64_t)off);

		for (int side = 0; side < BOW_SIDES && !rc; side++)
			rc = bow_tree_pread(fd[side], buf + (size_t)side * BOW_DATA_CHUNK, n,
					    (uint64_t)off);
		*differs = !rc && memcmp(buf, buf + BOW_DATA_CHUNK, n) != 0;
		off += (int64_t)n;
	}
	return off < 0 ? (int)off : rc;
}

static int read_both(struct bow_diff *d, const struct pair *p, bool *differs,
		     struct bowimg_error *err)
{
	CLEANUP_CLOSE int now =
		bow_tree_open(&d->trees->tree[BOWIMG_NOW], p->now, O_RDONLY | O_NOATIME, err);
	if (now < 0)
		return now;
	CLEANUP_CLOSE int before =
		bow_tree_open(&d->trees->tree[BOWIMG_BEFORE], p->before, O_RDONLY | O_NOATIME, err);
	if (before < 0)
		return before;
	const int fd[BOW_SIDES] = {[BOWIMG_NOW] = now, [BOWIMG_BEFORE] = before};
	int rc = compare_data(fd, p->now->inode.size, differs);
	return rc ? bow_tree_fail(&d->trees->tree[BOWIMG_NOW], p->now, rc, "compare it", err) : 0;
}

static int op_content_differs(struct bow_diff *d, const struct bow_inode *now,
			      const struct bow_inode *before, bool *differs,
			      struct bowimg_error *err)
{
	struct pair p;
	int rc = find_pair(d, now, before, &p, err);

	*differs = false;
	if (rc || same_data(d, p.now, p.before))
		return rc;
	if (!d->trees->hashed && !now->is_encrypted && !before->is_encrypted)
		return read_both(d, &p, differs, err);
	*differs = true;
	return 0;
}

/* ---- as it is now, for archives -------------------------------------------------------------- */

static int op_read_link(struct bow_diff *d, uint32_t ino, char **out, struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, BOWIMG_NOW, ino);

	return f ? bow_tree_target(&d->trees->tree[BOWIMG_NOW], f, out, err)
		 : no_such_file(d, BOWIMG_NOW, err);
}

static int op_load_attrs(struct bow_diff *d, uint32_t ino, struct bow_attrs *out,
			 struct bowimg_error *err)
{
	const struct bow_tree_file *f = find(d, BOWIMG_NOW, ino);

	return f ? bow_tree_attrs(&d->trees->tree[BOWIMG_NOW], f, out, err)
		 : no_such_file(d, BOWIMG_NOW, err);
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
	const struct bow_tree *t = &d->trees->tree[BOWIMG_NOW];
	const struct bow_tree_file *f = bow_tree_find(t, ino);
	int rc;

	*out = (struct bow_content){.fd = -1};
	if (!f)
		return no_such_file(d, BOWIMG_NOW, err);
	out->size = f->inode.size;
	out->fd = bow_tree_open(t, f, O_RDONLY | O_NOATIME, err);
	if (out->fd < 0)
		return out->fd;
	rc = find_pieces(out);
	return rc ? bow_tree_fail(t, f, rc, "look for its data", err) : 0;
}

static int op_read_content(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			   const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			   struct bowimg_error *err)
{
	const struct bow_tree *t = &d->trees->tree[BOWIMG_NOW];
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
