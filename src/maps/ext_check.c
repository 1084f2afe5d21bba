/* SPDX-License-Identifier: MIT */
/*
 * The checks that come before an ext2/3/4 bitmap is believed. A file system with a journal to
 * replay shows thousands of blocks as free that are in use; one that was not unmounted, or has
 * errors, or orphans to release, may show anything. All of them are refused: the tool that cleans
 * up is named.
 */
#include "maps/ext_check.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/fs.h"

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

static int malformed(struct bow_dev *dev, const char *why, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the ext superblock: %s", dev->name, why);
	bow_err_hint(err, "check and repair the file system first: e2fsck -f %s", dev->name);
	return -EUCLEAN;
}

/* ro_compat counts as well: a feature of that kind may change what the bitmap's bits stand for. */
static int check_features(struct bow_dev *dev, const struct geometry *g, struct bowimg_error *err)
{
	/* The public header leaves MMP out, which the library can be built without. */
	uint32_t incompat = g->incompat &
			    ~(uint32_t)(EXT2_LIB_FEATURE_INCOMPAT_SUPP | EXT4_FEATURE_INCOMPAT_MMP);
	uint32_t ro_compat = g->ro_compat & ~(uint32_t)EXT2_LIB_FEATURE_RO_COMPAT_SUPP;

	if (g->incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return bow_err(err, -EOPNOTSUPP,
			       "%s: read the free map: this is the journal of another file system",
			       dev->name);
	if (!incompat && !ro_compat)
		return 0;
	bow_err(err, -EOPNOTSUPP,
		"%s: read the free map: the file system uses features that this libext2fs does "
		"not know (incompat 0x%x, ro_compat 0x%x)",
		dev->name, incompat, ro_compat);
	bow_err_hint(err, "use a newer e2fsprogs, or say what is free with --free-from=map:FILE");
	return -EOPNOTSUPP;
}

static int check_size(struct bow_dev *dev, const struct geometry *g, uint64_t bytes,
		      struct bowimg_error *err)
{
	const uint32_t shift = EXT2_MIN_BLOCK_LOG_SIZE + g->block_log;

	if (g->blocks <= bytes >> shift)
		return 0;
	bow_err(err, -EUCLEAN,
		"%s: read the free map: the file system is larger than the image (%" PRIu64
		" blocks of %u bytes, but only %" PRIu64 " bytes are here)",
		dev->name, g->blocks, 1u << shift, bytes);
	bow_err_hint(err,
		     "the image was cut off: get a whole copy, or give it back its size with "
		     "truncate -s and run e2fsck -f %s",
		     dev->name);
	return -EUCLEAN;
}

static int check_geometry(struct bow_dev *dev, const struct geometry *g, uint64_t bytes,
			  struct bowimg_error *err)
{
	const uint32_t max_log = EXT2_MAX_BLOCK_LOG_SIZE - EXT2_MIN_BLOCK_LOG_SIZE;
	uint64_t groups;
	int rc;

	if (g->block_log > max_log)
		return malformed(dev, "impossible block size", err);
	if (g->ro_compat & EXT4_FEATURE_RO_COMPAT_BIGALLOC &&
	    (g->cluster_log < g->block_log ||
	     g->cluster_log > EXT2_MAX_CLUSTER_LOG_SIZE - EXT2_MIN_CLUSTER_LOG_SIZE))
		return malformed(dev, "impossible cluster size", err);
	if (g->desc_bytes < 32 || g->desc_bytes > 1024 || g->desc_bytes & (g->desc_bytes - 1))
		return malformed(dev, "impossible size of group descriptors", err);
	rc = check_size(dev, g, bytes, err);
	if (rc < 0)
		return rc;
	if (g->first > 1 || g->first >= g->blocks || !g->per_group || !g->inodes_per_group)
		return malformed(dev, "no groups", err);
	groups = bow_div_up(g->blocks - g->first, g->per_group);
	if (groups * g->desc_bytes > bow_max(DESC_BYTES_MIN_LIMIT, bytes / DESC_BYTES_SHARE))
		return malformed(dev, "far too many groups for its size", err);
	return 0;
}

int bow_ext_check_super(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	uint8_t raw[SUPERBLOCK_SIZE];
	struct geometry g = {0};
	int rc;

	if (bow_range_ok(off, bytes, dev->size) && bytes >= SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE) {
		rc = bow_dev_read(dev, raw, sizeof(raw), off + SUPERBLOCK_OFFSET, err);
		if (rc < 0)
			return bow_err_wrap(err, rc, "read the ext superblock");
		decode(raw, &g);
	}
	if (!g.magic) {
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: no ext2, ext3 or ext4 file system "
			"is here",
			dev->name);
		bow_err_hint(err,
			     "say where the free map comes from: --free-from=map:FILE, or none "
			     "(backups then go past the end of the file)");
		return -EOPNOTSUPP;
	}
	rc = check_features(dev, &g, err);
	return rc < 0 ? rc : check_geometry(dev, &g, bytes, err);
}

static int unclean(const struct bow_ext_io *io, const char *why, const char *options,
		   struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: %s", io->dev->name, why);
	bow_err_hint(err, "clean the file system first: e2fsck %s %s", options, io->dev->name);
	return -EUCLEAN;
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

static int check_mmp(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(fs->blocksize);
	char host[65];
	errcode_t rc;
	uint32_t seq;

	if (!block)
		return bow_err_errno(err, -ENOMEM, "%s: read the multi-mount block", io->dev->name);
	rc = io_channel_read_blk64(fs->io, fs->super->s_mmp_block, 1, block);
	if (rc)
		return bow_ext_io_fail(io, rc, "read the multi-mount block", err);
	if (bow_get32(block + offsetof(struct mmp_struct, mmp_magic)) != EXT4_MMP_MAGIC)
		return unclean(io, "its multi-mount block is damaged", "-f", err);
	seq = bow_get32(block + offsetof(struct mmp_struct, mmp_seq));
	if (seq == EXT4_MMP_SEQ_CLEAN)
		return 0;
	printable(host, sizeof(host), block + offsetof(struct mmp_struct, mmp_nodename), 64);
	bow_err(err, -EBUSY, "%s: read the free map: the file system is %s on host \"%s\"",
		io->dev->name, seq == EXT4_MMP_SEQ_FSCK ? "being checked" : "mounted", host);
	bow_err_hint(err, "unmount it there; if that host is gone, run e2fsck -f %s",
		     io->dev->name);
	return -EBUSY;
}

int bow_ext_check_clean(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	struct ext2_super_block *super = fs->super;

	if (ext2fs_has_feature_journal_needs_recovery(super))
		return unclean(io, "the journal of the file system must be replayed", "-p", err);
	if (super->s_state & EXT2_ERROR_FS)
		return unclean(io, "the file system has errors", "-f", err);
	if (!(super->s_state & EXT2_VALID_FS))
		return unclean(io, "the file system was not cleanly unmounted", "-p", err);
	if (super->s_last_orphan || ext2fs_has_feature_orphan_present(super))
		return unclean(io, "the file system has deleted files still to be released", "-p",
			       err);
	return ext2fs_has_feature_mmp(super) ? check_mmp(io, fs, err) : 0;
}

int bow_ext_check_groups(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err)
{
	errcode_t rc;

	for (dgrp_t i = 0; i < fs->group_desc_count; i++) {
		if (ext2fs_group_desc_csum_verify(fs, i))
			continue;
		bow_err(err, -EBADMSG,
			"%s: read the free map: the descriptor of group %u has a wrong checksum",
			io->dev->name, i);
		bow_err_hint(err, "check and repair the file system first: e2fsck -f %s",
			     io->dev->name);
		return -EBADMSG;
	}
	rc = ext2fs_check_desc(fs);
	return rc ? bow_ext_io_fail(io, rc, "check the group descriptors", err) : 0;
}

int bow_clean_ext(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err)
{
	uint8_t state[2];
	int rc = bow_ext_check_super(vol, 0, vol->size, err);

	(void)reader; /* only the kernel asks this way, and it replays the journal */
	if (!rc)
		rc = bow_dev_read(vol, state, sizeof(state),
				  SUPERBLOCK_OFFSET + offsetof(struct ext2_super_block, s_state),
				  err);
	if (!rc && bow_get16(state) & EXT2_ERROR_FS)
		rc = bow_fs_unclean(vol, "the file system has errors", "e2fsck -f", err);
	return rc;
}
