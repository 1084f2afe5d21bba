/* SPDX-License-Identifier: MIT */
/*
 * The free map of ext2, ext3 and ext4, from the block bitmaps.
 *
 * Happy path: look at the superblock before libext2fs does; open; refuse what is not clean; check
 * the descriptors; read the bitmaps (libext2fs makes up those of groups that were never
 * initialised); mark in them everything the group descriptors claim; walk the free runs group by
 * group, and believe a group only if its count agrees with its descriptor. A run goes on from one
 * group into the next, and is rounded inward to whole image blocks only at its ends.
 *
 * Bits stand for clusters where there are any; libext2fs takes and gives block numbers all the
 * same, and the free counts are in clusters.
 */
#include <inttypes.h>
#include <stdio.h>

#include "maps/ext_check.h"
#include "maps/freemap.h"

struct walk {
	struct bow_ext_io *io;
	ext2_filsys fs;
	struct bow_bitmap *out;
	blk64_t run_start, run_end; /* the free run that may go on; empty if equal */
	uint64_t free_blocks;
};

static int end_run(struct walk *w)
{
	const uint64_t size = w->fs->blocksize;

	/* No overflow: both lie below s_blocks_count, which was checked against the image. */
	return bow_freemap_mark(w->out, w->io->source.size, w->io->off + w->run_start * size,
				(w->run_end - w->run_start) * size);
}

static int add_run(struct walk *w, blk64_t start, blk64_t end)
{
	int rc = 0;

	w->free_blocks += end - start;
	if (start != w->run_end) {
		rc = end_run(w);
		w->run_start = start;
	}
	w->run_end = end;
	return rc;
}

/* Next free run in [*start, last]: sets *start and *end; ENOENT when there is none. */
static errcode_t next_run(ext2_filsys fs, blk64_t *start, blk64_t *end, blk64_t last)
{
	errcode_t rc = ext2fs_find_first_zero_block_bitmap2(fs->block_map, *start, last, start);

	if (rc)
		return rc;
	rc = ext2fs_find_first_set_block_bitmap2(fs->block_map, *start, last, end);
	if (rc == ENOENT) {
		*end = last + 1;
		rc = 0;
	}
	return rc;
}

static int miscounted(struct walk *w, dgrp_t group, uint64_t found, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN,
		"%s: read the free map: group %u has %" PRIu64
		" free %s by its bitmap, but %u by its "
		"descriptor",
		w->io->source.name, group, found, w->fs->cluster_ratio_bits ? "clusters" : "blocks",
		ext2fs_bg_free_blocks_count(w->fs, group));
	bow_err_hint(err, "check and repair the file system first: e2fsck -f %s",
		     w->io->source.name);
	return -EUCLEAN;
}

static int walk_group(struct walk *w, dgrp_t group, struct bowimg_error *err)
{
	blk64_t start = ext2fs_group_first_block2(w->fs, group), end;
	const blk64_t last = ext2fs_group_last_block2(w->fs, group);
	uint64_t clusters = 0;
	errcode_t rc = 0;

	for (; start <= last; start = end) {
		rc = next_run(w->fs, &start, &end, last);
		if (rc)
			break;
		clusters += EXT2FS_B2C(w->fs, end - 1) - EXT2FS_B2C(w->fs, start) + 1;
		if (add_run(w, start, end) < 0)
			return bow_err_errno(err, -ENOMEM, "%s: keep the free map",
					     w->io->source.name);
	}
	if (rc && rc != ENOENT)
		return bow_ext_io_fail(w->io, rc, "search the block bitmap", err);
	if (clusters != ext2fs_bg_free_blocks_count(w->fs, group))
		return miscounted(w, group, clusters, err);
	return 0;
}

/*
 * Superblock copies, descriptors, bitmaps and inode tables are in use whatever the bitmap says. A
 * bitmap that says otherwise is caught by its group's count.
 */
static void mark_claims(ext2_filsys fs, dgrp_t group)
{
	ext2fs_reserve_super_and_bgd(fs, group, fs->block_map);
	ext2fs_mark_block_bitmap2(fs->block_map, ext2fs_block_bitmap_loc(fs, group));
	ext2fs_mark_block_bitmap2(fs->block_map, ext2fs_inode_bitmap_loc(fs, group));
	ext2fs_mark_block_bitmap_range2(fs->block_map, ext2fs_inode_table_loc(fs, group),
					fs->inode_blocks_per_group);
}

static int walk_all(struct walk *w, struct bowimg_error *err)
{
	int rc = 0;

	for (dgrp_t i = 0; i < w->fs->group_desc_count; i++)
		mark_claims(w->fs, i);
	for (dgrp_t i = 0; i < w->fs->group_desc_count && !rc; i++)
		rc = walk_group(w, i, err);
	if (rc < 0)
		return rc;
	if (end_run(w) < 0)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", w->io->source.name);
	return 0;
}

static int read_bitmaps(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	int rc = bow_ext_check_clean(io, fs, err);
	errcode_t code;

	if (rc < 0)
		return rc;
	/* libext2fs' default, a tree, takes ten times the memory on a fragmented disk. */
	fs->default_bitmap_type = EXT2FS_BMAP64_BITARRAY;
	rc = bow_ext_groups_check(io, fs, err);
	if (rc < 0)
		return rc;
	code = ext2fs_read_block_bitmap(fs);
	return code ? bow_ext_io_fail(io, code, "read the block bitmaps", err) : 0;
}

static const char *name_of(const struct ext2_super_block *super)
{
	const uint32_t ext3_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE |
				       EXT3_FEATURE_INCOMPAT_RECOVER |
				       EXT2_FEATURE_INCOMPAT_META_BG;
	const uint32_t ext3_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
					EXT2_FEATURE_RO_COMPAT_LARGE_FILE;

	if (super->s_feature_incompat & ~ext3_incompat ||
	    super->s_feature_ro_compat & ~ext3_ro_compat)
		return "ext4";
	return super->s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL ? "ext3" : "ext2";
}

static void describe(const struct walk *w, struct bow_freemap_info *info)
{
	const uint32_t cluster = EXT2_CLUSTER_SIZE(w->fs->super);
	int n;

	*info = (struct bow_freemap_info){.source = "ext"};
	info->fs_free_bytes = w->free_blocks * w->fs->blocksize;
	n = snprintf(info->what, sizeof(info->what), "%s, %u-byte blocks", name_of(w->fs->super),
		     w->fs->blocksize);
	if (cluster != w->fs->blocksize)
		snprintf(info->what + n, sizeof(info->what) - (size_t)n, ", %u-byte clusters",
			 cluster);
}

static int read_dev(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	return bow_dev_read(ctx, buf, bytes, off, err);
}

int bow_freemap_ext(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err)
{
	const struct bow_ext_source source = {read_dev, dev, dev->name, dev->size};
	struct bow_ext_io io;
	struct walk w = {.io = &io, .out = out};
	int rc = bow_ext_check_super(dev, off, bytes, err);

	if (rc < 0)
		return rc;
	rc = bow_ext_io_open(&io, &source, off, bytes, &w.fs, err);
	if (rc < 0)
		return rc;
	rc = read_bitmaps(&io, w.fs, err);
	if (!rc)
		rc = walk_all(&w, err);
	if (!rc)
		describe(&w, info);
	ext2fs_free(w.fs);
	return rc;
}
