/* SPDX-License-Identifier: MIT */
/*
 * Is an HFS+ clean? After Apple's Technical Note TN1150: big-endian; the volume header says whether
 * it was unmounted; a journal must be empty, which is when its start is its end.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define HEADER_OFFSET 1024u
#define UNMOUNTED 0x100u
#define INCONSISTENT 0x800u
#define JOURNALED 0x2000u
#define JOURNAL_HERE 1u
#define JOURNAL_WANTS_INIT 4u
#define JOURNAL_MAGIC 0x4a4e4c78u
#define TOOL "mount and unmount it in macOS, or: fsck.hfsplus " BOW_HINT_DEVICE

static int check_journal(struct bowimg_disk *vol, uint64_t info_off, struct bowimg_error *err)
{
	uint8_t info[52], head[24];
	int rc = bow_fs_read(vol, info, sizeof(info), info_off, err);

	if (rc)
		return rc;
	if (!(bow_get_be32(info) & JOURNAL_HERE))
		return bow_fs_unsupported(vol, "an HFS+ whose journal is on another device", err);
	if (bow_get_be32(info) & JOURNAL_WANTS_INIT)
		return 0;
	rc = bow_fs_read(vol, head, sizeof(head), bow_get_be64(info + 36), err);
	if (rc)
		return rc;
	/* Written in the byte order of the machine that made it. */
	if (bow_get_be32(head) != JOURNAL_MAGIC && bow_get32(head) != JOURNAL_MAGIC)
		return bow_fs_malformed(vol, "no journal where it should be", err);
	if (memcmp(head + 8, head + 16, 8) != 0)
		return bow_fs_unclean(vol, "the HFS+ journal must be replayed", TOOL, err);
	return 0;
}

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	uint8_t raw[512];
	uint32_t attributes, block_bytes;
	int rc = bow_fs_read(vol, raw, sizeof(raw), HEADER_OFFSET, err);

	(void)reader; /* the kernel's driver replays no journal */
	if (rc)
		return rc;
	block_bytes = bow_get_be32(raw + 40);
	if (raw[0] != 'H' || (raw[1] != '+' && raw[1] != 'X') || block_bytes < 512 ||
	    block_bytes & (block_bytes - 1))
		return bow_fs_malformed(vol, "impossible sizes in the volume header", err);
	if (bow_get_be32(raw + 44) > vol->size / block_bytes)
		return bow_fs_cut_off(vol, err);
	limits->extent = (uint64_t)bow_get_be32(raw + 44) * block_bytes;
	attributes = bow_get_be32(raw + 4);
	if (!(attributes & UNMOUNTED))
		return bow_fs_unclean(vol, "the HFS+ was not cleanly unmounted", TOOL, err);
	if (attributes & INCONSISTENT)
		return bow_fs_unclean(vol, "the HFS+ is marked as inconsistent", TOOL, err);
	return attributes & JOURNALED
		       ? check_journal(vol, (uint64_t)bow_get_be32(raw + 12) * block_bytes, err)
		       : 0;
}

const struct bow_fs_kind bow_fs_hfsplus = {
	.type = "hfsplus",
	.name = "HFS+",
	.program = "partclone.hfsplus",
	.check = check,
};
