/* SPDX-License-Identifier: MIT */
/*
 * What is checked of an ext2/3/4 file system before libext2fs is let loose on it: the sizes in its
 * superblock decide how much memory is asked for, and its descriptors where is read.
 */
#include "base/ext_super.h"

#include <inttypes.h>

#include "base/bytes.h"

/*
 * More than this for group descriptors is no honest file system: the smallest groups that mke2fs
 * makes unasked cover 8 MiB of disk with 64 bytes.
 */
#define DESC_BYTES_MIN_LIMIT (16u << 20)
#define DESC_BYTES_SHARE 65536u

/* What of the superblock decides how much memory libext2fs asks for. */
struct geometry {
	uint64_t blocks;
	uint32_t incompat, ro_compat, block_log, cluster_log, per_group, first, desc_bytes;
	uint32_t inodes_per_group;
	bool magic;
};

#define FIELD(raw, name, bits) bow_get##bits((raw) + offsetof(struct ext2_super_block, name))

static void decode(const uint8_t *raw, struct geometry *g)
{
	g->magic = FIELD(raw, s_magic, 16) == EXT2_SUPER_MAGIC;
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
	bow_err_hint(err, "check and repair the file system first: e2fsck -f %s", name);
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
		     name);
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

bool bow_ext_super_is_there(const uint8_t *raw)
{
	return FIELD(raw, s_magic, 16) == EXT2_SUPER_MAGIC;
}

int bow_ext_groups_check(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	errcode_t rc;

	for (dgrp_t i = 0; i < fs->group_desc_count; i++) {
		if (ext2fs_group_desc_csum_verify(fs, i))
			continue;
		bow_err(err, -EBADMSG,
			"%s: check the groups: the descriptor of group %u has a wrong checksum",
			io->source.name, i);
		bow_err_hint(err, "check and repair the file system first: e2fsck -f %s",
			     io->source.name);
		return -EBADMSG;
	}
	rc = ext2fs_check_desc(fs);
	return rc ? bow_ext_io_fail(io, rc, "check the group descriptors", err) : 0;
}
