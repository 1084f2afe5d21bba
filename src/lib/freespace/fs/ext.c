/* SPDX-License-Identifier: MIT */
/*
 * ext2, ext3 and ext4: the free map, from the block bitmaps.
 *
 * Happy path: look at the superblock before libext2fs does; open; refuse what is not clean; check
 * the descriptors; read the bitmaps group by group, with everything marked that the file system
 * itself needs (ext_bits.c); walk the free runs. A group is believed only if its count agrees with
 * its descriptor, all of them only if their sum agrees with the superblock. A run goes on from one
 * group into the next, and is rounded inward to whole image blocks only at its ends.
 *
 * A file system with a journal to replay shows thousands of blocks as free that are in use; one
 * that was not unmounted, or has errors, or orphans to release, may show anything. All of them are
 * refused, and the tool that cleans up is named.
 *
 * Bits stand for clusters where there are any, and the free counts are in clusters.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/blocks/bits.h"
#include "lib/disk/hint.h"
#include "lib/ext/super.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/ext_bits.h"
#include "lib/freespace/fs/kinds.h"

#define REPAIR "e2fsck -f " BOW_HINT_DEVICE
#define REPLAY "e2fsck -p " BOW_HINT_DEVICE

struct reader {
	struct bow_ext_io io;
	ext2_filsys fs;
	struct bow_ext_bits bits;
	struct bow_bitmap *out;
	blk64_t run_start, run_end; /* the free run that may go on; empty if equal */
	uint64_t free_blocks, clusters;
};

/* ---- may it be opened, and is it clean? ------------------------------------------ */

/* Are the sizes in its superblock such that opening it takes a bounded amount of memory? */
static int check_super(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		       uint8_t raw[BOW_EXT_SUPER_BYTES], struct bowimg_error *err)
{
	bool is_ext;
	int rc = bow_ext_super_read(dev, off, bytes, raw, &is_ext, err);

	if (rc)
		return bow_err_wrap(err, rc, "read the ext superblock");
	if (!is_ext) {
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: no ext2, ext3 or ext4 file system is here",
			dev->name);
		bow_err_hint(err, "leave --free-from away, and bowimg looks itself; or "
				  "use " BOW_HINT_WITHOUT);
		return -EOPNOTSUPP;
	}
	rc = bow_ext_super_check(raw, bytes, dev->name, err);
	if (rc == -EOPNOTSUPP)
		bow_err_hint(err, "use a newer e2fsprogs, or " BOW_HINT_WITHOUT);
	return rc;
}

static int check_clean(struct reader *r, struct bowimg_error *err)
{
	struct ext2_super_block *super = r->fs->super;
	struct bowimg_disk *disk = r->io.disk;

	if (ext2fs_has_feature_journal_needs_recovery(super))
		return bow_fs_unclean(disk, "the journal of the file system must be replayed",
				      REPLAY, err);
	if (super->s_state & EXT2_ERROR_FS)
		return bow_fs_unclean(disk, "the file system has errors", REPAIR, err);
	if (!(super->s_state & EXT2_VALID_FS))
		return bow_fs_unclean(disk, "the file system was not cleanly unmounted", REPLAY,
				      err);
	if (super->s_last_orphan || ext2fs_has_feature_orphan_present(super))
		return bow_fs_unclean(disk,
				      "the file system has deleted files still to be released",
				      REPLAY, err);
	return bow_ext_mmp_check(&r->io, r->fs, err);
}

/* Only the kernel asks this way, and it replays the journal. */
static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	uint8_t raw[BOW_EXT_SUPER_BYTES];
	int rc = check_super(vol, 0, vol->size, raw, err);

	(void)reader;
	if (rc)
		return rc;
	limits->extent = bow_ext_super_bytes(raw);
	if (bow_get16(raw + offsetof(struct ext2_super_block, s_state)) & EXT2_ERROR_FS)
		return bow_fs_unclean(vol, "the file system has errors", REPAIR, err);
	return 0;
}

/* ---- what is free ---------------------------------------------------------------- */

static int end_run(struct reader *r)
{
	const uint64_t size = r->fs->blocksize;

	/* No overflow: both lie below s_blocks_count, which was checked against the image. */
	return bow_freemap_mark(r->out, r->io.disk->size, r->io.off + r->run_start * size,
				(r->run_end - r->run_start) * size);
}

static int add_run(struct reader *r, blk64_t start, blk64_t end)
{
	int rc = 0;

	r->free_blocks += end - start;
	if (start != r->run_end) {
		rc = end_run(r);
		r->run_start = start;
	}
	r->run_end = end;
	return rc;
}

static const char *unit_of(const struct reader *r)
{
	return r->fs->cluster_ratio_bits ? "clusters" : "blocks";
}

static int check_group(struct reader *r, dgrp_t group, uint64_t found, struct bowimg_error *err)
{
	const uint32_t counted = ext2fs_bg_free_blocks_count(r->fs, group);
	char why[128];

	if (found == counted)
		return 0;
	snprintf(why, sizeof(why),
		 "group %u has %" PRIu64 " free %s by its bitmap, but %u by its descriptor", group,
		 found, unit_of(r), counted);
	return bow_fs_unclean(r->io.disk, why, REPAIR, err);
}

/* The superblock's count is written at every unmount. */
static int check_sum(struct reader *r, struct bowimg_error *err)
{
	const uint64_t counted = EXT2FS_NUM_B2C(r->fs, ext2fs_free_blocks_count(r->fs->super));
	char why[128];

	if (r->clusters == counted)
		return 0;
	snprintf(why, sizeof(why),
		 "%" PRIu64 " %s are free by the bitmaps, but %" PRIu64 " by the superblock",
		 r->clusters, unit_of(r), counted);
	return bow_fs_unclean(r->io.disk, why, REPAIR, err);
}

/* Clusters [start, end) are free; the first and the last one of the disk may be partial. */
static int add_clusters(struct reader *r, uint64_t start, uint64_t end)
{
	const struct ext2_super_block *super = r->fs->super;

	return add_run(r, bow_max(EXT2FS_C2B(r->fs, start), super->s_first_data_block),
		       bow_min(EXT2FS_C2B(r->fs, end), ext2fs_blocks_count(r->fs->super)));
}

static int walk_group(struct reader *r, dgrp_t group, struct bowimg_error *err)
{
	const uint64_t first = bow_ext_bits_first(&r->bits, group);
	const uint32_t count = bow_ext_bits_count(&r->bits, group);
	uint32_t start = 0, end;
	uint64_t clusters = 0;
	int rc = bow_ext_bits_read(&r->bits, group, err);

	if (rc)
		return rc;
	for (; start < count && (start = bow_bits_next(r->bits.words, start, count, false)) < count;
	     start = end) {
		end = bow_bits_next(r->bits.words, start, count, true);
		clusters += end - start;
		if (add_clusters(r, first + start, first + end))
			return bow_fs_no_memory(r->io.disk, err);
	}
	r->clusters += clusters;
	return check_group(r, group, clusters, err);
}

static int walk_all(struct reader *r, struct bowimg_error *err)
{
	int rc = bow_ext_bits_begin(&r->bits, &r->io, r->fs, err);

	for (dgrp_t i = 0; i < r->fs->group_desc_count && !rc; i++)
		rc = walk_group(r, i, err);
	bow_ext_bits_end(&r->bits);
	if (!rc)
		rc = check_sum(r, err);
	if (!rc && end_run(r))
		rc = bow_fs_no_memory(r->io.disk, err);
	return rc;
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

static void describe(const struct reader *r, struct bow_freemap_info *info)
{
	const uint32_t block = r->fs->blocksize, cluster = EXT2_CLUSTER_SIZE(r->fs->super);
	int n;

	*info = (struct bow_freemap_info){.source = "ext"};
	info->fs_free_bytes = r->free_blocks * block;
	info->extent_bytes = ext2fs_blocks_count(r->fs->super) * block;
	n = snprintf(info->what, sizeof(info->what), "%s, %u-byte blocks", name_of(r->fs->super),
		     block);
	if (cluster != block)
		snprintf(info->what + n, sizeof(info->what) - (size_t)n, ", %u-byte clusters",
			 cluster);
}

static int read_free(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		     struct bow_freemap_info *info, struct bowimg_error *err)
{
	struct reader r = {.out = out};
	uint8_t raw[BOW_EXT_SUPER_BYTES];
	int rc = check_super(dev, off, bytes, raw, err);

	if (!rc)
		rc = bow_ext_io_open(&r.io, dev, off, bytes, &r.fs, err);
	if (rc)
		return rc;
	rc = check_clean(&r, err);
	if (!rc)
		rc = bow_ext_groups_check(&r.io, r.fs, err);
	if (!rc)
		rc = walk_all(&r, err);
	if (!rc)
		describe(&r, info);
	ext2fs_free(r.fs);
	return rc;
}

#define EXT(ext)                                                            \
	{                                                                   \
		.type = ext, .name = ext, .read = read_free, .check = check \
	}

const struct bow_fs_kind bow_fs_ext2 = EXT("ext2");
const struct bow_fs_kind bow_fs_ext3 = EXT("ext3");
const struct bow_fs_kind bow_fs_ext4 = EXT("ext4");
