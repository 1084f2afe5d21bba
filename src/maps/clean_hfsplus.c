/* SPDX-License-Identifier: MIT */
/*
 * Is an HFS+ clean? After Apple's Technical Note TN1150: big-endian; the volume header says whether
 * it was unmounted; a journal must be empty, which is when its start is its end.
 */
#include <endian.h>
#include <string.h>

#include "base/bytes.h"
#include "maps/fs.h"

#define HEADER_OFFSET 1024u
#define UNMOUNTED 0x100u
#define INCONSISTENT 0x800u
#define JOURNALED 0x2000u
#define JOURNAL_HERE 1u
#define JOURNAL_WANTS_INIT 4u
#define JOURNAL_MAGIC 0x4a4e4c78u
#define TOOL "fsck.hfsplus, or mount and unmount it in macOS"

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

static int check_journal(struct bow_dev *vol, uint64_t info_off, struct bowimg_error *err)
{
	uint8_t info[52], head[24];
	int rc = bow_fs_read(vol, info, sizeof(info), info_off, err);

	if (rc)
		return rc;
	if (!(be32(info) & JOURNAL_HERE))
		return bow_fs_unsupported(vol, "an HFS+ whose journal is on another device", err);
	if (be32(info) & JOURNAL_WANTS_INIT)
		return 0;
	rc = bow_fs_read(vol, head, sizeof(head), be64(info + 36), err);
	if (rc)
		return rc;
	/* Written in the byte order of the machine that made it. */
	if (be32(head) != JOURNAL_MAGIC && bow_get32(head) != JOURNAL_MAGIC)
		return bow_fs_malformed(vol, "no journal where it should be", err);
	if (memcmp(head + 8, head + 16, 8) != 0)
		return bow_fs_unclean(vol, "the HFS+ journal must be replayed", TOOL, err);
	return 0;
}

int bow_clean_hfsplus(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err)
{
	uint8_t raw[512];
	uint32_t attributes, block_bytes;
	int rc = bow_fs_read(vol, raw, sizeof(raw), HEADER_OFFSET, err);

	(void)reader; /* the kernel's driver replays no journal */
	if (rc)
		return rc;
	block_bytes = be32(raw + 40);
	if (raw[0] != 'H' || (raw[1] != '+' && raw[1] != 'X') || block_bytes < 512 ||
	    block_bytes & (block_bytes - 1))
		return bow_fs_malformed(vol, "impossible sizes in the volume header", err);
	if (be32(raw + 44) > vol->size / block_bytes)
		return bow_fs_malformed(vol, "it is larger than the image", err);
	attributes = be32(raw + 4);
	if (!(attributes & UNMOUNTED))
		return bow_fs_unclean(vol, "the HFS+ was not cleanly unmounted", TOOL, err);
	if (attributes & INCONSISTENT)
		return bow_fs_unclean(vol, "the HFS+ is marked as inconsistent", TOOL, err);
	return attributes & JOURNALED
		       ? check_journal(vol, (uint64_t)be32(raw + 12) * block_bytes, err)
		       : 0;
}
