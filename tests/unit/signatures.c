/* SPDX-License-Identifier: MIT */
#include "signatures.h"

#include "lib/base/bytes.h"

typedef void put_fn(void *ctx, uint64_t at, const void *p, size_t n);

/* Linux RAID: superblocks know where they are; at the end there are two kinds. */
static void md_end(uint64_t size, put_fn *put, void *ctx)
{
	const uint64_t at = (size & ~(uint64_t)4095) - 8192;
	uint8_t sector[8];

	put(ctx, at, "\xfc\x4e\x2b\xa9\1\0\0\0", 8);
	bow_put64(sector, at / 512);
	put(ctx, at + 144, sector, 8);
}

static void md_old(uint64_t size, put_fn *put, void *ctx)
{
	const uint64_t at = (size & ~(uint64_t)65535) - 65536;

	put(ctx, at, "\xfc\x4e\x2b\xa9\0\0\0\0\x5a\0\0\0", 12);
}

/* As of version 2.41 libblkid reads no uberblocks, but the list in front: three big-endian pairs.
 */
static void zfs_list(uint64_t label, put_fn *put, void *ctx)
{
	const uint64_t at = label + (16 << 10);

	put(ctx, at, "\1\1\0\0\0\0\0\0\0\0\0", 12);
	put(ctx, at + 12, "\0\0\0\x20\0\0\0\0\0\0\0\4guid\0\0\0\x08\0\0\0\1\0\0\0\0\0\0\0\7", 32);
	put(ctx, at + 44, "\0\0\0\x24\0\0\0\0\0\0\0\5state\0\0\0\0\0\0\x08\0\0\0\1\0\0\0\0\0\0\0",
	    36);
	put(ctx, at + 80, "\0\0\0\x20\0\0\0\0\0\0\0\3txg\0\0\0\0\x08\0\0\0\1\0\0\0\0\0\0\0\4", 32);
}

static void zfs_start(uint64_t size, put_fn *put, void *ctx)
{
	(void)size;
	zfs_list(0, put, ctx);
}

static void zfs_end(uint64_t size, put_fn *put, void *ctx)
{
	const uint64_t label = (size & ~(uint64_t)262143) - 262144;

	zfs_list(label, put, ctx);
	for (uint64_t i = 0; i < 4; i++)
		put(ctx, label + (128 << 10) + (i << 10), "\x0c\xb1\xba\0\0\0\0\0", 8);
}

/* As of version 2.41 libblkid wants what the anchor leads to: a volume that says it is a UDF. */
static void udf_volume(uint32_t block_bytes, uint32_t anchor, uint32_t list, put_fn *put, void *ctx)
{
	const uint64_t at = (uint64_t)list * block_bytes;
	uint8_t tag[24] = {2};

	bow_put32(tag + 12, anchor);
	bow_put32(tag + 16, 16 * block_bytes);
	bow_put32(tag + 20, list);
	put(ctx, (uint64_t)anchor * block_bytes, tag, sizeof(tag));
	tag[0] = 6;
	bow_put32(tag + 12, list);
	put(ctx, at, tag, 16);
	put(ctx, at + 217, "*OSTA UDF Compliant", 19);
}

static void udf_near(uint64_t size, put_fn *put, void *ctx)
{
	(void)size;
	udf_volume(2048, 256, 96, put, ctx);
}

static void udf_far(uint64_t size, put_fn *put, void *ctx)
{
	(void)size;
	udf_volume(4096, 256, 1280, put, ctx);
}

static void udf_late(uint64_t size, put_fn *put, void *ctx)
{
	(void)size;
	udf_volume(2048, 512, 2560, put, ctx);
}

static void nilfs_end(uint64_t size, put_fn *put, void *ctx)
{
	const uint64_t at = (size / 512 - 8) * 512;
	uint8_t bytes[8];

	put(ctx, at + 6, "\x34\x34\0\4", 4);
	bow_put64(bytes, size);
	put(ctx, at + 32, bytes, 8);
}

/* In whole sectors from the end of the last whole one. */
#define FROM_END(name, sectors, text)                                             \
	static void name(uint64_t size, put_fn *put, void *ctx)                   \
	{                                                                         \
		put(ctx, (size / 512 - (sectors)) * 512, text, sizeof(text) - 1); \
	}
FROM_END(ddf, 1, "\xde\x11\xde\x11")
FROM_END(ddf_old, 257, "\xde\x11\xde\x11")
FROM_END(isw, 2, "Intel Raid ISM Cfg Sig. ")
FROM_END(lsi, 1, "$XIDE$")
FROM_END(via, 1, "\x55\xaa\1")
FROM_END(nvidia, 2, "NVIDIA  \x1e\0\0\0")
FROM_END(promise, 63, "Promise Technology, Inc.")
FROM_END(promise_far, 3087, "Promise Technology, Inc.")
FROM_END(hpt45x, 11, "\xf3\x16\x78\x5a")

static void silicon(uint64_t size, put_fn *put, void *ctx)
{
	const uint64_t at = (size / 512 - 1) * 512;

	put(ctx, at + 0x60, "\0\0\0\x2f", 4);
	put(ctx, at + 0x13e, "\0\xd1", 2);
}

static void adaptec(uint64_t size, put_fn *put, void *ctx)
{
	const uint64_t at = (size / 512 - 1) * 512;

	put(ctx, at, "\x37\xfc\x4d\x1e", 4);
	put(ctx, at + 256, "DPTM", 4);
}

#define RAID_BYTES (2u << 20) /* a floppy is in no RAID, for libblkid */

const struct signature signatures[] = {
	/* clang-format off */
	{"linux_raid_member", {{0, 8, "\xfc\x4e\x2b\xa9\1\0\0\0"}}, NULL, RAID_BYTES},
	{"linux_raid_member", {{4096, 8, "\xfc\x4e\x2b\xa9\1\0\0\0"}, {4096 + 144, 1, "\10"}}, NULL, RAID_BYTES},
	{"linux_raid_member", {{0, 0, ""}}, md_end, RAID_BYTES},
	{"linux_raid_member", {{0, 0, ""}}, md_old, RAID_BYTES},
	{"ddf_raid_member", {{0, 0, ""}}, ddf, RAID_BYTES},
	{"ddf_raid_member", {{0, 0, ""}}, ddf_old, RAID_BYTES},
	{"isw_raid_member", {{0, 0, ""}}, isw, RAID_BYTES},
	{"lsi_mega_raid_member", {{0, 0, ""}}, lsi, RAID_BYTES},
	{"via_raid_member", {{0, 0, ""}}, via, RAID_BYTES},
	{"silicon_medley_raid_member", {{0, 0, ""}}, silicon, RAID_BYTES},
	{"nvidia_raid_member", {{0, 0, ""}}, nvidia, RAID_BYTES},
	{"promise_fasttrack_raid_member", {{0, 0, ""}}, promise, RAID_BYTES},
	{"promise_fasttrack_raid_member", {{0, 0, ""}}, promise_far, RAID_BYTES},
	{"hpt45x_raid_member", {{0, 0, ""}}, hpt45x, RAID_BYTES},
	{"hpt37x_raid_member", {{4640, 4, "\xf0\x16\x78\x5a"}}, NULL, RAID_BYTES},
	{"adaptec_raid_member", {{0, 0, ""}}, adaptec, RAID_BYTES},
	{"bcache", {{4096 + 8, 1, "\10"}, {4096 + 24, 16, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"}}, NULL, 0},
	{"ceph_bluestore", {{0, 22, "bluestore block device"}}, NULL, 0},
	{"drbd", {{-4096 + 60, 4, "\x83\x74\x02\x6b"}, {-4096 + 80, 4, "\0\0\x10\0"}}, NULL, RAID_BYTES},
	{"drbd", {{-4096 + 60, 4, "\x83\x74\x02\x6d"}, {-4096 + 80, 4, "\0\0\x10\0"}}, NULL, RAID_BYTES},
	{"LVM2_member", {{512, 9, "LABELONE\1"}, {536, 8, "LVM2 001"}}, NULL, RAID_BYTES},
	{"LVM1_member", {{0, 4, "HM\1\0"}}, NULL, RAID_BYTES},
	{"DM_snapshot_cow", {{0, 4, "SnAp"}}, NULL, 0},
	{"DM_verity_hash", {{0, 9, "verity\0\0\1"}}, NULL, 0},
	{"DM_integrity", {{0, 9, "integrt\0\1"}}, NULL, 0},
	{"crypto_LUKS", {{0, 8, "LUKS\xba\xbe\0\1"}}, NULL, 0},
	{"crypto_LUKS", {{0x4000, 8, "SKUL\xba\xbe\0\2"}, {0x4000 + 262, 1, "\x40"}}, NULL, 0},
	{"crypto_LUKS", {{0x400000, 8, "SKUL\xba\xbe\0\2"}, {0x400000 + 261, 1, "\x40"}}, NULL, 5 << 20},
	{"VMFS_volume_member", {{0x100000, 4, "\x0d\xd0\x01\xc0"}}, NULL, RAID_BYTES},
	{"VMFS", {{0x200000, 4, "\x5e\xf1\xab\x2f"}}, NULL, 3 << 20},
	{"ubi", {{0, 4, "UBI#"}}, NULL, RAID_BYTES},
	{"vdo", {{0, 8, "dmvdo001"}}, NULL, 0},
	{"BitLocker", {{0, 11, "\xeb\x52\x90-FVE-FS-"}}, NULL, 0},
	{"BitLocker", {{0, 11, "\xeb\x58\x90-FVE-FS-"}, {160, 16, "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"}, {178, 1, "\x30"}, {3 << 20, 8, "-FVE-FS-"}}, NULL, 4 << 20},
	{"BitLocker", {{0, 11, "\xeb\x58\x90MSWIN4.1"}, {424, 16, "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"}, {442, 1, "\x30"}, {3 << 20, 8, "-FVE-FS-"}}, NULL, 4 << 20},
	{"swsuspend", {{0xff6, 10, "S1SUSPEND\0"}}, NULL, 0},
	{"swap", {{1024, 5, "\1\0\0\0\7"}, {0xff6, 10, "SWAPSPACE2"}}, NULL, 0},
	{"swap", {{1024, 5, "\1\0\0\0\7"}, {0xfff6, 10, "SWAPSPACE2"}}, NULL, 0},
	{"jbd", {{1024 + 56, 2, "\x53\xef"}, {1024 + 96, 1, "\10"}, {1024 + 4, 1, "\1"}}, NULL, 0},
	{"ext2", {{1024 + 56, 2, "\x53\xef"}, {1024 + 4, 1, "\1"}}, NULL, 0},
	{"reiserfs", {{65536 + 12, 1, "\x12"}, {65536 + 44, 2, "\0\x10"}, {65536 + 52, 8, "ReIsErFs"}}, NULL, 0},
	{"reiserfs", {{8192 + 12, 1, "\x12"}, {8192 + 44, 2, "\0\x10"}, {8192 + 52, 8, "ReIsErFs"}}, NULL, 0},
	{"reiser4", {{65536, 7, "ReIsEr4"}}, NULL, 0},
	{"jfs", {{32768, 4, "JFS1"}, {32768 + 16, 14, "\0\x10\0\0\x0c\0\x03\0\0\x02\0\0\x09\0"}}, NULL, 16 << 20},
	{"udf", {{32769, 5, "BEA01"}, {34817, 5, "NSR02"}}, udf_near, 0},
	{"udf", {{32769, 5, "BEA01"}, {36865, 5, "NSR02"}}, udf_far, 8 << 20},
	{"udf", {{32769, 5, "BEA01"}, {34817, 5, "NSR03"}}, udf_late, 8 << 20},
	{"iso9660", {{32768, 6, "\1CD001"}}, NULL, 0},
	{"zfs_member", {{0, 0, ""}}, zfs_end, 64 << 20},
	{"zfs_member", {{132 << 10, 8, "\x0c\xb1\xba\0\0\0\0\0"}, {133 << 10, 8, "\x0c\xb1\xba\0\0\0\0\0"}, {134 << 10, 8, "\x0c\xb1\xba\0\0\0\0\0"}, {135 << 10, 8, "\x0c\xb1\xba\0\0\0\0\0"}}, zfs_start, 64 << 20},
	{"hfsplus", {{1024, 4, "H+\0\4"}, {1024 + 40, 4, "\0\0\x10\0"}}, NULL, 0},
	{"hfsplus", {{1024, 2, "BD"}, {1024 + 20, 4, "\0\0\x80\0"}, {1024 + 124, 4, "H+\0\x58"}, {(88 << 15) + 1024, 4, "H+\0\4"}, {(88 << 15) + 1064, 4, "\0\0\x10\0"}}, NULL, 4 << 20},
	{"hfs", {{1024, 2, "BD"}, {1024 + 20, 4, "\0\0\x02\0"}}, NULL, 0},
	{"ufs", {{8192 + 1372, 4, "\x54\x19\1\0"}}, NULL, 0},
	{"ufs", {{65536 + 1372, 4, "\x19\x01\x54\x19"}}, NULL, 0},
	{"ufs", {{262144 + 1372, 4, "\x19\x01\x54\x19"}}, NULL, 0},
	{"hpfs", {{8192, 9, "\x49\xe8\x95\xf9\xc5\xe9\x53\xfa\2"}, {8704, 8, "\x49\x18\x91\xf9\xc5\x29\x52\xfa"}}, NULL, 0},
	{"ReFS", {{0, 8, "\0\0\0ReFS\0"}}, NULL, 0},
	{"cramfs", {{0, 4, "\x45\x3d\xcd\x28"}, {16, 16, "Compressed ROMFS"}}, NULL, 0},
	{"romfs", {{0, 12, "-rom1fs-\0\0\0\x10"}}, NULL, 0},
	{"gfs", {{65536, 4, "\1\x16\x19\x70"}, {65536 + 24, 8, "\0\0\x05\x1d\0\0\x05\x79"}}, NULL, 32 << 20},
	{"gfs2", {{65536, 4, "\1\x16\x19\x70"}, {65536 + 24, 8, "\0\0\x07\x09\0\0\x07\x6c"}}, NULL, 32 << 20},
	{"ocfs2", {{8192, 6, "OCFSV2"}}, NULL, 32 << 20},
	{"oracleasm", {{32, 8, "ORCLDISK"}}, NULL, 0},
	{"vxfs", {{1024, 8, "\xf5\xfc\x01\xa5\4\0\0\0"}}, NULL, 0},
	{"squashfs", {{0, 4, "hsqs"}, {28, 1, "\4"}}, NULL, 0},
	{"squashfs3", {{0, 4, "hsqs"}, {28, 1, "\3"}}, NULL, 0},
	{"nss", {{4096, 4, "SPB5"}}, NULL, 0},
	{"ubifs", {{0, 4, "\x31\x18\x10\x06"}}, NULL, 0},
	{"bfs", {{0, 4, "\xce\xfa\xad\x1b"}}, NULL, 0},
	{"nilfs2", {{0, 0, ""}}, nilfs_end, 2 << 20},
	{"mpool", {{0, 8, "mpoolDev"}}, NULL, 0},
	{"apfs", {{32, 8, "NXSB\0\x10\0\0"}, {24, 4, "\1\0\0\x80"}}, NULL, 0},
	{"zonefs", {{0, 4, "SFOZ"}}, NULL, 0},
	{"erofs", {{1024, 4, "\xe2\xe1\xf5\xe0"}, {1036, 1, "\x0c"}}, NULL, 0},
	{"btrfs", {{65536 + 64, 8, "_BHRfS_M"}, {65536 + 145, 1, "\x10"}}, NULL, 1 << 20},
	{"sysv", {{512 + 504, 4, "\x20\x7e\x18\xfd"}}, NULL, 0},
	{"xenix", {{2048, 3, "\x2b\x55\x44"}}, NULL, 0},
	/* clang-format on */
};
const size_t signatures_count = sizeof(signatures) / sizeof(signatures[0]);

void btrfs_by_hand(uint8_t *volume)
{
	memcpy(volume + 65536 + 64, "_BHRfS_M", 8);
	bow_put32(volume + 65536 + 144, 4096);
}

void signature_put(const struct signature *s, uint64_t size, put_fn *put, void *ctx)
{
	for (size_t i = 0; i < SIGNATURE_PIECES; i++) {
		int64_t at = s->pieces[i].at;

		if (s->pieces[i].n)
			put(ctx, at < 0 ? size - (uint64_t)-at : (uint64_t)at, s->pieces[i].bytes,
			    s->pieces[i].n);
	}
	if (s->more)
		s->more(size, put, ctx);
}
