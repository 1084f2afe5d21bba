/* SPDX-License-Identifier: MIT */
/*
 * Is an F2FS clean? Its newer checkpoint must be one that was written at unmount.
 *
 * After the kernel's Documentation/filesystems/f2fs.rst and include/linux/f2fs_fs.h: two packs of
 * blocks take turns; a pack is valid if its first and its last block have the same version and
 * right checksums.
 */
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define MAGIC 0xf2f52010u
#define SUPER_OFFSET 1024u
#define SUPER_BYTES 3072u
#define BLOCK 4096u
#define FEATURE_ZONED 0x2u
#define TOOL "fsck.f2fs -f " BOW_HINT_DEVICE
/* A mount brings back what was synced since the last checkpoint. */
#define MOUNT "mount " BOW_HINT_DEVICE " /mnt && umount /mnt"
#define ENABLE "mount -o checkpoint=enable " BOW_HINT_DEVICE " /mnt && umount /mnt"

enum {
	CP_UMOUNT = 0x1,
	CP_ORPHANS = 0x2,
	CP_ERROR = 0x8,
	CP_FSCK = 0x10,
	CP_QUOTA_FSCK = 0x800,
	CP_DISABLED = 0x1000,
	CP_RESIZING = 0x4000,
};

/* CRC-32 without the inversion at the end. Bit by bit: it is a few blocks. */
static uint32_t checksum(uint32_t crc, const uint8_t *p, uint32_t bytes)
{
	while (bytes--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

/* Of a checkpoint block: its version, or 0 if the checksum is wrong. */
static uint64_t version_of(const uint8_t block[BLOCK])
{
	uint32_t at = bow_get32(block + 164), crc;

	if (at < 192 || at > BLOCK - 4)
		return 0;
	crc = checksum(MAGIC, block, at);
	if (at < BLOCK - 4) /* all but itself */
		crc = checksum(crc, block + at + 4, BLOCK - at - 4);
	return bow_get32(block + at) == crc ? bow_get64(block) : 0;
}

/* Version and flags of the pack that begins at this block; version 0: there is none. */
static int read_pack(struct bowimg_disk *vol, uint64_t start_blk, uint32_t most_blk,
		     uint64_t *version, uint32_t *flags, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(BLOCK);
	uint32_t count;
	int rc;

	*version = 0;
	if (!block)
		return bow_fs_no_memory(vol, err);
	rc = bow_fs_read(vol, block, BLOCK, start_blk * BLOCK, err);
	if (rc)
		return rc;
	uint64_t first = version_of(block);
	*flags = bow_get32(block + 132);
	count = bow_get32(block + 136);
	if (!first || count < 2 || count > most_blk)
		return 0;
	rc = bow_fs_read(vol, block, BLOCK, (start_blk + count - 1) * BLOCK, err);
	if (!rc && version_of(block) == first)
		*version = first;
	return rc;
}

static int check_flags(struct bowimg_disk *vol, uint32_t flags, enum bow_fs_reader reader,
		       struct bowimg_error *err)
{
	if (flags & (CP_ERROR | CP_FSCK | CP_QUOTA_FSCK))
		return bow_fs_unclean(vol, "the F2FS has errors", TOOL, err);
	if (flags & CP_RESIZING)
		return bow_fs_unclean(vol, "the F2FS is being resized", TOOL, err);
	if (flags & CP_DISABLED)
		return bow_fs_unclean(vol, "the F2FS has checkpoints disabled", ENABLE, err);
	if (reader == BOW_FS_HELPER && (!(flags & CP_UMOUNT) || flags & CP_ORPHANS))
		return bow_fs_unclean(vol, "the F2FS was not cleanly unmounted", MOUNT, err);
	return 0;
}

static int check_super(struct bowimg_disk *vol, const uint8_t *raw, struct bowimg_error *err)
{
	if (bow_get32(raw) != MAGIC || bow_get32(raw + 16) != 12 || bow_get32(raw + 20) != 9)
		return bow_fs_malformed(vol, "impossible sizes in the superblock", err);
	if (bow_get64(raw + 36) > vol->size / BLOCK)
		return bow_fs_cut_off(vol, err);
	if (raw[2201])
		return bow_fs_unsupported(vol, "an F2FS on several devices", err);
	if (bow_get32(raw + 2180) & FEATURE_ZONED)
		return bow_fs_unsupported(vol, "an F2FS on a zoned device", err);
	return 0;
}

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *raw = malloc(SUPER_BYTES);
	uint64_t version[2];
	uint32_t flags[2], start, segment = 512;
	int rc;

	if (!raw)
		return bow_fs_no_memory(vol, err);
	rc = bow_fs_read(vol, raw, SUPER_BYTES, SUPER_OFFSET, err);
	if (!rc)
		rc = check_super(vol, raw, err);
	limits->extent = rc ? 0 : bow_get64(raw + 36) * BLOCK;
	start = bow_get32(raw + 76);
	for (uint32_t i = 0; i < 2 && !rc; i++)
		rc = read_pack(vol, (uint64_t)start + i * segment, segment, &version[i], &flags[i],
			       err);
	if (rc)
		return rc;
	if (!version[0] && !version[1])
		return bow_fs_malformed(vol, "no valid checkpoint", err);
	return check_flags(vol, flags[version[1] > version[0]], reader, err);
}

const struct bow_fs_kind bow_fs_f2fs = {
	.type = "f2fs",
	.name = "F2FS",
	.program = "partclone.f2fs",
	.forced = true,
	.wants_write = true,
	.check = check,
};
