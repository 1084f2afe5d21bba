/* SPDX-License-Identifier: MIT */
/*
 * The checks of an ext2/3/4 file system before libext2fs may read it: the sizes in its superblock
 * decide how much memory libext2fs asks for, its descriptors where libext2fs reads.
 */
#include "lib/ext/super.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/base/show.h"

/*
 * No honest file system has more bytes of group descriptors: the smallest groups that mke2fs makes
 * unasked cover 8 MiB of disk with 64 bytes.
 */
#define DESC_BYTES_MIN_LIMIT (16u << 20)
#define DESC_BYTES_SHARE 65536u

#define REPAIR "check and repair the file system first: e2fsck -f %s"

/* What of the superblock decides how much memory libext2fs asks for. */
struct geometry {
	uint64_t blocks;
	uint32_t incompat, ro_compat, block_log, cluster_log, per_group, first, desc_bytes;
	uint32_t inodes_per_group;
};

#define FIELD(raw, name, bits) bow_get##bits((raw) + offsetof(struct ext2_super_block, name))

static void decode(const uint8_t *raw, struct geometry *g)
{
	g->incompat = FIELD(raw, s_feature_incompat, 32);
	g->ro_compat = FIELD(raw, s_feature_ro_compat, 32);
	g->blocks = FIELD(raw, s_blocks_count, 32);
	g->desc_bytes = 32;
	if (g->incompat & EXT4_FEATURE_INCOMPAT_64BIT) {
		g->blocks |= (uint64_t)FIELD(raw, s_blocks_count_hi, 32) << 32;
		g->desc_bytes = FIELD(raw, s_desc_size, 16);
	}
	g->block_log = FIELD(raw, s_log_block_size, 32);
	g->cluster_log = FIELD(raw, s_log_cluster_size, 32);
	g->per_group = FIELD(raw, s_blocks_per_group, 32);
	g->inodes_per_group = FIELD(raw, s_inodes_per_group, 32);
	g->first = FIELD(raw, s_first_data_block, 32);
}

static int malformed(const char *name, const char *why, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the ext superblock: %s", name, why);
	bow_err_hint(err, REPAIR, BOW_WORD(name));
	return -EUCLEAN;
}

/* ro_compat counts as well: a feature of that kind may change what the bitmap's bits stand for. */
static int check_features(const char *name, const struct geometry *g, struct bowimg_error *err)
{
	/* The public header leaves MMP out, which the library can be built without. */
	uint32_t incompat = g->incompat &
			    ~(uint32_t)(EXT2_LIB_FEATURE_INCOMPAT_SUPP | EXT4_FEATURE_INCOMPAT_MMP);
	uint32_t ro_compat = g->ro_compat & ~(uint32_t)EXT2_LIB_FEATURE_RO_COMPAT_SUPP;

	if (g->incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return bow_err(err, -EOPNOTSUPP,
			       "%s: read the ext superblock: this is the journal of another file "
			       "system",
			       name);
	if (!incompat && !ro_compat)
		return 0;
	bow_err(err, -EOPNOTSUPP,
		"%s: read the ext superblock: the file system uses features that this libext2fs "
		"does not know (incompat 0x%x, ro_compat 0x%x)",
		name, incompat, ro_compat);
	return -EOPNOTSUPP;
}

static int check_size(const char *name, const struct geometry *g, uint64_t bytes,
		      struct bowimg_error *err)
{
	const uint32_t shift = EXT2_MIN_BLOCK_LOG_SIZE + g->block_log;

	if (g->blocks <= bytes >> shift)
		return 0;
	bow_err(err, -EUCLEAN,
		"%s: read the ext superblock: the file system is larger than the image (%" PRIu64
		" blocks of %u bytes, but only %" PRIu64 " bytes are here)",
		name, g->blocks, 1u << shift, bytes);
	bow_err_hint(err,
		     "the image was cut off: get a whole copy, or give it back its size with "
		     "truncate -s and run e2fsck -f %s",
		     BOW_WORD(name));
	return -EUCLEAN;
}

static int check_geometry(const char *name, const struct geometry *g, uint64_t bytes,
			  struct bowimg_error *err)
{
	const uint32_t max_log = EXT2_MAX_BLOCK_LOG_SIZE - EXT2_MIN_BLOCK_LOG_SIZE;
	uint64_t groups;
	int rc;

	if (g->block_log > max_log)
		return malformed(name, "impossible block size", err);
	if (g->ro_compat & EXT4_FEATURE_RO_COMPAT_BIGALLOC &&
	    (g->cluster_log < g->block_log ||
	     g->cluster_log > EXT2_MAX_CLUSTER_LOG_SIZE - EXT2_MIN_CLUSTER_LOG_SIZE))
		return malformed(name, "impossible cluster size", err);
	if (g->desc_bytes < 32 || g->desc_bytes > 1024 || g->desc_bytes & (g->desc_bytes - 1))
		return malformed(name, "impossible size of group descriptors", err);
	rc = check_size(name, g, bytes, err);
	if (rc < 0)
		return rc;
	if (g->first > 1 || g->first >= g->blocks || !g->per_group || !g->inodes_per_group)
		return malformed(name, "no groups", err);
	groups = bow_div_up(g->blocks - g->first, g->per_group);
	if (groups * g->desc_bytes > bow_max(DESC_BYTES_MIN_LIMIT, bytes / DESC_BYTES_SHARE))
		return malformed(name, "far too many groups for its size", err);
	return 0;
}

int bow_ext_super_check(const uint8_t *raw, uint64_t bytes, const char *name,
			struct bowimg_error *err)
{
	struct geometry g;
	int rc;

	decode(raw, &g);
	rc = check_features(name, &g, err);
	return rc < 0 ? rc : check_geometry(name, &g, bytes, err);
}

uint64_t bow_ext_super_bytes(const uint8_t *raw)
{
	struct geometry g;

	decode(raw, &g);
	return g.blocks << (EXT2_MIN_BLOCK_LOG_SIZE + g.block_log);
}

int bow_ext_super_read(bowimg_disk *disk, uint64_t off, uint64_t bytes,
		       uint8_t raw[BOW_EXT_SUPER_BYTES], bool *is_ext, struct bowimg_error *err)
{
	int rc;

	*is_ext = false;
	if (!bow_range_ok(off, bytes, bowimg_disk_size(disk)) ||
	    bytes < BOW_EXT_SUPER_OFF + BOW_EXT_SUPER_BYTES)
		return 0;
	rc = bowimg_disk_read(disk, raw, BOW_EXT_SUPER_BYTES, off + BOW_EXT_SUPER_OFF, err);
	*is_ext = !rc && FIELD(raw, s_magic, 16) == EXT2_SUPER_MAGIC;
	return rc;
}

struct places {
	ext2_filsys fs;
	ext2fs_block_bitmap taken;
	blk64_t first, last; /* where the places of a group may lie */
};

/* A place of its own, inside the bounds; then it is taken. */
static bool take(const struct places *p, blk64_t start, blk64_t count)
{
	if (!count || start < p->first || start > p->last || count - 1 > p->last - start ||
	    !ext2fs_test_block_bitmap_range2(p->taken, start, (unsigned int)count))
		return false;
	ext2fs_mark_block_bitmap_range2(p->taken, start, (unsigned int)count);
	return true;
}

static errcode_t check_group(struct places *p, dgrp_t group)
{
	ext2_filsys fs = p->fs;

	if (!ext2fs_has_feature_flex_bg(fs->super)) {
		p->first = ext2fs_group_first_block2(fs, group);
		p->last = ext2fs_group_last_block2(fs, group);
	}
	if (!take(p, ext2fs_block_bitmap_loc(fs, group), 1))
		return EXT2_ET_GDESC_BAD_BLOCK_MAP;
	if (!take(p, ext2fs_inode_bitmap_loc(fs, group), 1))
		return EXT2_ET_GDESC_BAD_INODE_MAP;
	return take(p, ext2fs_inode_table_loc(fs, group), fs->inode_blocks_per_group)
		       ? 0
		       : EXT2_ET_GDESC_BAD_INODE_TABLE;
}

/*
 * Do the places of all groups lie where they may, and none on another one? As ext2fs_check_desc()
 * does it, which asks and marks block by block: of 8 TiB that are 34 million. Each group adds at
 * most six runs, so that a tree of runs is small, whatever the descriptors say.
 */
static errcode_t check_places(ext2_filsys fs)
{
	struct places p = {.fs = fs,
			   .first = fs->super->s_first_data_block,
			   .last = ext2fs_blocks_count(fs->super) - 1};
	const uint16_t type = fs->default_bitmap_type;
	errcode_t code;

	if (EXT2_DESC_PER_BLOCK(fs->super) == 0)
		return EXT2_ET_BAD_DESC_SIZE;
	fs->default_bitmap_type = EXT2FS_BMAP64_RBTREE;
	code = ext2fs_allocate_subcluster_bitmap(fs, "places of the groups", &p.taken);
	fs->default_bitmap_type = type;
	if (code)
		return code;
	for (dgrp_t i = 0; i < fs->group_desc_count; i++)
		ext2fs_reserve_super_and_bgd(fs, i, p.taken);
	for (dgrp_t i = 0; !code && i < fs->group_desc_count; i++)
		code = check_group(&p, i);
	ext2fs_free_block_bitmap(p.taken);
	return code;
}

int bow_ext_groups_check(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	errcode_t rc;

	for (dgrp_t i = 0; i < fs->group_desc_count; i++) {
		if (ext2fs_group_desc_csum_verify(fs, i))
			continue;
		bow_err(err, -EBADMSG,
			"%s: check the groups: the descriptor of group %u has a wrong checksum",
			bowimg_disk_name(io->disk), i);
		bow_err_hint(err, REPAIR, BOW_WORD(bowimg_disk_name(io->disk)));
		return -EBADMSG;
	}
	rc = check_places(fs);
	return rc ? bow_ext_io_fail(io, rc, "check the group descriptors", err) : 0;
}

/* The host's name comes from the disk and goes to a terminal. */
static void printable(char *to, size_t room, const uint8_t *from, size_t bytes)
{
	size_t n = 0;

	while (n < bytes && n + 1 < room && from[n]) {
		to[n] = from[n] < 128 && isprint(from[n]) ? (char)from[n] : '?';
		n++;
	}
	to[n] = '\0';
}

static int check_mmp_block(const char *name, const uint8_t *block, struct bowimg_error *err)
{
	const uint32_t seq = bow_get32(block + offsetof(struct mmp_struct, mmp_seq));
	char host[65];

	if (bow_get32(block + offsetof(struct mmp_struct, mmp_magic)) != EXT4_MMP_MAGIC) {
		bow_err(err, -EUCLEAN, "%s: its multi-mount block is damaged", name);
		bow_err_hint(err, REPAIR, BOW_WORD(name));
		return -EUCLEAN;
	}
	if (seq == EXT4_MMP_SEQ_CLEAN)
		return 0;
	printable(host, sizeof(host), block + offsetof(struct mmp_struct, mmp_nodename), 64);
	bow_err(err, -EBUSY, "%s: the file system is %s on host \"%s\"", name,
		seq == EXT4_MMP_SEQ_FSCK ? "being checked" : "mounted", host);
	bow_err_hint(err, "unmount it there; if that host is gone: e2fsck -f %s", BOW_WORD(name));
	return -EBUSY;
}

int bow_ext_mmp_check(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(fs->blocksize);
	const char *name = bowimg_disk_name(io->disk);
	errcode_t code;

	if (!ext2fs_has_feature_mmp(fs->super))
		return 0;
	if (!block)
		return bow_err_errno(err, -ENOMEM, "%s: read the multi-mount block", name);
	code = io_channel_read_blk64(fs->io, fs->super->s_mmp_block, 1, block);
	return code ? bow_ext_io_fail(io, code, "read the multi-mount block", err)
		    : check_mmp_block(name, block, err);
}
