/* SPDX-License-Identifier: MIT */
/*
 * The least that the checks of file systems want to see, built in memory by the formats' public
 * descriptions: for changing single bytes of it. Whole ones, by their own mkfs, are in tests/e2e.
 */
#ifndef TESTS_FS_IMAGES_H
#define TESTS_FS_IMAGES_H

#include "lib/disk/disk.h"

/* Zeroed devices of this size are filled; what is used lies in the first FS_IMAGE_USED bytes. */
#define FS_IMAGE_BYTES (32u << 20)
#define FS_IMAGE_USED (3u << 20)

/* Where to make them dirty; see the tests. */
#define XFS_LOG (64u << 10)
#define NTFS_TABLE (64u << 10)
#define NTFS_RECORD 1024u
#define NTFS_LOG (1u << 20)
#define NTFS_BITMAP (2u << 20)
#define F2FS_PACK (2u << 20)
#define HFS_JOURNAL (256u << 10)
#define BTRFS_TREE (1u << 20)

void fs_image_xfs(uint8_t *disk);
void fs_image_btrfs(uint8_t *disk);
void fs_image_fat16(uint8_t *disk);
void fs_image_exfat(uint8_t *disk);
void fs_image_ntfs(uint8_t *disk);
/* Another record of its table, of which `clusters` from `place` on are in use by the run alone. */
void fs_image_ntfs_file(uint8_t *disk, uint32_t number, uint16_t clusters, uint16_t place);
void fs_image_f2fs(uint8_t *disk);
void fs_image_hfsplus(uint8_t *disk);

/* Put the checksums of a checkpoint block right again. */
void fs_image_f2fs_sum(uint8_t *block);
/* A record of the log, at its 512-byte block; `flags` of its only operation, or several. */
void fs_image_xfs_record(uint8_t *disk, uint32_t block, uint32_t cycle, uint32_t operations,
			 uint8_t flags);

#endif
