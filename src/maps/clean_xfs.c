/* SPDX-License-Identifier: MIT */
/*
 * Is an XFS clean? Its log must end with an unmount record. And what does partclone call free that
 * the kernel does not? The blocks that each allocation group keeps for its own trees.
 *
 * After the "XFS Algorithms & Data Structures" documentation: all numbers are big-endian; the log
 * is a ring of 512-byte basic blocks; a record is a header (magic, LSN = cycle and place) and data
 * blocks, of which the first word of each is replaced by the cycle number, so that nothing but a
 * header can begin with the magic. The header with the highest LSN begins the newest record; after
 * a clean unmount that is one operation, which says so.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/fs.h"

#define MAGIC_SUPER 0x58465342u
#define MAGIC_RECORD 0xfeedbabeu
#define BASIC_BLOCK 512u
#define SECTOR_BYTES_MAX 32768u
#define PIECE_BYTES (1u << 20)
#define LOG_BYTES_MAX (2ull << 30) /* XFS allows no more */
#define HEADER_COVERS 32768u	   /* a version 2 record has one header block for so much data */
#define OP_UNMOUNT 0x20
#define TOOL                                                                         \
	"mount and unmount it once, which replays the log; or as root prepare with " \
	"--free-from=trim; xfs_repair if it does not mount"

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
	uint64_t blocks, log_start, rt_blocks;
	uint32_t sector_bytes;
	uint8_t ag_log, in_progress;
	uint32_t version, incompat, ro_compat;
};

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static void decode(const uint8_t *raw, struct super *s)
{
	s->block_bytes = be32(raw + 4);
	s->blocks = be64(raw + 8);
	s->rt_blocks = be64(raw + 16);
	s->log_start = be64(raw + 48);
	s->ag_blocks = be32(raw + 84);
	s->log_blocks = be32(raw + 96);
	s->sector_bytes = be32(raw + 100) & 0xffff;
	s->version = be32(raw + 98) & VERSION_MASK; /* the 16 bits at 100 */
	s->ag_log = raw[124];
	s->in_progress = raw[126];
	s->ro_compat = be32(raw + 212);
	s->incompat = be32(raw + 216);
}

static int check_features(struct bow_dev *vol, const struct super *s, struct bowimg_error *err)
{
	if (s->in_progress)
		return bow_fs_unclean(vol, "mkfs.xfs or xfs_copy did not finish it", TOOL, err);
	if (s->rt_blocks)
		return bow_fs_unsupported(vol, "an XFS with a realtime device, which is not here",
					  err);
	if (!s->log_start)
		return bow_fs_unsupported(
			vol, "an XFS whose log is on another device, which is not here", err);
	if (s->version < 5)
		return 0; /* the feature words are younger */
	if (s->incompat & INCOMPAT_NEEDS_REPAIR)
		return bow_fs_unclean(vol, "the XFS is marked as in need of repair", "xfs_repair",
				      err);
	if (s->incompat & ~INCOMPAT_KNOWN || s->ro_compat & ~RO_COMPAT_KNOWN)
		return bow_fs_unsupported(vol, "an XFS with features that are not known here", err);
	return 0;
}

/* Where the log is: `log_start` is an allocation group's number and a block in it. */
static int locate_log(struct bow_dev *vol, const struct super *s, uint64_t *off, uint64_t *bytes,
		      struct bowimg_error *err)
{
	uint64_t group, block;

	if (s->block_bytes < BASIC_BLOCK || s->block_bytes > 65536 ||
	    s->block_bytes & (s->block_bytes - 1) || s->ag_log > 31 ||
	    s->ag_blocks < AG_BLOCKS_MIN || s->sector_bytes < BASIC_BLOCK ||
	    s->sector_bytes > SECTOR_BYTES_MAX || s->sector_bytes & (s->sector_bytes - 1))
		return bow_fs_malformed(vol, "impossible sizes in the superblock", err);
	if (s->blocks > vol->size / s->block_bytes)
		return bow_fs_malformed(vol, "it is larger than the image", err);
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

		if (be32(buf + at) != MAGIC_RECORD)
			continue;
		lsn = be64(buf + at + 16);
		/* The place is part of the number; a header that is elsewhere is a copy. */
		if ((lsn & UINT32_MAX) != block || lsn < n->lsn)
			continue;
		n->lsn = lsn;
		n->block = block;
		memcpy(n->header, buf + at, BASIC_BLOCK);
	}
}

static int find_newest(struct bow_dev *vol, uint64_t off, uint64_t bytes, struct newest *n,
		       struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_BYTES);
	int rc = 0;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "%s: read its log", vol->name);
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
	bool v2 = be32(header + 8) & 2;

	return v2 ? bow_max(1, bow_div_up(be32(header + 320), HEADER_COVERS)) : 1;
}

static int check_log(struct bow_dev *vol, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	struct newest n = {0};
	uint8_t data[BASIC_BLOCK];
	int rc = find_newest(vol, off, bytes, &n, err);

	if (rc)
		return rc;
	if (!n.lsn)
		return bow_fs_unclean(vol, "the XFS log holds no record", TOOL, err);
	if (be32(n.header + 40) == 1) { /* operations in the record */
		uint64_t block = (n.block + header_blocks(n.header)) % (bytes / BASIC_BLOCK);

		rc = bow_fs_read(vol, data, sizeof(data), off + block * BASIC_BLOCK, err);
		if (rc)
			return rc;
		if (data[9] & OP_UNMOUNT)
			return 0;
	}
	return bow_fs_unclean(vol, "the XFS was not unmounted, its log must be replayed", TOOL,
			      err);
}

static int read_super(struct bow_dev *vol, struct super *s, struct bowimg_error *err)
{
	uint8_t raw[BASIC_BLOCK];
	int rc = bow_fs_read(vol, raw, sizeof(raw), 0, err);

	if (rc)
		return rc;
	if (be32(raw) != MAGIC_SUPER)
		return bow_fs_malformed(vol, "no XFS superblock", err);
	decode(raw, s);
	return 0;
}

int bow_clean_xfs(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err)
{
	struct super s = {0};
	uint64_t off = 0, bytes = 0;
	int rc = read_super(vol, &s, err);

	if (!rc)
		rc = check_features(vol, &s, err);
	if (!rc)
		rc = locate_log(vol, &s, &off, &bytes, err);
	/* partclone has counted blocks in 32 bits at some time. */
	if (!rc && reader == BOW_FS_HELPER && s.blocks > UINT32_MAX)
		return bow_fs_unsupported(vol, "an XFS too large for partclone", err);
	return rc || reader == BOW_FS_KERNEL ? rc : check_log(vol, off, bytes, err);
}

struct claim {
	struct bow_dev *vol;
	struct super super;
	uint64_t off;
	struct bow_bitmap *free;
	uint8_t *head; /* the group's first sectors */
};

/* The list is a ring of block numbers in the group. */
static int claim_list(struct claim *c, uint64_t start, struct bowimg_error *err)
{
	const struct super *s = &c->super;
	const uint8_t *agf = c->head + (size_t)AGF_SECTOR * s->sector_bytes;
	const uint32_t skip = s->version >= 5 ? AGFL_HEADER : 0;
	const uint32_t size = (s->sector_bytes - skip) / 4;
	const uint8_t *list = c->head + (size_t)AGFL_SECTOR * s->sector_bytes + skip;
	uint32_t first = be32(agf + 40), count = be32(agf + 48);

	if (be32(agf) != MAGIC_AGF || first >= size || count > size)
		return bow_fs_malformed(c->vol, "the head of an allocation group", err);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t block = be32(list + (size_t)((first + i) % size) * 4);

		if (block >= s->ag_blocks)
			return bow_fs_malformed(c->vol, "a block that is not in its group", err);
		if (bow_fs_claim(c->free, c->off, start + (uint64_t)block * s->block_bytes,
				 s->block_bytes))
			return bow_err_errno(err, -ENOMEM, "%s: keep the free map", c->vol->name);
	}
	return 0;
}

int bow_claim_xfs(struct bow_dev *vol, uint64_t off, struct bow_bitmap *free,
		  struct bowimg_error *err)
{
	struct claim c = {.vol = vol, .off = off, .free = free};
	uint64_t unused, bytes, step, start;
	int rc = read_super(vol, &c.super, err);

	if (!rc)
		rc = locate_log(vol, &c.super, &unused, &bytes, err);
	if (rc)
		return rc;
	bytes = (size_t)(AGFL_SECTOR + 1) * c.super.sector_bytes;
	step = (uint64_t)c.super.ag_blocks * c.super.block_bytes;
	CLEANUP_FREE uint8_t *head = c.head = malloc((AGFL_SECTOR + 1) * SECTOR_BYTES_MAX);
	if (!head)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", vol->name);
	for (start = 0; start < c.super.blocks * c.super.block_bytes && !rc; start += step) {
		rc = bow_fs_read(vol, head, bytes, start, err);
		if (!rc)
			rc = claim_list(&c, start, err);
	}
	return rc;
}
