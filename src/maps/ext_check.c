/* SPDX-License-Identifier: MIT */
/*
 * The checks that come before an ext2/3/4 bitmap is believed. A file system with a journal to
 * replay shows thousands of blocks as free that are in use; one that was not unmounted, or has
 * errors, or orphans to release, may show anything. All of them are refused: the tool that cleans
 * up is named.
 */
#include "maps/ext_check.h"

#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/fs.h"

int bow_ext_check_super(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	uint8_t raw[BOW_EXT_SUPER_BYTES] = {0};
	int rc;

	if (bow_range_ok(off, bytes, dev->size) && bytes >= BOW_EXT_SUPER_OFF + sizeof(raw)) {
		rc = bow_dev_read(dev, raw, sizeof(raw), off + BOW_EXT_SUPER_OFF, err);
		if (rc < 0)
			return bow_err_wrap(err, rc, "read the ext superblock");
	}
	if (!bow_ext_super_is_there(raw)) {
		bow_err(err, -EOPNOTSUPP,
			"%s: read the free map: no ext2, ext3 or ext4 file system "
			"is here",
			dev->name);
		bow_err_hint(err,
			     "say where the free map comes from: --free-from=map:FILE, or none "
			     "(backups then go past the end of the file)");
		return -EOPNOTSUPP;
	}
	rc = bow_ext_super_check(raw, bytes, dev->name, err);
	if (rc == -EOPNOTSUPP)
		bow_err_hint(err, "use a newer e2fsprogs, or say what is free with "
				  "--free-from=map:FILE");
	return rc;
}

static int unclean(const struct bow_ext_io *io, const char *why, const char *options,
		   struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: %s", io->source.name, why);
	bow_err_hint(err, "clean the file system first: e2fsck %s %s", options, io->source.name);
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
		return bow_err_errno(err, -ENOMEM, "%s: read the multi-mount block",
				     io->source.name);
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
		io->source.name, seq == EXT4_MMP_SEQ_FSCK ? "being checked" : "mounted", host);
	bow_err_hint(err, "unmount it there; if that host is gone, run e2fsck -f %s",
		     io->source.name);
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

int bow_clean_ext(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err)
{
	uint8_t state[2];
	int rc = bow_ext_check_super(vol, 0, vol->size, err);

	(void)reader; /* only the kernel asks this way, and it replays the journal */
	if (!rc)
		rc = bow_dev_read(vol, state, sizeof(state),
				  BOW_EXT_SUPER_OFF + offsetof(struct ext2_super_block, s_state),
				  err);
	if (!rc && bow_get16(state) & EXT2_ERROR_FS)
		rc = bow_fs_unclean(vol, "the file system has errors", "e2fsck -f", err);
	return rc;
}
