/* SPDX-License-Identifier: MIT */
/*
 * File systems whose files are compared by letting the kernel mount them, known by their magic
 * numbers: on the disk as it was there is no device yet that another tool could look at.
 */
#include <string.h>

#include "base/bytes.h"
#include "fronts/tree.h"

static const struct bow_tree_kind kinds[] = {
	/* An XFS of one UUID can be mounted twice with "nouuid". */
	{"xfs", "xfs", "nouuid", 0, "XFSB", 4, 32, 16, true, true, false},
	/* The top, whatever subvolume is the default. What FIEMAP tells are no places of a disk. */
	{"btrfs", "btrfs", "subvolid=5", 65600, "_BHRfS_M", 8, 65568, 16, true, false, true},
	{"f2fs", "f2fs", NULL, 1024, "\x10\x20\xf5\xf2", 4, 1132, 16, true, false, false},
	{"ntfs", "ntfs3", NULL, 3, "NTFS    ", 8, 72, 8, true, false, false},
	{"exfat", "exfat", NULL, 3, "EXFAT   ", 8, 100, 4, false, false, false},
	{"vfat", "vfat", NULL, 82, "FAT32   ", 8, 67, 4, false, false, false},
	{"vfat", "vfat", NULL, 54, "FAT16   ", 8, 39, 4, false, false, false},
	{"vfat", "vfat", NULL, 54, "FAT12   ", 8, 39, 4, false, false, false},
};

static int read_at(const struct bow_diff_source *source, enum bowimg_side side, uint64_t off,
		   uint64_t bytes, void *buf, size_t n, uint64_t at, struct bowimg_error *err)
{
	memset(buf, 0, n);
	return at + n > bytes ? 0 : source->read(source->ctx, side, buf, n, off + at, err);
}

int bow_tree_probe(const struct bow_diff_source *source, enum bowimg_side side, uint64_t off,
		   uint64_t bytes, const struct bow_tree_kind **kind, uint8_t id[16],
		   struct bowimg_error *err)
{
	char magic[16];
	int rc = 0;

	*kind = NULL;
	memset(id, 0, 16);
	for (size_t i = 0; !rc && !*kind && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct bow_tree_kind *k = &kinds[i];

		rc = read_at(source, side, off, bytes, magic, k->magic_bytes, k->magic_off, err);
		if (!rc && memcmp(magic, k->magic, k->magic_bytes) == 0)
			*kind = k;
	}
	if (rc || !*kind)
		return rc;
	return read_at(source, side, off, bytes, id, (*kind)->id_bytes, (*kind)->id_off, err);
}

/* btrfs fails with EIO then, as it does for everything; its superblock says where the log is. */
int bow_tree_has_log(const struct bow_diff_source *source, enum bowimg_side side, uint64_t off,
		     const struct bow_tree_kind *kind, bool *yes, struct bowimg_error *err)
{
	uint8_t log_root[8];
	int rc;

	*yes = false;
	if (strcmp(kind->name, "btrfs") != 0)
		return 0;
	rc = source->read(source->ctx, side, log_root, sizeof(log_root), off + 65536 + 96, err);
	*yes = !rc && bow_get64(log_root) != 0;
	return rc;
}
