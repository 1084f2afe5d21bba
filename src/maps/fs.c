/* SPDX-License-Identifier: MIT */
/* The kinds of file systems, and what their checks share. */
#include "maps/fs.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

static const struct bow_fs_kind kinds[] = {
	{.type = "ext2", .name = "ext2", .read = bow_freemap_ext, .check = bow_clean_ext},
	{.type = "ext3", .name = "ext3", .read = bow_freemap_ext, .check = bow_clean_ext},
	{.type = "ext4", .name = "ext4", .read = bow_freemap_ext, .check = bow_clean_ext},
	{.type = "vfat",
	 .name = "FAT",
	 .read = bow_freemap_fat,
	 .program = "partclone.fat",
	 .check = bow_clean_fat,
	 .claim = bow_claim_fat},
	{.type = "xfs",
	 .name = "XFS",
	 .program = "partclone.xfs",
	 .check = bow_clean_xfs,
	 .claim = bow_claim_xfs},
	{.type = "btrfs",
	 .name = "btrfs",
	 .program = "partclone.btrfs",
	 .check = bow_clean_btrfs,
	 .claim = bow_claim_btrfs},
	{.type = "exfat", .name = "exFAT", .program = "partclone.exfat", .check = bow_clean_exfat},
	{.type = "ntfs", .name = "NTFS", .program = "partclone.ntfs", .check = bow_clean_ntfs},
	{.type = "f2fs",
	 .name = "F2FS",
	 .program = "partclone.f2fs",
	 .forced = true,
	 .wants_write = true,
	 .check = bow_clean_f2fs},
	{.type = "hfsplus",
	 .name = "HFS+",
	 .program = "partclone.hfsplus",
	 .check = bow_clean_hfsplus},
};

const struct bow_fs_kind *bow_fs_find(const char *type)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].type, type))
			return &kinds[i];
	return NULL;
}

int bow_fs_read(struct bow_dev *vol, void *buf, size_t bytes, uint64_t off,
		struct bowimg_error *err)
{
	if (bow_range_ok(off, bytes, vol->size))
		return bow_dev_read(vol, buf, bytes, off, err);
	bow_err(err, -EUCLEAN,
		"%s: read the free map: the file system reaches beyond the end (byte %" PRIu64
		" of %" PRIu64 ")",
		vol->name, off, vol->size);
	bow_err_hint(err, "the image was cut off: get a whole copy of it");
	return -EUCLEAN;
}

int bow_fs_unclean(struct bow_dev *vol, const char *why, const char *tool, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: %s; nothing was changed", vol->name, why);
	bow_err_hint(err, "clean the file system first: %s", tool);
	return -EUCLEAN;
}

int bow_fs_malformed(struct bow_dev *vol, const char *what, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: the file system is damaged: %s", vol->name,
		what);
	bow_err_hint(err, "check and repair it with its own tools first, or say --free-from=none");
	return -EUCLEAN;
}

int bow_fs_unsupported(struct bow_dev *vol, const char *what, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: %s", vol->name, what);
	bow_err_hint(err, "--free-from=none keeps backups past the end of the file and needs to "
			  "know nothing");
	return -EOPNOTSUPP;
}

int bow_fs_claim(struct bow_bitmap *free, uint64_t off, uint64_t start, uint64_t bytes)
{
	const uint64_t block = BOWIMG_BLOCK_SIZE, limit = bow_bitmap_bits(free);
	uint64_t first, end;

	if (!bytes || start > INT64_MAX - off || bytes > INT64_MAX - off - start)
		return bytes ? -EUCLEAN : 0;
	first = (off + start) / block;
	end = bow_min(bow_div_up(off + start + bytes, block), limit);
	return first < end ? bow_bitmap_clear(free, first, end - first) : 0;
}
