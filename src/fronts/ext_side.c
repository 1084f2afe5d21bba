/* SPDX-License-Identifier: MIT */
/*
 * Opening one side of a disk as ext2/3/4. What lies in the journal is not replayed: the block
 * numbers in it are only true once they are written, and a view writes nothing.
 */
#include "fronts/ext_side.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"

/*
 * How many times each block of a file system may be visited, as data, map or directory. A block
 * belongs to one file, which is looked at a few times.
 */
#define VISITS_PER_BLOCK 16u
#define VISITS_MIN (1u << 20)

static void hint(const struct bow_ext_side *s, struct bowimg_error *err)
{
	if (!err)
		return;
	err->hint[0] = '\0';
	if (s->repairable)
		bow_err_hint(err,
			     "let e2fsck repair it, with undo: bowimg run --on-success=keep "
			     "--on-failure=keep %s -- e2fsck -fy {}",
			     s->io.source.name);
	else
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
}

int bow_ext_bad(const struct bow_ext_side *s, struct bowimg_error *err, const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	bow_err(err, -EUCLEAN, "%s: the file system %s is damaged: %s", s->io.source.name, s->label,
		what);
	hint(s, err);
	return -EUCLEAN;
}

int bow_ext_fail(const struct bow_ext_side *s, errcode_t code, const char *what,
		 struct bowimg_error *err)
{
	int rc = bow_ext_io_fail(&s->io, code, what, err);

	if (rc == -EUCLEAN || rc == -EBADMSG)
		hint(s, err);
	return bow_err_wrap(err, rc, "the file system %s", s->label);
}

int bow_ext_spend(struct bow_ext_side *s, uint64_t n, struct bowimg_error *err)
{
	if (n > s->budget)
		return bow_ext_bad(s, err, "it refers to far more blocks than it has");
	s->budget -= n;
	return 0;
}

int bow_ext_check_blocks(const struct bow_ext_side *s, uint64_t blk, uint64_t n,
			 struct bowimg_error *err)
{
	if (blk > s->fs->super->s_first_data_block &&
	    bow_range_ok(blk, n, ext2fs_blocks_count(s->fs->super)))
		return 0;
	return bow_ext_bad(s, err, "blocks %" PRIu64 " to %" PRIu64 " are not part of it", blk,
			   blk + n - 1);
}

int bow_ext_read_blocks(struct bow_ext_side *s, uint64_t blk, unsigned n, void *buf,
			struct bowimg_error *err)
{
	errcode_t code = io_channel_read_blk64(s->fs->io, blk, (int)n, buf);

	return code ? bow_ext_fail(s, code, "read blocks", err) : 0;
}

uint32_t bow_ext_table_used(const struct bow_ext_side *s, dgrp_t group)
{
	const uint32_t all = s->fs->super->s_inodes_per_group;
	uint32_t unused;

	if (group >= s->fs->group_desc_count)
		return 0;
	if (!ext2fs_has_group_desc_csum(s->fs))
		return all;
	if (ext2fs_bg_flags_test(s->fs, group, EXT2_BG_INODE_UNINIT))
		return 0;
	unused = ext2fs_bg_itable_unused(s->fs, group);
	return unused < all ? all - unused : 0;
}

static int read_super(const struct bow_ext_source *source, uint64_t off, uint64_t bytes,
		      uint8_t *raw, bool *is_ext, struct bowimg_error *err)
{
	int rc;

	*is_ext = false;
	if (!bow_range_ok(off, bytes, source->size) ||
	    bytes < BOW_EXT_SUPER_OFF + BOW_EXT_SUPER_BYTES)
		return 0;
	rc = source->read(source->ctx, raw, BOW_EXT_SUPER_BYTES, off + BOW_EXT_SUPER_OFF, err);
	*is_ext = !rc && bow_ext_super_is_there(raw);
	return rc;
}

int bow_ext_probe(const struct bow_ext_source *source, uint64_t off, uint64_t bytes, bool *is_ext,
		  struct bowimg_error *err)
{
	uint8_t raw[BOW_EXT_SUPER_BYTES];

	return read_super(source, off, bytes, raw, is_ext, err);
}

static int check_super(const struct bow_ext_side *s, const struct bow_ext_source *source,
		       uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	uint8_t raw[BOW_EXT_SUPER_BYTES];
	bool is_ext;
	int rc = read_super(source, off, bytes, raw, &is_ext, err);

	if (rc < 0)
		return rc;
	if (!is_ext) {
		bow_err(err, -EOPNOTSUPP,
			"%s: compare files: there is no ext2, ext3 or ext4 file system on the disk "
			"%s",
			source->name, s->label);
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
		return -EOPNOTSUPP;
	}
	rc = bow_ext_super_check(raw, bytes, source->name, err);
	if (rc == -EUCLEAN && err)
		hint(s, err);
	return bow_err_wrap(err, rc, "the file system %s", s->label);
}

static int needs_replay(const struct bow_ext_side *s, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN,
		"%s: compare files: the journal of the file system %s was not replayed, so that "
		"its newest changes cannot be seen yet; nothing is lost",
		s->io.source.name, s->label);
	if (s->repairable)
		bow_err_hint(err,
			     "let e2fsck replay it, with undo: bowimg run --on-success=keep "
			     "--on-failure=keep %s -- e2fsck -p {}   (or mount and umount it)",
			     s->io.source.name);
	else
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
	return -EUCLEAN;
}

int bow_ext_side_open(struct bow_ext_side *s, const struct bow_ext_source *source, uint64_t off,
		      uint64_t bytes, struct bowimg_error *err)
{
	int rc;

	s->io.source = *source;
	rc = check_super(s, source, off, bytes, err);
	if (rc < 0)
		return rc;
	rc = bow_ext_io_open(&s->io, source, off, bytes, &s->fs, err);
	if (rc < 0) {
		hint(s, err);
		return bow_err_wrap(err, rc, "the file system %s", s->label);
	}
	s->budget = ext2fs_blocks_count(s->fs->super) * VISITS_PER_BLOCK + VISITS_MIN;
	if (ext2fs_has_feature_journal_needs_recovery(s->fs->super))
		return needs_replay(s, err);
	rc = bow_ext_groups_check(&s->io, s->fs, err);
	if (rc < 0)
		hint(s, err);
	return bow_err_wrap(err, rc, "the file system %s", s->label);
}

void bow_ext_side_close(struct bow_ext_side *s)
{
	if (s->fs)
		ext2fs_free(s->fs);
	s->fs = NULL;
}
