/* SPDX-License-Identifier: MIT */
/*
 * Which files own changed blocks without a change of their inode: data overwritten in place by
 * something that sets no time. ext4 keeps no map from blocks to files, so they are searched only
 * for blocks that nothing else explains. These are settled, in this order:
 *
 *   - blocks that were free (by the log; then by the file system's bitmaps);
 *   - superblocks, descriptors, bitmaps and inode tables, which were compared;
 *   - blocks of changed inodes, old or new, and of the journal and its like;
 *   - blocks with the same content in both versions.
 *
 * After ordinary use of a mounted file system nothing is left. Else the inode tables are read, the
 * nearest groups first, until every block has found its owner: this alone costs by the number of
 * files, and only their inodes and extents are read.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/ext/ext.h"

#define CHUNK_BYTES (256u << 10)

static void settle_group(struct bow_diff *d, const struct bow_ext_fs *fs, dgrp_t group)
{
	struct bow_changed *c = &d->changed;
	blk64_t super, old_desc, new_desc;

	ext2fs_super_and_bgd_loc2(fs->lib, group, &super, &old_desc, &new_desc, NULL);
	bow_changed_settle(c, super, super + (super || group == 0));
	if (old_desc)
		bow_changed_settle(c, old_desc,
				   old_desc + fs->lib->desc_blocks +
					   fs->lib->super->s_reserved_gdt_blocks);
	if (new_desc)
		bow_changed_settle(c, new_desc, new_desc + 1);
	bow_changed_settle(c, ext2fs_block_bitmap_loc(fs->lib, group),
			   ext2fs_block_bitmap_loc(fs->lib, group) + 1);
	bow_changed_settle(c, ext2fs_inode_bitmap_loc(fs->lib, group),
			   ext2fs_inode_bitmap_loc(fs->lib, group) + 1);
	bow_changed_settle(c, ext2fs_inode_table_loc(fs->lib, group),
			   ext2fs_inode_table_loc(fs->lib, group) +
				   fs->lib->inode_blocks_per_group);
}

static void settle_layout(struct bow_diff *d)
{
	for (int version = 0; version < BOW_VERSIONS; version++)
		for (dgrp_t g = 0; g < d->ext->fs[version].lib->group_desc_count; g++)
			settle_group(d, &d->ext->fs[version], g);
}

/* Settle the blocks of one group that its old bitmap has as free. */
static int settle_free_of(struct bow_diff *d, dgrp_t group, uint8_t *bitmap,
			  struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &d->ext->fs[BOW_OLD];
	const uint64_t first = ext2fs_group_first_block2(fs->lib, group);
	const uint64_t end = ext2fs_group_last_block2(fs->lib, group) + 1;
	const bool all_free = ext2fs_has_group_desc_csum(fs->lib) &&
			      ext2fs_bg_flags_test(fs->lib, group, EXT2_BG_BLOCK_UNINIT);
	uint64_t blk = first, n;
	int rc = 0;

	if (!bow_changed_next_open(&d->changed, first, end, &blk))
		return 0;
	if (all_free)
		memset(bitmap, 0, fs->lib->blocksize);
	else
		rc = bow_ext_read_blocks(fs, ext2fs_block_bitmap_loc(fs->lib, group), 1, bitmap,
					 err);
	for (; !rc && (n = bow_changed_next_open(&d->changed, blk, end, &blk)); blk += n)
		for (uint64_t b = blk; b < blk + n; b++) {
			const uint64_t bit = (b - first) >> fs->lib->cluster_ratio_bits;

			if (bit / 8 >= fs->lib->blocksize || !(bitmap[bit / 8] >> bit % 8 & 1))
				bow_changed_settle(&d->changed, b, b + 1);
		}
	return rc;
}

static int settle_free(struct bow_diff *d, struct bowimg_error *err)
{
	ext2_filsys lib = d->ext->fs[BOW_OLD].lib;
	CLEANUP_FREE uint8_t *bitmap = malloc(lib->blocksize);
	const uint64_t end = ext2fs_blocks_count(lib->super);
	int rc = bitmap ? 0 : bow_diff_no_memory(err);

	for (dgrp_t g = 0; !rc && g < lib->group_desc_count && d->changed.open; g++)
		rc = settle_free_of(d, g, bitmap, err);
	/* There was no data past the end of the old file system. */
	bow_changed_settle(&d->changed, end, UINT64_MAX);
	return rc;
}

static int settle_run(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err)
{
	struct bow_diff *d = ctx;

	(void)err;
	bow_changed_settle(&d->changed, run->physical, run->physical + run->count);
	return 0;
}

static int settle_inode(struct bow_diff *d, enum bow_version version, ext2_ino_t ino,
			struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, version, ino, &inode, err);

	if (rc || !bow_ext_in_use(&inode))
		return rc;
	return bow_ext_walk_runs(&d->ext->fs[version], &inode, settle_run, d, err);
}

/* Journal, quota, orphan list; the resize inode owns what is settled as part of the layout. */
static int settle_hidden(struct bow_diff *d, enum bow_version version, struct bowimg_error *err)
{
	struct ext2_super_block *super = d->ext->fs[version].lib->super;
	int rc = 0;

	for (ext2_ino_t ino = 1; !rc && ino < EXT2_FIRST_INO(super); ino++)
		if (bow_diff_ext_is_hidden(d, ino) && ino != EXT2_RESIZE_INO)
			rc = settle_inode(d, version, ino, err);
	if (!rc && ext2fs_has_feature_orphan_file(super))
		rc = settle_inode(d, version, super->s_orphan_file_inum, err);
	return rc;
}

static int settle_files(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++) {
		rc = settle_hidden(d, (enum bow_version)version, err);
		for (size_t i = 0; !rc && i < d->n_files && d->changed.open; i++)
			if (d->files[i].mode[version])
				rc = settle_inode(d, (enum bow_version)version, d->files[i].ino,
						  err);
	}
	return rc;
}

static int settle_equal_run(struct bow_diff *d, uint64_t blk, uint64_t n,
			    uint8_t *const buf[BOW_VERSIONS], struct bowimg_error *err)
{
	const uint32_t size = d->changed.block_size;
	int rc = 0;

	for (uint64_t k; !rc && n; blk += k, n -= k) {
		k = bow_min(n, CHUNK_BYTES / size);
		for (int version = 0; version < BOW_VERSIONS && !rc; version++)
			rc = bow_ext_read_blocks(&d->ext->fs[version], blk, (unsigned)k,
						 buf[version], err);
		for (uint64_t i = 0; !rc && i < k; i++)
			if (memcmp(buf[0] + i * size, buf[1] + i * size, size) == 0)
				bow_changed_settle(&d->changed, blk + i, blk + i + 1);
	}
	return rc;
}

static int settle_equal(struct bow_diff *d, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *new = malloc(CHUNK_BYTES);
	CLEANUP_FREE uint8_t *old = malloc(CHUNK_BYTES);
	uint8_t *const buf[BOW_VERSIONS] = {new, old};
	uint64_t blk = 0, n;
	int rc = old && new ? 0 : bow_diff_no_memory(err);

	while (!rc && (n = bow_changed_next_open(&d->changed, blk, UINT64_MAX, &blk))) {
		rc = settle_equal_run(d, blk, n, buf, err);
		blk += n;
	}
	return rc;
}

struct owner {
	struct bow_diff *d;
	bool owns;
};

static int owner_run(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err)
{
	struct owner *o = ctx;

	(void)err;
	o->owns |= bow_changed_settle(&o->d->changed, run->physical, run->physical + run->count);
	return 0;
}

/* The inode is the same in both versions, or it would be among the files already. */
static int try_owner(struct bow_diff *d, const struct bow_ext_inode *inode,
		     struct bowimg_error *err)
{
	struct owner o = {.d = d};
	int rc;

	if (!bow_ext_in_use(inode) || bow_diff_ext_is_hidden(d, inode->ino))
		return 0;
	rc = bow_ext_walk_runs(&d->ext->fs[BOW_OLD], inode, owner_run, &o, err);
	return rc || !o.owns ? rc : bow_diff_add_file(d, inode->ino, err);
}

static int search_group(struct bow_diff *d, ext2_inode_scan scan, dgrp_t group,
			struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &d->ext->fs[BOW_OLD];
	const ext2_ino_t per_group = fs->lib->super->s_inodes_per_group;
	errcode_t code = ext2fs_inode_scan_goto_blockgroup(scan, (int)group);
	struct bow_ext_inode inode = {0};
	int rc = 0;

	while (!code && !rc && d->changed.open) {
		memset(&inode.raw, 0, sizeof(inode.raw));
		code = ext2fs_get_next_inode_full(scan, &inode.ino, (struct ext2_inode *)&inode.raw,
						  sizeof(inode.raw));
		if (!code && (inode.ino == 0 || (inode.ino - 1) / per_group != group))
			break;
		if (!code)
			rc = try_owner(d, &inode, err);
	}
	return code ? bow_ext_fail(fs, code, "read inodes", err) : rc;
}

/* Files lie in the groups of their inodes, or near them: from the first open block outwards. */
static int search(struct bow_diff *d, ext2_inode_scan scan, struct bowimg_error *err)
{
	ext2_filsys lib = d->ext->fs[BOW_OLD].lib;
	const int64_t groups = lib->group_desc_count;
	uint64_t blk = 0;
	int64_t home;
	int rc = 0;

	if (!bow_changed_next_open(&d->changed, 0, UINT64_MAX, &blk))
		return 0;
	/* The boot block before the first group belongs to none. */
	home = blk < lib->super->s_first_data_block ? 0 : (int64_t)ext2fs_group_of_blk2(lib, blk);
	home = home < groups ? home : groups - 1;
	for (int64_t i = 0, done = 0; !rc && done < groups && d->changed.open; i++) {
		const int64_t g = home + (i % 2 ? i / 2 + 1 : -(i / 2));

		if (g < 0 || g >= groups)
			continue;
		rc = bow_diff_progress(d, "search owners of changed blocks", (uint64_t)done++,
				       (uint64_t)groups, err);
		if (!rc)
			rc = search_group(d, scan, (dgrp_t)g, err);
	}
	return rc;
}

int bow_diff_find_owners(struct bow_diff *d, struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &d->ext->fs[BOW_OLD];
	const size_t known = d->n_files;
	ext2_inode_scan scan;
	errcode_t code;
	int rc;

	if (!d->related)
		return 0;
	settle_layout(d);
	rc = settle_free(d, err);
	if (!rc && d->changed.open)
		rc = settle_files(d, err);
	if (!rc && d->changed.open)
		rc = settle_equal(d, err);
	if (rc || !d->changed.open)
		return rc;
	code = ext2fs_open_inode_scan(fs->lib, 0, &scan);
	if (code)
		return bow_ext_fail(fs, code, "read inodes", err);
	rc = search(d, scan, err);
	ext2fs_close_inode_scan(scan);
	if (!rc)
		rc = bow_diff_load_files(d, known, err);
	bow_diff_sort_files(d);
	return rc;
}
