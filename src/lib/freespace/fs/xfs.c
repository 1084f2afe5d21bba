/* SPDX-License-Identifier: MIT */
/*
 * Is an XFS clean? Its log must end with an unmount record. And which blocks does partclone wrongly
 * call free? Those that each allocation group keeps for its own trees.
 *
 * After the "XFS Algorithms & Data Structures" documentation: all numbers are big-endian; the log
 * is a ring of 512-byte basic blocks; a record is a header (magic, LSN = cycle and place) and data
 * blocks, of which the first word of each is replaced by the cycle number, so that nothing but a
 * header can begin with the magic. The header with the highest LSN begins the newest record; after
 * a clean unmount that is one operation, which says so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define MAGIC_SUPER 0x58465342u
#define MAGIC_RECORD 0xfeedbabeu
#define BASIC_BLOCK 512u
#define SECTOR_BYTES_MAX 32768u
#define PIECE_BYTES (1u << 20)
#define LOG_BYTES_MAX (2ull << 30) /* XFS allows no more */
#define HEADER_COVERS 32768u	   /* a version 2 record has one header block for so much data */
#define OP_UNMOUNT 0x20
/* A mount replays the log. */
#define MOUNT "mount " BOW_HINT_DEVICE " /mnt && umount /mnt"
#define AGAIN "make the file system, or the copy, again"
#define REPAIR "xfs_repair " BOW_HINT_DEVICE

/* Feature bits whose meaning for free space is known: what Linux 6.12 calls by name. */
#define INCOMPAT_NEEDS_REPAIR 0x10u
#define INCOMPAT_KNOWN 0x2fu  /* ftype, sparse inodes, meta UUID, big time, large extent counts */
#define RO_COMPAT_KNOWN 0x0fu /* inode btree, reverse map, reflink, inode btree counters */
#define VERSION_MASK 0xfu

/* An allocation group's head: where its list of kept blocks is, in sectors from its start. */
#define MAGIC_AGF 0x58414746u
#define AGF_SECTOR 1u
#define AGFL_SECTOR 3u
#define AGFL_HEADER 36u /* in version 5 */
#define AG_BLOCKS_MIN 64u

struct super {
	uint32_t block_bytes, ag_blocks, log_blocks;
	uint64_t blocks, log_start, rt_blocks, free_blocks;
	uint32_t sector_bytes;
	uint8_t ag_log, in_progress;
	uint32_t version, incompat, ro_compat;
};

static void decode(const uint8_t *raw, struct super *s)
{
	s->block_bytes = bow_get_be32(raw + 4);
	s->blocks = bow_get_be64(raw + 8);
	s->rt_blocks = bow_get_be64(raw + 16);
	s->log_start = bow_get_be64(raw + 48);
	s->free_blocks = bow_get_be64(raw + 144);
	s->ag_blocks = bow_get_be32(raw + 84);
	s->log_blocks = bow_get_be32(raw + 96);
	s->sector_bytes = bow_get_be32(raw + 100) & 0xffff;
	s->version = bow_get_be32(raw + 98) & VERSION_MASK; /* the 16 bits at 100 */
	s->ag_log = raw[124];
	s->in_progress = raw[126];
	s->ro_compat = bow_get_be32(raw + 212);
	s->incompat = bow_get_be32(raw + 216);
}

static int check_features(struct bowimg_disk *vol, const struct super *s, struct bowimg_error *err)
{
	if (s->in_progress)
		return bow_fs_unclean(vol, "mkfs.xfs or xfs_copy did not finish it", AGAIN, err);
	if (s->rt_blocks)
		return bow_fs_unsupported(vol, "an XFS with a realtime device, which is not here",
					  err);
	if (!s->log_start)
		return bow_fs_unsupported(
			vol, "an XFS whose log is on another device, which is not here", err);
	if (s->version < 5)
		return 0; /* the feature words are younger */
	if (s->incompat & INCOMPAT_NEEDS_REPAIR)
		return bow_fs_unclean(vol, "the XFS is marked as in need of repair", REPAIR, err);
	if (s->incompat & ~INCOMPAT_KNOWN || s->ro_compat & ~RO_COMPAT_KNOWN)
		return bow_fs_unsupported(vol, "an XFS with features that are not known here", err);
	return 0;
}

/* Where the log is: `log_start` is an allocation group's number and a block in it. */
static int locate_log(struct bowimg_disk *vol, const struct super *s, uint64_t *off,
		      uint64_t *bytes, struct bowimg_error *err)
{
	uint64_t group, block;

	if (s->block_bytes < BASIC_BLOCK || s->block_bytes > 65536 ||
	    s->block_bytes & (s->block_bytes - 1) || s->ag_log > 31 ||
	    s->ag_blocks < AG_BLOCKS_MIN || s->sector_bytes < BASIC_BLOCK ||
	    s->sector_bytes > SECTOR_BYTES_MAX || s->sector_bytes & (s->sector_bytes - 1))
		return bow_fs_malformed(vol, "impossible sizes in the superblock", err);
	if (s->blocks > vol->size / s->block_bytes)
		return bow_fs_cut_off(vol, err);
	group = s->log_start >> s->ag_log;
	block = s->log_start & ((1ull << s->ag_log) - 1);
	if (group > s->blocks / s->ag_blocks || block >= s->ag_blocks)
		return bow_fs_malformed(vol, "the log is not inside of it", err);
	block += group * s->ag_blocks;
	if (!bow_range_ok(block, s->log_blocks, s->blocks) ||
	    (uint64_t)s->log_blocks * s->block_bytes > LOG_BYTES_MAX)
		return bow_fs_malformed(vol, "the log is not inside of it", err);
	*off = block * s->block_bytes;
	*bytes = (uint64_t)s->log_blocks * s->block_bytes;
	return 0;
}

struct newest {
	uint64_t lsn, block; /* block: in basic blocks from the log's start */
	uint8_t header[BASIC_BLOCK];
};

static void look_at_piece(const uint8_t *buf, uint64_t bytes, uint64_t first, struct newest *n)
{
	for (uint64_t at = 0; at + BASIC_BLOCK <= bytes; at += BASIC_BLOCK) {
		uint64_t block = first + at / BASIC_BLOCK, lsn;

		if (bow_get_be32(buf + at) != MAGIC_RECORD)
			continue;
		lsn = bow_get_be64(buf + at + 16);
		/* The place is part of the number; a header that is elsewhere is a copy. */
		if ((lsn & UINT32_MAX) != block || lsn < n->lsn)
			continue;
		n->lsn = lsn;
		n->block = block;
		memcpy(n->header, buf + at, BASIC_BLOCK);
	}
}

static int find_newest(struct bowimg_disk *vol, uint64_t off, uint64_t bytes, struct newest *n,
		       struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_BYTES);
	int rc = 0;

	if (!buf)
		return bow_fs_no_memory(vol, err);
	for (uint64_t at = 0; at < bytes && !rc; at += PIECE_BYTES) {
		uint64_t piece = bow_min(PIECE_BYTES, bytes - at);

		rc = bow_fs_read(vol, buf, piece, off + at, err);
		if (!rc)
			look_at_piece(buf, piece, at / BASIC_BLOCK, n);
	}
	return rc;
}

/* Blocks of headers that the record has. */
static uint64_t header_blocks(const uint8_t *header)
{
	bool v2 = bow_get_be32(header + 8) & 2;

	return v2 ? bow_max(1, bow_div_up(bow_get_be32(header + 320), HEADER_COVERS)) : 1;
}

static int check_log(struct bowimg_disk *vol, uint64_t off, uint64_t bytes,
		     struct bowimg_error *err)
{
	struct newest n = {0};
	uint8_t data[BASIC_BLOCK];
	int rc = find_newest(vol, off, bytes, &n, err);

	if (rc)
		return rc;
	if (!n.lsn)
		return bow_fs_unclean(vol, "the XFS log holds no record", REPAIR, err);
	if (bow_get_be32(n.header + 40) == 1) { /* operations in the record */
		uint64_t block = (n.block + header_blocks(n.header)) % (bytes / BASIC_BLOCK);

		rc = bow_fs_read(vol, data, sizeof(data), off + block * BASIC_BLOCK, err);
		if (rc)
			return rc;
		if (data[9] & OP_UNMOUNT)
			return 0;
	}
	return bow_fs_unclean(vol, "the XFS was not unmounted, its log must be replayed", MOUNT,
			      err);
}

static int read_super(struct bowimg_disk *vol, struct super *s, struct bowimg_error *err)
{
	uint8_t raw[BASIC_BLOCK];
	int rc = bow_fs_read(vol, raw, sizeof(raw), 0, err);

	if (rc)
		return rc;
	if (bow_get_be32(raw) != MAGIC_SUPER)
		return bow_fs_malformed(vol, "no XFS superblock", err);
	decode(raw, s);
	return 0;
}

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	struct super s = {0};
	uint64_t off = 0, bytes = 0;
	int rc = read_super(vol, &s, err);

	if (!rc)
		rc = check_features(vol, &s, err);
	if (!rc)
		rc = locate_log(vol, &s, &off, &bytes, err);
	limits->extent = rc ? 0 : s.blocks * s.block_bytes;
	/* partclone has counted blocks in 32 bits at some time. */
	if (!rc && reader == BOW_FS_HELPER && s.blocks > UINT32_MAX)
		return bow_fs_not_for_helpers(vol, "an XFS too large for partclone", err);
	return rc || reader == BOW_FS_KERNEL ? rc : check_log(vol, off, bytes, err);
}

struct groups {
	struct bowimg_disk *vol;
	struct super super;
	uint64_t off;
	struct bow_bitmap *free;
	uint8_t *head;	      /* the group's first sectors */
	uint64_t free_blocks; /* of all groups: in their trees, their lists, and the trees' own */
};

/* The list is a ring of block numbers in the group. */
static int mark_list_used(struct groups *g, uint64_t start, struct bowimg_error *err)
{
	const struct super *s = &g->super;
	const uint8_t *agf = g->head + (size_t)AGF_SECTOR * s->sector_bytes;
	const uint32_t skip = s->version >= 5 ? AGFL_HEADER : 0;
	const uint32_t size = (s->sector_bytes - skip) / 4;
	const uint8_t *list = g->head + (size_t)AGFL_SECTOR * s->sector_bytes + skip;
	uint32_t first = bow_get_be32(agf + 40), count = bow_get_be32(agf + 48);

	if (bow_get_be32(agf) != MAGIC_AGF || first >= size || count > size)
		return bow_fs_malformed(g->vol, "the head of an allocation group", err);
	g->free_blocks += (uint64_t)bow_get_be32(agf + 52) + count + bow_get_be32(agf + 60);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t block = bow_get_be32(list + (size_t)((first + i) % size) * 4);

		if (block >= s->ag_blocks)
			return bow_fs_malformed(g->vol, "a block that is not in its group", err);
		if (bow_fs_mark_used(g->free, g->off, start + (uint64_t)block * s->block_bytes,
				     s->block_bytes))
			return bow_fs_no_memory(g->vol, err);
	}
	return 0;
}

/* The kernel writes this sum at every unmount. In version 4 it may be missing. */
static int check_sum(const struct groups *g, struct bowimg_error *err)
{
	char why[128];

	if (g->super.version < 5 || g->free_blocks == g->super.free_blocks)
		return 0;
	snprintf(why, sizeof(why),
		 "%" PRIu64 " blocks of the XFS are free by its groups, but %" PRIu64
		 " by its superblock",
		 g->free_blocks, g->super.free_blocks);
	return bow_fs_unclean(g->vol, why, REPAIR, err);
}

static int mark_used(struct bowimg_disk *vol, uint64_t off, struct bow_bitmap *free,
		     struct bowimg_error *err)
{
	struct groups g = {.vol = vol, .off = off, .free = free};
	uint64_t unused, bytes, step, start;
	int rc = read_super(vol, &g.super, err);

	if (!rc)
		rc = locate_log(vol, &g.super, &unused, &bytes, err);
	if (rc)
		return rc;
	bytes = (size_t)(AGFL_SECTOR + 1) * g.super.sector_bytes;
	step = (uint64_t)g.super.ag_blocks * g.super.block_bytes;
	CLEANUP_FREE uint8_t *head = g.head = malloc((AGFL_SECTOR + 1) * SECTOR_BYTES_MAX);
	if (!head)
		return bow_fs_no_memory(vol, err);
	for (start = 0; start < g.super.blocks * g.super.block_bytes && !rc; start += step) {
		rc = bow_fs_read(vol, head, bytes, start, err);
		if (!rc)
			rc = mark_list_used(&g, start, err);
	}
	return rc ? rc : check_sum(&g, err);
}

const struct bow_fs_kind bow_fs_xfs = {
	.type = "xfs",
	.name = "XFS",
	.program = "partclone.xfs",
	.check = check,
	.mark_used = mark_used,
};
