/* SPDX-License-Identifier: MIT */
/*
 * Reads block bitmaps as ext2fs_read_block_bitmap() does: those of groups that were never
 * initialised are not read but made up; the others must have their checksum, and nothing free
 * behind their end.
 *
 * What is in use whatever the bitmaps say is what is cheap to find: superblock copies, descriptors,
 * bitmaps, inode tables, and the blocks of the few inodes that the file system itself needs. The
 * former are at most six runs for each group, so that libext2fs' tree of them is small; how many
 * pieces an inode has is for the image to say, and a piece costs 4 bytes here.
 */
#include "lib/freespace/fs/ext_bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/blocks/bits.h"
#include "lib/disk/hint.h"
#include "lib/freespace/fs/common.h"

#define REPAIR "e2fsck -f " BOW_HINT_DEVICE

/* More pieces than the largest journal, or root directory, has: a hostile tree must end. */
#define PIECES_MAX (16u << 20)

/* ---- structures ------------------------------------------------------------------ */

static void mark_group(ext2_filsys fs, dgrp_t group)
{
	ext2fs_reserve_super_and_bgd(fs, group, fs->block_map);
	ext2fs_mark_block_bitmap2(fs->block_map, ext2fs_block_bitmap_loc(fs, group));
	ext2fs_mark_block_bitmap2(fs->block_map, ext2fs_inode_bitmap_loc(fs, group));
	ext2fs_mark_block_bitmap_range2(fs->block_map, ext2fs_inode_table_loc(fs, group),
					fs->inode_blocks_per_group);
}

static errcode_t mark_groups(ext2_filsys fs)
{
	errcode_t code;

	fs->default_bitmap_type = EXT2FS_BMAP64_RBTREE;
	code = ext2fs_allocate_block_bitmap(fs, "structures", &fs->block_map);
	for (dgrp_t i = 0; !code && i < fs->group_desc_count; i++)
		mark_group(fs, i);
	return code;
}

/* ---- inodes ---------------------------------------------------------------------- */

/* Pieces of an inode; those that follow one another are one run of clusters. */
struct pieces {
	struct bow_bitmap *own;
	uint64_t start, end;
	uint32_t count;
	bool no_memory;
};

static int end_run(struct pieces *p)
{
	if (p->end > p->start && bow_bitmap_set(p->own, p->start, p->end - p->start))
		p->no_memory = true;
	return p->no_memory || p->count > PIECES_MAX ? BLOCK_ABORT : 0;
}

static int mark_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref_block,
		      int ref_offset, void *ctx)
{
	struct pieces *p = ctx;
	uint64_t cluster = EXT2FS_B2C(fs, *block);
	int stop = 0;

	(void)count, (void)ref_block, (void)ref_offset;
	p->count++;
	if (*block < fs->super->s_first_data_block || *block >= ext2fs_blocks_count(fs->super))
		return p->count > PIECES_MAX ? BLOCK_ABORT : 0;
	if (cluster != p->end) {
		stop = end_run(p);
		p->start = cluster;
	}
	p->end = cluster + 1;
	return stop;
}

static int damaged(struct bow_ext_bits *b, ext2_ino_t ino, struct bowimg_error *err)
{
	char why[80];

	snprintf(why, sizeof(why), "inode %u, one of the file system's own, is damaged", ino);
	return bow_fs_unclean(b->io->disk, why, REPAIR, err);
}

static int mark_inode(struct bow_ext_bits *b, ext2_ino_t ino, struct bowimg_error *err)
{
	struct pieces p = {.own = b->own};
	struct ext2_inode inode;
	errcode_t code;

	if (ino > b->fs->super->s_inodes_count)
		return damaged(b, ino, err);
	code = ext2fs_read_inode(b->fs, ino, &inode);
	if (!code && (!inode.i_blocks || !ext2fs_inode_has_valid_blocks2(b->fs, &inode)))
		return 0;
	if (!code)
		code = ext2fs_block_iterate3(b->fs, ino, BLOCK_FLAG_READ_ONLY, NULL, mark_block,
					     &p);
	end_run(&p);
	if (p.no_memory)
		return bow_fs_no_memory(b->io->disk, err);
	if (!code && p.count > PIECES_MAX)
		return damaged(b, ino, err);
	return code ? bow_ext_io_fail(b->io, code, "read an inode of the file system's own", err)
		    : 0;
}

static int mark_inodes(struct bow_ext_bits *b, struct bowimg_error *err)
{
	struct ext2_super_block *super = b->fs->super;
	const ext2_ino_t own[] = {
		EXT2_BAD_INO,
		EXT2_ROOT_INO,
		EXT2_BOOT_LOADER_INO,
		super->s_journal_inum,
		super->s_usr_quota_inum,
		super->s_grp_quota_inum,
		super->s_prj_quota_inum,
		ext2fs_has_feature_orphan_file(super) ? super->s_orphan_file_inum : 0,
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && !rc; i++)
		rc = own[i] ? mark_inode(b, own[i], err) : 0;
	return rc;
}

/* ---- a group's bits -------------------------------------------------------------- */

uint64_t bow_ext_bits_first(const struct bow_ext_bits *b, dgrp_t group)
{
	return EXT2FS_B2C(b->fs, b->fs->super->s_first_data_block) +
	       (uint64_t)group * b->group_clusters;
}

uint32_t bow_ext_bits_count(const struct bow_ext_bits *b, dgrp_t group)
{
	const uint64_t last = EXT2FS_B2C(b->fs, ext2fs_group_last_block2(b->fs, group));

	return (uint32_t)bow_min(last + 1 - bow_ext_bits_first(b, group), b->group_clusters);
}

static bool is_made_up(ext2_filsys fs, dgrp_t group)
{
	return ext2fs_has_group_desc_csum(fs) &&
	       ext2fs_bg_flags_test(fs, group, EXT2_BG_BLOCK_UNINIT);
}

static errcode_t read_block(struct bow_ext_bits *b, dgrp_t group)
{
	ext2_filsys fs = b->fs;

	if (is_made_up(fs, group)) {
		memset(b->block, 0, b->group_clusters / 8);
		return 0;
	}
	if (io_channel_read_blk64(fs->io, ext2fs_block_bitmap_loc(fs, group), 1, b->block))
		return EXT2_ET_BLOCK_BITMAP_READ;
	return ext2fs_block_bitmap_csum_verify(fs, group, (char *)b->block,
					       (int)(b->group_clusters / 8))
		       ? 0
		       : EXT2_ET_BLOCK_BITMAP_CSUM_INVALID;
}

/* Bits that stand for nothing: behind the group's, and in the last group behind the disk's end. */
static int check_padding(struct bow_ext_bits *b, dgrp_t group, struct bowimg_error *err)
{
	const uint32_t all = b->fs->blocksize * 8, count = bow_ext_bits_count(b, group);
	/* What is made up has no bits behind the group's. */
	const uint32_t end = is_made_up(b->fs, group) ? b->group_clusters : all;

	if (count >= end || bow_bits_next(b->words, count, end, false) == end)
		return 0;
	return bow_fs_unclean(b->io->disk,
			      "a block bitmap calls blocks free that are behind its end", REPAIR,
			      err);
}

static void load_words(struct bow_ext_bits *b)
{
	for (uint32_t w = 0; w < b->fs->blocksize / 8; w++)
		b->words[w] = bow_get64(b->block + w * 8);
}

/* Structures of this and other groups, and pieces of inodes. */
static errcode_t add_marks(struct bow_ext_bits *b, dgrp_t group)
{
	const uint64_t first = bow_ext_bits_first(b, group);
	const uint32_t count = bow_ext_bits_count(b, group);
	uint64_t s = first, n, end = first + count;
	errcode_t code = ext2fs_get_block_bitmap_range2(b->fs->block_map, first,
							bow_div_up(count, 8) * 8, b->marks);

	for (uint32_t w = 0; !code && w < bow_div_up(count, 64); w++)
		b->words[w] |= bow_get64(b->marks + w * 8);
	for (; !code && bow_bitmap_next_run(b->own, &s, &n, end); s += n)
		bow_bits_fill(b->words, (uint32_t)(s - first), (uint32_t)(s - first + n), true);
	return code;
}

int bow_ext_bits_read(struct bow_ext_bits *b, dgrp_t group, struct bowimg_error *err)
{
	errcode_t code = read_block(b, group);
	int rc;

	if (code)
		return bow_ext_io_fail(b->io, code, "read the block bitmaps", err);
	load_words(b);
	rc = check_padding(b, group, err);
	if (rc)
		return rc;
	code = add_marks(b, group);
	return code ? bow_ext_io_fail(b->io, code, "search the block bitmap", err) : 0;
}

/* ---- begin and end --------------------------------------------------------------- */

/* The bits of a group fit into a block, and end with a byte: so does libext2fs ask for it. */
static int check_size(struct bow_ext_bits *b, struct bowimg_error *err)
{
	const uint32_t clusters = EXT2_CLUSTERS_PER_GROUP(b->fs->super);

	b->group_clusters = clusters;
	if (clusters && clusters % 8 == 0 && clusters <= b->fs->blocksize * 8 &&
	    EXT2FS_C2B(b->fs, (uint64_t)clusters) == EXT2_BLOCKS_PER_GROUP(b->fs->super))
		return 0;
	return bow_ext_io_fail(b->io, EXT2_ET_CORRUPT_SUPERBLOCK, "read the block bitmaps", err);
}

int bow_ext_bits_begin(struct bow_ext_bits *b, struct bow_ext_io *io, ext2_filsys fs,
		       struct bowimg_error *err)
{
	errcode_t code;
	int rc;

	*b = (struct bow_ext_bits){.io = io, .fs = fs};
	rc = check_size(b, err);
	if (rc)
		return rc;
	b->own = bow_bitmap_new(EXT2FS_B2C(fs, ext2fs_blocks_count(fs->super) - 1) + 1);
	b->block = calloc(1, fs->blocksize);
	b->marks = calloc(1, fs->blocksize);
	b->words = calloc(1, fs->blocksize);
	if (!b->own || !b->block || !b->marks || !b->words)
		return bow_fs_no_memory(io->disk, err);
	code = mark_groups(fs);
	return code ? bow_ext_io_fail(io, code, "read the block bitmaps", err)
		    : mark_inodes(b, err);
}

void bow_ext_bits_end(struct bow_ext_bits *b)
{
	bow_bitmap_free(b->own);
	free(b->block);
	free(b->marks);
	free(b->words);
}
