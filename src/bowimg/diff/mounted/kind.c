/* SPDX-License-Identifier: MIT */
/*
 * File systems that the kernel mounts for the comparison of files, known by their magic numbers.
 * No other tool can tell them yet, since the old version has no device before it is mounted.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "bowimg/diff/mounted/walk.h"

static const struct bow_tree_kind kinds[] = {
	/* An XFS of one UUID can be mounted twice with "nouuid". */
	{"xfs", "xfs", "nouuid", 0, "XFSB", 4, 32, 16, true, true, false},
	/* The top, whatever subvolume is the default. FIEMAP returns no places on the disk. */
	{"btrfs", "btrfs", "subvolid=5", 65600, "_BHRfS_M", 8, 65568, 16, true, false, true},
	{"f2fs", "f2fs", NULL, 1024, "\x10\x20\xf5\xf2", 4, 1132, 16, true, false, false},
	{"ntfs", "ntfs3", NULL, 3, "NTFS    ", 8, 72, 8, true, false, false},
	{"exfat", "exfat", NULL, 3, "EXFAT   ", 8, 100, 4, false, false, false},
	{"vfat", "vfat", NULL, 82, "FAT32   ", 8, 67, 4, false, false, false},
	{"vfat", "vfat", NULL, 54, "FAT16   ", 8, 39, 4, false, false, false},
	{"vfat", "vfat", NULL, 54, "FAT12   ", 8, 39, 4, false, false, false},
};

static int read_at(const struct bow_diff_source *source, enum bow_version version, uint64_t off,
		   uint64_t bytes, void *buf, size_t n, uint64_t at, struct bowimg_error *err)
{
	memset(buf, 0, n);
	return at + n > bytes ? 0 : bowimg_disk_read(source->disk[version], buf, n, off + at, err);
}

int bow_tree_probe(const struct bow_diff_source *source, enum bow_version version, uint64_t off,
		   uint64_t bytes, const struct bow_tree_kind **kind, uint8_t id[16],
		   struct bowimg_error *err)
{
	char magic[16];
	int rc = 0;

	*kind = NULL;
	memset(id, 0, 16);
	for (size_t i = 0; !rc && !*kind && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct bow_tree_kind *k = &kinds[i];

		rc = read_at(source, version, off, bytes, magic, k->magic_bytes, k->magic_off, err);
		if (!rc && memcmp(magic, k->magic, k->magic_bytes) == 0)
			*kind = k;
	}
	if (rc || !*kind)
		return rc;
	return read_at(source, version, off, bytes, id, (*kind)->id_bytes, (*kind)->id_off, err);
}

/* A mount of btrfs fails with EIO then, as for any reason. Its superblock has the place of the log.
 */
int bow_tree_has_log(const struct bow_diff_source *source, enum bow_version version, uint64_t off,
		     const struct bow_tree_kind *kind, bool *yes, struct bowimg_error *err)
{
	uint8_t log_root[8];
	int rc;

	*yes = false;
	if (strcmp(kind->name, "btrfs") != 0)
		return 0;
	rc = bowimg_disk_read(source->disk[version], log_root, sizeof(log_root), off + 65536 + 96,
			      err);
	*yes = !rc && bow_get64(log_root) != 0;
	return rc;
}
