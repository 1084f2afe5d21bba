/* SPDX-License-Identifier: MIT */
/* Both sides as ext2/3/4, read through libext2fs: opening them, and what is asked about files. */
#include "fronts/diff_ext.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* ---- opening ---------------------------------------------------------------------------------
 */

static int read_now(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	const struct bow_diff_source *source = ctx;

	return source->read(source->ctx, BOWIMG_NOW, buf, bytes, off, err);
}

static int read_before(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	const struct bow_diff_source *source = ctx;

	return source->read(source->ctx, BOWIMG_BEFORE, buf, bytes, off, err);
}

static void make_source(const struct bow_diff_source *source, int side, struct bow_ext_source *out)
{
	*out = (struct bow_ext_source){side == BOWIMG_NOW ? read_now : read_before, (void *)source,
				       source->name, source->size};
}

int bow_diff_ext_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		       bool *is_ext, struct bowimg_error *err)
{
	struct bow_ext_source ext;
	int rc = 0;

	*is_ext = false;
	for (int side = 0; side < BOW_SIDES && !rc && !*is_ext; side++) {
		make_source(source, side, &ext);
		rc = bow_ext_probe(&ext, off, bytes, is_ext, err);
	}
	return rc;
}

static int open_sides(struct bow_diff *d, struct bowimg_error *err)
{
	static const char *const labels[] = {
		[BOWIMG_NOW] = "as it is now", [BOWIMG_BEFORE] = "as it was at prepare"};
	struct bow_ext_source ext;
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++) {
		struct bow_ext_side *s = &d->ext->side[side];

		make_source(d->source, side, &ext);
		s->label = labels[side];
		s->repairable = side == BOWIMG_NOW;
		rc = bow_ext_side_open(s, &ext, d->opts.off, d->opts.bytes, err);
	}
	return rc;
}

/* Is it one file system, whose inodes are where they were? It may have been resized. */
static int relate(struct bow_diff *d, struct bowimg_error *err)
{
	const struct ext2_super_block *now = d->ext->side[BOWIMG_NOW].fs->super;
	const struct ext2_super_block *before = d->ext->side[BOWIMG_BEFORE].fs->super;

	if (now->s_log_block_size != before->s_log_block_size) {
		bow_err(err, -EOPNOTSUPP,
			"%s: compare files: the file system was made anew, with blocks of another "
			"size",
			d->source->name);
		bow_err_hint(err, "mount both sides and compare them, or list the changed ranges");
		return -EOPNOTSUPP;
	}
	d->related = memcmp(now->s_uuid, before->s_uuid, sizeof(now->s_uuid)) == 0 &&
		     now->s_mkfs_time == before->s_mkfs_time &&
		     now->s_inodes_per_group == before->s_inodes_per_group &&
		     EXT2_INODE_SIZE(now) == EXT2_INODE_SIZE(before) &&
		     EXT2_FIRST_INO(now) == EXT2_FIRST_INO(before);
	return 0;
}

static int op_open(struct bow_diff *d, bool *same, struct bowimg_error *err)
{
	int rc;

	*same = false; /* what did not change is found by reading its superblocks only */
	d->ext = calloc(1, sizeof(*d->ext));
	if (!d->ext)
		return bow_diff_no_memory(err);
	rc = open_sides(d, err);
	if (!rc)
		rc = relate(d, err);
	return rc ? rc : bow_diff_load_changes(d, d->ext->side[BOWIMG_NOW].fs->blocksize, err);
}

static void op_close(struct bow_diff *d)
{
	for (int side = 0; d->ext && side < BOW_SIDES; side++)
		bow_ext_side_close(&d->ext->side[side]);
	free(d->ext);
}

static int op_find_files(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = bow_diff_scan_inodes(d, err);

	return rc ? rc : bow_diff_find_owners(d, err);
}

/* ---- inodes and directories -------------------------------------------------------------------
 */

int bow_diff_ext_inode(struct bow_diff *d, enum bowimg_side side, ext2_ino_t ino,
		       struct bow_ext_inode *out, struct bowimg_error *err)
{
	struct bow_ext_side *s = &d->ext->side[side];
	const uint32_t per_group = s->fs->super->s_inodes_per_group;

	*out = (struct bow_ext_inode){.ino = ino};
	if (ino == 0 || ino > s->fs->super->s_inodes_count ||
	    (ino - 1) % per_group >= bow_ext_table_used(s, (ino - 1) / per_group))
		return 0;
	return bow_ext_read_inode(s, ino, out, err);
}

static int op_inode(struct bow_diff *d, enum bowimg_side side, uint32_t ino, struct bow_inode *out,
		    struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, side, ino, &inode, err);

	if (!rc)
		bow_ext_describe(&inode, out);
	return rc;
}

static int op_parent(struct bow_diff *d, enum bowimg_side side, uint32_t dir, uint32_t *out,
		     struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, side, dir, &inode, err);

	return rc ? rc : bow_ext_parent(&d->ext->side[side], &inode, out, err);
}

static int op_walk_dir(struct bow_diff *d, enum bowimg_side side, uint32_t dir,
		       bow_entry_func *entry, void *ctx, struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, side, dir, &inode, err);

	return rc ? rc : bow_ext_walk_dir(&d->ext->side[side], &inode, entry, ctx, err);
}

struct changed_dir {
	struct bow_diff *d;
	struct bow_ext_inode inode[BOW_SIDES];
	bow_side_entry_func *entry;
	void *ctx;
	enum bowimg_side side; /* which is being read */
};

static int on_entry(void *ctx, const struct bow_entry *e, struct bowimg_error *err)
{
	const struct changed_dir *dir = ctx;

	return dir->entry(dir->ctx, dir->side, e, err);
}

static int on_piece(void *ctx, uint64_t logical, uint64_t n, const uint64_t blk[BOW_SIDES],
		    struct bowimg_error *err)
{
	struct changed_dir *dir = ctx;
	int rc = 0;

	for (int side = 0; side < BOW_SIDES; side++) {
		struct bow_ext_side *s = &dir->d->ext->side[side];
		const uint64_t size_blk =
			bow_div_up(bow_ext_size(&dir->inode[side]), s->fs->blocksize);

		dir->side = (enum bowimg_side)side;
		for (uint64_t k = 0; !rc && blk[side] && k < n && logical + k < size_blk; k++)
			rc = bow_ext_walk_dir_block(s, &dir->inode[side], blk[side] + k, on_entry,
						    dir, err);
	}
	return rc;
}

static int walk_blocks(struct changed_dir *dir, struct bowimg_error *err)
{
	struct bow_ext_runs runs[BOW_SIDES] = {{0}, {0}};
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_ext_load_runs(&dir->d->ext->side[side], &dir->inode[side], &runs[side],
				       err);
	if (!rc)
		rc = bow_diff_pieces(dir->d, runs, on_piece, dir, err);
	for (int side = 0; side < BOW_SIDES; side++)
		bow_ext_free_runs(&runs[side]);
	return rc;
}

/*
 * An entry that moved to another block is in changed blocks on both sides, and so cancels out. Of a
 * directory that is kept in its inode all entries count.
 */
static int op_walk_changed(struct bow_diff *d, uint32_t ino, bow_side_entry_func *entry, void *ctx,
			   struct bowimg_error *err)
{
	struct changed_dir dir = {.d = d, .entry = entry, .ctx = ctx};
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_diff_ext_inode(d, (enum bowimg_side)side, ino, &dir.inode[side], err);
	if (rc)
		return rc;
	if (!bow_ext_is_inline(&dir.inode[0]) && !bow_ext_is_inline(&dir.inode[1]))
		return walk_blocks(&dir, err);
	for (int side = 0; side < BOW_SIDES && !rc; side++) {
		dir.side = (enum bowimg_side)side;
		rc = bow_ext_walk_dir(&d->ext->side[side], &dir.inode[side], on_entry, &dir, err);
	}
	return rc;
}

/* ---- links and attributes ---------------------------------------------------------------------
 */

static int read_link(struct bow_diff *d, enum bowimg_side side, uint32_t ino, char **out,
		     struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, side, ino, &inode, err);

	return rc ? rc : bow_ext_read_link(&d->ext->side[side], &inode, out, err);
}

static int load_attrs(struct bow_diff *d, enum bowimg_side side, uint32_t ino,
		      struct bow_attrs *out, struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, side, ino, &inode, err);

	*out = (struct bow_attrs){0};
	return rc ? rc : bow_ext_load_attrs(&d->ext->side[side], &inode, out, err);
}

static int op_read_link(struct bow_diff *d, uint32_t ino, char **out, struct bowimg_error *err)
{
	return read_link(d, BOWIMG_NOW, ino, out, err);
}

static int op_load_attrs(struct bow_diff *d, uint32_t ino, struct bow_attrs *out,
			 struct bowimg_error *err)
{
	return load_attrs(d, BOWIMG_NOW, ino, out, err);
}

static int op_targets_differ(struct bow_diff *d, const struct bow_inode *now,
			     const struct bow_inode *before, bool *differ, struct bowimg_error *err)
{
	char *a = NULL, *b = NULL;
	int rc = read_link(d, BOWIMG_NOW, now->ino, &a, err);

	if (!rc)
		rc = read_link(d, BOWIMG_BEFORE, before->ino, &b, err);
	*differ = !rc && strcmp(a, b) != 0;
	free(a);
	free(b);
	return rc;
}

static int op_attrs_differ(struct bow_diff *d, const struct bow_inode *now,
			   const struct bow_inode *before, bool *differ, struct bowimg_error *err)
{
	struct bow_attrs a = {0}, b = {0};
	int rc = load_attrs(d, BOWIMG_NOW, now->ino, &a, err);

	if (!rc)
		rc = load_attrs(d, BOWIMG_BEFORE, before->ino, &b, err);
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
