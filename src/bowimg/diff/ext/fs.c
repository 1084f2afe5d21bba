/* SPDX-License-Identifier: MIT */
/*
 * Opening one version of a disk as ext2/3/4. The journal is not replayed: a replay writes, and a
 * view must not.
 */
#include "bowimg/diff/ext/fs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/base/show.h"

/*
 * How many times each block of a file system may be visited, as data, map or directory. A block
 * belongs to one file, which is read a few times.
 */
#define VISITS_PER_BLOCK 16u
#define VISITS_MIN (1u << 20)

static void hint(const struct bow_ext_fs *fs, struct bowimg_error *err)
{
	if (!err)
		return;
	err->hint[0] = '\0';
	if (fs->repairable)
		bow_err_hint(err,
			     "let e2fsck repair it, with undo: bowimg run --on-success=keep "
			     "--on-failure=keep %s -- e2fsck -fy {}",
			     BOW_WORD(bowimg_disk_name(fs->io.disk)));
	else
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
}

int bow_ext_bad(const struct bow_ext_fs *fs, struct bowimg_error *err, const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	bow_err(err, -EUCLEAN, "%s: the file system %s is damaged: %s",
		bowimg_disk_name(fs->io.disk), fs->label, what);
	hint(fs, err);
	return -EUCLEAN;
}

int bow_ext_fail(const struct bow_ext_fs *fs, errcode_t code, const char *what,
		 struct bowimg_error *err)
{
	int rc = bow_ext_io_fail(&fs->io, code, what, err);

	if (rc == -EUCLEAN || rc == -EBADMSG)
		hint(fs, err);
	return bow_err_wrap(err, rc, "the file system %s", fs->label);
}

int bow_ext_spend(struct bow_ext_fs *fs, uint64_t n, struct bowimg_error *err)
{
	if (n > fs->budget)
		return bow_ext_bad(fs, err, "it refers to far more blocks than it has");
	fs->budget -= n;
	return 0;
}

int bow_ext_check_blocks(const struct bow_ext_fs *fs, uint64_t blk, uint64_t n,
			 struct bowimg_error *err)
{
	if (blk > fs->lib->super->s_first_data_block &&
	    bow_range_ok(blk, n, ext2fs_blocks_count(fs->lib->super)))
		return 0;
	return bow_ext_bad(fs, err, "blocks %" PRIu64 " to %" PRIu64 " are not part of it", blk,
			   blk + n - 1);
}

int bow_ext_read_blocks(struct bow_ext_fs *fs, uint64_t blk, unsigned n, void *buf,
			struct bowimg_error *err)
{
	errcode_t code = io_channel_read_blk64(fs->lib->io, blk, (int)n, buf);

	return code ? bow_ext_fail(fs, code, "read blocks", err) : 0;
}

uint32_t bow_ext_table_used(const struct bow_ext_fs *fs, dgrp_t group)
{
	const uint32_t all = fs->lib->super->s_inodes_per_group;
	uint32_t unused;

	if (group >= fs->lib->group_desc_count)
		return 0;
	if (!ext2fs_has_group_desc_csum(fs->lib))
		return all;
	if (ext2fs_bg_flags_test(fs->lib, group, EXT2_BG_INODE_UNINIT))
		return 0;
	unused = ext2fs_bg_itable_unused(fs->lib, group);
	return unused < all ? all - unused : 0;
}

int bow_ext_probe(bowimg_disk *disk, uint64_t off, uint64_t bytes, bool *is_ext,
		  struct bowimg_error *err)
{
	uint8_t raw[BOW_EXT_SUPER_BYTES];

	return bow_ext_super_read(disk, off, bytes, raw, is_ext, err);
}

static int check_super(const struct bow_ext_fs *fs, bowimg_disk *disk, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err)
{
	uint8_t raw[BOW_EXT_SUPER_BYTES];
	bool is_ext;
	int rc = bow_ext_super_read(disk, off, bytes, raw, &is_ext, err);

	if (rc < 0)
		return rc;
	if (!is_ext) {
		bow_err(err, -EOPNOTSUPP,
			"%s: compare files: there is no ext2, ext3 or ext4 file system on the disk "
			"%s",
			bowimg_disk_name(disk), fs->label);
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
		return -EOPNOTSUPP;
	}
	rc = bow_ext_super_check(raw, bytes, bowimg_disk_name(disk), err);
	if (rc == -EUCLEAN && err)
		hint(fs, err);
	return bow_err_wrap(err, rc, "the file system %s", fs->label);
}

static int needs_replay(const struct bow_ext_fs *fs, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN,
		"%s: compare files: the journal of the file system %s was not replayed, so that "
		"its newest changes cannot be seen yet; nothing is lost",
		bowimg_disk_name(fs->io.disk), fs->label);
	if (fs->repairable)
		bow_err_hint(err,
			     "mount and umount it, or let e2fsck replay it, with undo: bowimg run "
			     "--on-success=keep --on-failure=keep %s -- e2fsck -p {}",
			     BOW_WORD(bowimg_disk_name(fs->io.disk)));
	else
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
	return -EUCLEAN;
}

int bow_ext_fs_open(struct bow_ext_fs *fs, bowimg_disk *disk, uint64_t off, uint64_t bytes,
		    struct bowimg_error *err)
{
	int rc;

	fs->io.disk = disk;
	rc = check_super(fs, disk, off, bytes, err);
	if (rc < 0)
		return rc;
	rc = bow_ext_io_open(&fs->io, disk, off, bytes, &fs->lib, err);
	if (rc < 0) {
		hint(fs, err);
		return bow_err_wrap(err, rc, "the file system %s", fs->label);
	}
	fs->budget = ext2fs_blocks_count(fs->lib->super) * VISITS_PER_BLOCK + VISITS_MIN;
	if (ext2fs_has_feature_journal_needs_recovery(fs->lib->super))
		return needs_replay(fs, err);
	rc = bow_ext_groups_check(&fs->io, fs->lib, err);
	if (rc < 0)
		hint(fs, err);
	return bow_err_wrap(err, rc, "the file system %s", fs->label);
}

void bow_ext_fs_close(struct bow_ext_fs *fs)
{
	if (fs->lib)
		ext2fs_free(fs->lib);
	fs->lib = NULL;
	bow_ext_owners_release(&fs->owners);
}
