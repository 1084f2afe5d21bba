/* SPDX-License-Identifier: MIT */
/* Both versions as ext2/3/4, read through libext2fs: opening them, and the answers about files. */
#include "bowimg/diff/ext/ext.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

/* ---- opening --------------------------------------------------------------------- */

int bow_diff_ext_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		       bool *is_ext, struct bowimg_error *err)
{
	int rc = 0;

	*is_ext = false;
	for (int version = 0; version < BOW_VERSIONS && !rc && !*is_ext; version++)
		rc = bow_ext_probe(source->disk[version], off, bytes, is_ext, err);
	return rc;
}

static int open_versions(struct bow_diff *d, struct bowimg_error *err)
{
	static const char *const labels[] = {
		[BOW_NEW] = "as it is now", [BOW_OLD] = "as it was at prepare"};
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++) {
		struct bow_ext_fs *fs = &d->ext->fs[version];

		fs->label = labels[version];
		fs->repairable = version == BOW_NEW;
		rc = bow_ext_fs_open(fs, d->source->disk[version], d->opts.off, d->opts.bytes, err);
		/* Reading large files and trees takes long between two steps of progress. */
		fs->io.events = &d->opts.events;
	}
	return rc;
}

/* Are they versions of one file system, with the inodes in the same places? It may be resized. */
static int relate(struct bow_diff *d, struct bowimg_error *err)
{
	const struct ext2_super_block *new = d->ext->fs[BOW_NEW].lib->super;
	const struct ext2_super_block *old = d->ext->fs[BOW_OLD].lib->super;

	if (new->s_log_block_size != old->s_log_block_size) {
		bow_err(err, -EOPNOTSUPP,
			"%s: compare files: the file system was made anew, and its block size "
			"changed",
			d->source->name);
		bow_err_hint(err,
			     "mount both versions and compare them, or list the changed ranges");
		return -EOPNOTSUPP;
	}
	d->related = memcmp(old->s_uuid, new->s_uuid, sizeof(old->s_uuid)) == 0 &&
		     old->s_mkfs_time == new->s_mkfs_time &&
		     old->s_inodes_per_group == new->s_inodes_per_group &&EXT2_INODE_SIZE(old) ==
			     EXT2_INODE_SIZE(new) &&
		     EXT2_FIRST_INO(old) == EXT2_FIRST_INO(new);
	return 0;
}

static int read_ahead(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = bow_diff_ahead_read(d, &d->ext->ahead, err);

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		d->ext->fs[version].io.ahead = &d->ext->ahead.known[version];
	return rc;
}

static int op_open(struct bow_diff *d, bool *same, struct bowimg_error *err)
{
	int rc;

	*same = false; /* only superblocks are read if nothing changed */
	d->ext = calloc(1, sizeof(*d->ext));
	if (!d->ext)
		return bow_diff_no_memory(err);
	rc = open_versions(d, err);
	if (!rc)
		rc = relate(d, err);
	if (!rc)
		rc = bow_diff_load_changes(d, d->ext->fs[BOW_NEW].lib->blocksize, err);
	return rc ? rc : read_ahead(d, err);
}

static void op_close(struct bow_diff *d)
{
	for (int version = 0; d->ext && version < BOW_VERSIONS; version++)
		bow_ext_fs_close(&d->ext->fs[version]);
	if (d->ext)
		bow_diff_ahead_release(&d->ext->ahead);
	free(d->ext);
}

static int op_find_files(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = bow_diff_scan_inodes(d, err);

	return rc ? rc : bow_diff_find_owners(d, err);
}

/* ---- inodes and directories ------------------------------------------------------ */

static int op_inode(struct bow_diff *d, enum bow_version version, uint32_t ino,
		    struct bow_inode *out, struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, version, ino, &inode, err);

	if (!rc)
		bow_ext_describe(&inode, out);
	return rc;
}

static int op_parent(struct bow_diff *d, enum bow_version version, uint32_t dir, uint32_t *out,
		     struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, version, dir, &inode, err);

	return rc ? rc : bow_ext_parent(&d->ext->fs[version], &inode, out, err);
}

static int op_walk_dir(struct bow_diff *d, enum bow_version version, uint32_t dir,
		       bow_dirent_func *entry, void *ctx, struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, version, dir, &inode, err);

	return rc ? rc : bow_ext_walk_dir(&d->ext->fs[version], &inode, entry, ctx, err);
}

struct changed_dir {
	struct bow_diff *d;
	struct bow_ext_inode inode[BOW_VERSIONS];
	bow_version_dirent_func *entry;
	void *ctx;
	enum bow_version version; /* being read */
};

static int on_entry(void *ctx, const struct bow_dirent *e, struct bowimg_error *err)
{
	const struct changed_dir *dir = ctx;

	return dir->entry(dir->ctx, dir->version, e, err);
}

static int on_piece(void *ctx, uint64_t logical, uint64_t n, const uint64_t blk[BOW_VERSIONS],
		    struct bowimg_error *err)
{
	struct changed_dir *dir = ctx;
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS; version++) {
		struct bow_ext_fs *fs = &dir->d->ext->fs[version];
		const uint64_t size_blk =
			bow_div_up(bow_ext_size(&dir->inode[version]), fs->lib->blocksize);

		dir->version = (enum bow_version)version;
		for (uint64_t k = 0; !rc && blk[version] && k < n && logical + k < size_blk; k++)
			rc = bow_ext_walk_dir_block(fs, &dir->inode[version], blk[version] + k,
						    on_entry, dir, err);
	}
	return rc;
}

static int walk_blocks(struct changed_dir *dir, struct bowimg_error *err)
{
	struct bow_ext_runs runs[BOW_VERSIONS] = {{0}, {0}};
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		rc = bow_ext_load_runs(&dir->d->ext->fs[version], &dir->inode[version],
				       &runs[version], err);
	if (!rc)
		rc = bow_diff_pieces(dir->d, runs, on_piece, dir, err);
	for (int version = 0; version < BOW_VERSIONS; version++)
		bow_ext_free_runs(&runs[version]);
	return rc;
}

/*
 * An entry that moved to another block is in changed blocks of both versions, and so cancels out.
 * All entries of a directory that is kept in its inode count.
 */
static int op_walk_changed(struct bow_diff *d, uint32_t ino, bow_version_dirent_func *entry,
			   void *ctx, struct bowimg_error *err)
{
	struct changed_dir dir = {.d = d, .entry = entry, .ctx = ctx};
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		rc = bow_diff_ext_inode(d, (enum bow_version)version, ino, &dir.inode[version],
					err);
	if (rc)
		return rc;
	if (!bow_ext_is_inline(&dir.inode[0]) && !bow_ext_is_inline(&dir.inode[1]))
		return walk_blocks(&dir, err);
	for (int version = 0; version < BOW_VERSIONS && !rc; version++) {
		dir.version = (enum bow_version)version;
		rc = bow_ext_walk_dir(&d->ext->fs[version], &dir.inode[version], on_entry, &dir,
				      err);
	}
	return rc;
}

/* ---- links and attributes -------------------------------------------------------- */

static int read_link(struct bow_diff *d, enum bow_version version, uint32_t ino, char **out,
		     struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, version, ino, &inode, err);

	return rc ? rc : bow_ext_read_link(&d->ext->fs[version], &inode, out, err);
}

static int load_attrs(struct bow_diff *d, enum bow_version version, uint32_t ino,
		      struct bow_attrs *out, struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, version, ino, &inode, err);

	*out = (struct bow_attrs){0};
	return rc ? rc : bow_ext_load_attrs(&d->ext->fs[version], &inode, out, err);
}

static int op_read_link(struct bow_diff *d, uint32_t ino, char **out, struct bowimg_error *err)
{
	return read_link(d, BOW_NEW, ino, out, err);
}

static int op_load_attrs(struct bow_diff *d, uint32_t ino, struct bow_attrs *out,
			 struct bowimg_error *err)
{
	return load_attrs(d, BOW_NEW, ino, out, err);
}

static int op_targets_differ(struct bow_diff *d, const struct bow_inode *new,
			     const struct bow_inode *old, bool *differ, struct bowimg_error *err)
{
	char *a = NULL, *b = NULL;
	int rc = read_link(d, BOW_NEW, new->ino, &a, err);

	if (!rc)
		rc = read_link(d, BOW_OLD, old->ino, &b, err);
	*differ = !rc && strcmp(a, b) != 0;
	free(a);
	free(b);
	return rc;
}

static int op_attrs_differ(struct bow_diff *d, const struct bow_inode *new,
			   const struct bow_inode *old, bool *differ, struct bowimg_error *err)
{
	struct bow_attrs a = {0}, b = {0};
	int rc = load_attrs(d, BOW_NEW, new->ino, &a, err);

	if (!rc)
		rc = load_attrs(d, BOW_OLD, old->ino, &b, err);
	*differ = !rc && !bow_attrs_same(&a, &b);
	bow_attrs_free(&a);
	bow_attrs_free(&b);
	return rc;
}

const struct bow_diff_ops bow_diff_ext_ops = {
	.open = op_open,
	.close = op_close,
	.find_files = op_find_files,
	.inode = op_inode,
	.parent = op_parent,
	.walk_dir = op_walk_dir,
	.walk_changed = op_walk_changed,
	.targets_differ = op_targets_differ,
	.attrs_differ = op_attrs_differ,
	.content_differs = bow_diff_ext_content_differs,
	.read_link = op_read_link,
	.load_attrs = op_load_attrs,
	.open_content = bow_diff_ext_open_content,
	.read_content = bow_diff_ext_read_content,
};
