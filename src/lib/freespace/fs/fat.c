/* SPDX-License-Identifier: MIT */
/*
 * FAT12, FAT16 and FAT32: the free map, read from the table. After Microsoft's "FAT: General
 * Overview of On-Disk Format" 1.03. The flag in the boot sector is the one that Windows and Linux
 * set while they have it mounted.
 *
 * It needs no program: boot partitions are small, and everywhere; and partclone takes some used
 * clusters of a FAT12 for free ones.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/disk/part.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define FAT12_CLUSTERS 4085u  /* from here on it is FAT16, */
#define FAT16_CLUSTERS 65525u /* and from here on FAT32 */

#define SECTOR 512u
/* Of the table, at a time: whole entries of all widths. */
#define PIECE_BYTES (96u << 10)

#define TOOL "fsck.fat -a " BOW_HINT_DEVICE
/* No tool of Linux takes these marks away. */
#define SURFACE "chkdsk /r in Windows, which looks for bad places"

/* FAT[1]: set when all is well. FAT12 has no room for them. */
#define FAT16_CLEAN 0x8000u
#define FAT16_NO_ERROR 0x4000u
#define FAT32_CLEAN 0x08000000u
#define FAT32_NO_ERROR 0x04000000u
#define BOOT_DIRTY 1u  /* mounted, or not unmounted */
#define BOOT_ERRORS 2u /* a surface test is wanted */

enum width { FAT12 = 12, FAT16 = 16, FAT32 = 32 };

struct fat {
	enum width width;
	uint32_t sector_bytes, cluster_bytes, clusters; /* clusters are numbered from 2 */
	uint32_t copies, active; /* of the table; `active`: the one that counts, if not all do */
	bool mirrored;
	uint64_t table_off, table_bytes, data_off; /* bytes in the volume */
	uint8_t flags;				   /* the boot sector's, of the last mount */
	uint32_t root; /* of FAT32: the root directory's first cluster; else 0 */
};

/* ---- is it clean? ---------------------------------------------------------------- */

static int decode(struct bowimg_disk *vol, const uint8_t *raw, struct fat *f,
		  struct bowimg_error *err)
{
	const uint64_t reserved = bow_get16(raw + 14), root_entries = bow_get16(raw + 17);
	uint64_t sectors = bow_get16(raw + 19), table = bow_get16(raw + 22), taken;

	f->sector_bytes = bow_get16(raw + 11);
	f->cluster_bytes = raw[13] * f->sector_bytes;
	f->copies = raw[16];
	if (f->sector_bytes < SECTOR || f->sector_bytes > 4096 ||
	    f->sector_bytes & (f->sector_bytes - 1) || !raw[13] || raw[13] & (raw[13] - 1) ||
	    !f->copies || f->copies > 4 || !reserved)
		return bow_fs_malformed(vol, "impossible sizes in the boot sector", err);
	sectors = sectors ? sectors : bow_get32(raw + 32);
	bool wide = !table;
	table = wide ? bow_get32(raw + 36) : table;
	taken = reserved + f->copies * table + bow_div_up(root_entries * 32, f->sector_bytes);
	if (sectors > vol->size / f->sector_bytes)
		return bow_fs_cut_off(vol, err);
	if (!table || taken >= sectors)
		return bow_fs_malformed(vol, "its tables do not fit into it", err);
	f->clusters = (uint32_t)((sectors - taken) / raw[13]);
	f->width = wide ? FAT32 : f->clusters < FAT12_CLUSTERS ? FAT12 : FAT16;
	f->table_off = reserved * f->sector_bytes;
	f->table_bytes = table * f->sector_bytes;
	f->data_off = taken * f->sector_bytes;
	f->mirrored = !wide || !(raw[40] & 0x80);
	f->active = f->mirrored ? 0 : raw[40] & 15;
	f->flags = raw[wide ? 65 : 37];
	f->root = wide ? bow_get32(raw + 44) : 0;
	return 0;
}

static int open_fat(struct bowimg_disk *vol, struct fat *f, struct bowimg_error *err)
{
	uint8_t raw[SECTOR];
	int rc = bow_fs_read(vol, raw, sizeof(raw), 0, err);

	*f = (struct fat){0};
	if (!rc)
		rc = decode(vol, raw, f, err);
	if (rc)
		return rc;
	if (((uint64_t)f->clusters + 2) * f->width > f->table_bytes * 8 || f->active >= f->copies ||
	    (f->width == FAT16 && f->clusters >= FAT16_CLUSTERS) ||
	    (f->root && (f->root < 2 || f->root - 2 >= f->clusters)))
		return bow_fs_malformed(vol, "its table does not fit its clusters", err);
	return 0;
}

static int check_entry(struct bowimg_disk *vol, const struct fat *f, struct bowimg_error *err)
{
	bool wide = f->width == FAT32;
	uint32_t clean = wide ? FAT32_CLEAN : FAT16_CLEAN;
	uint32_t no_error = wide ? FAT32_NO_ERROR : FAT16_NO_ERROR, entry;
	uint8_t raw[8];
	int rc;

	if (f->width == FAT12)
		return 0;
	rc = bow_fs_read(vol, raw, sizeof(raw), f->table_off + f->active * f->table_bytes, err);
	if (rc)
		return rc;
	entry = wide ? bow_get32(raw + 4) : bow_get16(raw + 2);
	if (!(entry & clean))
		return bow_fs_unclean(vol, "the FAT was not cleanly unmounted", TOOL, err);
	if (!(entry & no_error))
		return bow_fs_unclean(vol, "the FAT has noted errors of its disk", SURFACE, err);
	return 0;
}

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	struct fat f;
	int rc = open_fat(vol, &f, err);

	(void)reader; /* there is no journal to replay */
	if (rc)
		return rc;
	limits->extent = f.data_off + (uint64_t)f.clusters * f.cluster_bytes;
	if (f.flags & BOOT_DIRTY)
		return bow_fs_unclean(vol, "the FAT was not cleanly unmounted", TOOL, err);
	if (f.flags & BOOT_ERRORS)
		return bow_fs_unclean(vol, "the FAT has noted errors of its disk", SURFACE, err);
	return check_entry(vol, &f, err);
}

/* ---- the chains ------------------------------------------------------------------ */

/*
 * A table whose chains lead to clusters that it calls free is wrong, whatever its copies say. Two
 * bits for each cluster, and little of that where they are in runs.
 */
struct chains {
	struct bow_bitmap *free, *linked; /* by the number of the cluster */
	uint64_t run_start, run_end;	  /* links that may go on; empty if equal */
};

static int end_links(struct chains *c)
{
	return c->run_end > c->run_start
		       ? bow_bitmap_set(c->linked, c->run_start, c->run_end - c->run_start)
		       : 0;
}

/* An entry leads to this cluster. Most lead to the one behind them. */
static int add_link(struct chains *c, uint64_t to)
{
	int rc = 0;

	if (to != c->run_end) {
		rc = end_links(c);
		c->run_start = to;
	}
	c->run_end = to + 1;
	return rc;
}

/* When all have been added: the first free cluster that a chain leads to; 0: none. */
static int find_broken(struct chains *c, uint64_t *broken)
{
	const uint64_t end = bow_bitmap_bits(c->free);
	uint64_t start = 0, count;
	int rc = end_links(c);

	*broken = 0;
	for (; !rc && !*broken && bow_bitmap_next_run(c->linked, &start, &count, end);
	     start += count) {
		uint64_t at = bow_bitmap_next(c->free, start, start + count, true);

		if (at < start + count)
			*broken = at;
	}
	return rc;
}

/* ---- what is free ---------------------------------------------------------------- */

struct reader {
	struct bowimg_disk *vol;
	struct fat fat;
	uint8_t *piece, *copy; /* PIECE_BYTES each */
	struct bow_bitmap *out;
	uint64_t image_size, off;    /* the volume begins at byte `off` of the image */
	uint64_t run_start, run_end; /* free clusters that may go on; empty if equal */
	uint64_t free_clusters;
	struct chains chains;
};

static int end_run(struct reader *r, struct bowimg_error *err)
{
	const uint64_t size = r->fat.cluster_bytes;

	if (!bow_bitmap_set(r->chains.free, r->run_start, r->run_end - r->run_start) &&
	    !bow_freemap_mark(r->out, r->image_size,
			      r->off + r->fat.data_off + (r->run_start - 2) * size,
			      (r->run_end - r->run_start) * size))
		return 0;
	return bow_fs_no_memory(r->vol, err);
}

/* 0: free; the cluster that follows in the chain; or some mark beyond all clusters. */
static uint32_t entry(const struct reader *r, uint32_t at)
{
	switch (r->fat.width) {
	case FAT12:
		return bow_get16(r->piece + at * 3 / 2) >> (at % 2 * 4) & 0xfff;
	case FAT16:
		return bow_get16(r->piece + (size_t)at * 2);
	default:
		return bow_get32(r->piece + (size_t)at * 4) & 0x0fffffff;
	}
}

/* The entries of a piece: `count` of them, the first of cluster `first`. */
static int take_piece(struct reader *r, uint64_t first, uint32_t count, struct bowimg_error *err)
{
	const uint64_t end = (uint64_t)r->fat.clusters + 2;
	int rc = 0;

	for (uint32_t i = first < 2 ? 2 : 0; i < count && !rc; i++) {
		uint32_t next = entry(r, i);

		if (next >= 2 && next < end && add_link(&r->chains, next))
			return bow_fs_no_memory(r->vol, err);
		if (next)
			continue;
		r->free_clusters++;
		if (first + i != r->run_end) {
			rc = r->run_end > r->run_start ? end_run(r, err) : 0;
			r->run_start = first + i;
		}
		r->run_end = first + i + 1;
	}
	return rc;
}

/* Copies that differ are what an interrupted write leaves. */
static int read_piece(struct reader *r, uint64_t at, uint64_t bytes, struct bowimg_error *err)
{
	const struct fat *f = &r->fat;
	int rc = bow_fs_read(r->vol, r->piece, bytes,
			     f->table_off + f->active * f->table_bytes + at, err);

	for (uint32_t i = 1; i < f->copies && f->mirrored && !rc; i++) {
		rc = bow_fs_read(r->vol, r->copy, bytes, f->table_off + i * f->table_bytes + at,
				 err);
		if (!rc && memcmp(r->copy, r->piece, bytes) != 0)
			rc = bow_fs_unclean(r->vol, "the copies of the FAT differ", TOOL, err);
	}
	return rc;
}

/* A file that ends in free clusters is damaged already, and loses them with the next write. */
static int check_chains(struct reader *r, struct bowimg_error *err)
{
	char why[96];
	uint64_t broken;

	/* A directory that no entry leads to. */
	if (r->fat.root && add_link(&r->chains, r->fat.root))
		return bow_fs_no_memory(r->vol, err);
	if (find_broken(&r->chains, &broken))
		return bow_fs_no_memory(r->vol, err);
	if (!broken)
		return 0;
	snprintf(why, sizeof(why), "cluster %" PRIu64 " is in use, but free by the table", broken);
	/* Without a question it would cut the file off. */
	return bow_fs_unclean(r->vol, why, "fsck.fat -r " BOW_HINT_DEVICE, err);
}

static int walk(struct reader *r, struct bowimg_error *err)
{
	const uint64_t end = (uint64_t)r->fat.clusters + 2;
	const uint64_t bytes = bow_div_up(end * r->fat.width, 8);
	int rc = 0;

	for (uint64_t at = 0; at < bytes && !rc; at += PIECE_BYTES) {
		uint64_t n = bow_min(PIECE_BYTES, bytes - at), first = at * 8 / r->fat.width;
		uint64_t count = bow_min(n * 8 / r->fat.width, end - first);

		rc = read_piece(r, at, n, err);
		if (!rc)
			rc = take_piece(r, first, (uint32_t)count, err);
	}
	if (!rc && r->run_end > r->run_start)
		rc = end_run(r, err);
	return rc ? rc : check_chains(r, err);
}

/* A FAT12 entry at the very end is read as two bytes, of which the second may not be there. */
static int allocate(struct reader *r)
{
	const uint64_t end = (uint64_t)r->fat.clusters + 2;

	r->piece = calloc(1, PIECE_BYTES + 8);
	r->copy = malloc(PIECE_BYTES);
	r->chains.free = bow_bitmap_new(end);
	r->chains.linked = bow_bitmap_new(end);
	return r->piece && r->copy && r->chains.free && r->chains.linked ? 0 : -ENOMEM;
}

static void release(struct reader *r)
{
	free(r->piece);
	free(r->copy);
	bow_bitmap_free(r->chains.free);
	bow_bitmap_free(r->chains.linked);
}

static int read_table(struct reader *r, struct bow_freemap_info *info, struct bowimg_error *err)
{
	struct bow_fs_limits limits = {0};
	int rc = check(r->vol, BOW_FS_HELPER, &limits, err);

	if (!rc)
		rc = open_fat(r->vol, &r->fat, err);
	if (rc)
		return rc;
	rc = allocate(r) ? bow_fs_no_memory(r->vol, err) : walk(r, err);
	release(r);
	*info = (struct bow_freemap_info){.source = "fat", .extent_bytes = limits.extent};
	info->fs_free_bytes = r->free_clusters * r->fat.cluster_bytes;
	snprintf(info->what, sizeof(info->what), "FAT%d, %u-byte clusters", (int)r->fat.width,
		 r->fat.cluster_bytes);
	return rc;
}

static int read_free(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		     struct bow_freemap_info *info, struct bowimg_error *err)
{
	struct reader r = {.out = out, .image_size = dev->size, .off = off};
	int rc = bow_disk_part(dev, off, bytes, &r.vol, err);

	if (rc)
		return rc;
	rc = read_table(&r, info, err);
	bow_disk_close(r.vol, NULL);
	return rc;
}

/* free &= map */
static int keep_common(struct bow_bitmap *free, const struct bow_bitmap *map)
{
	const uint64_t end = bow_bitmap_bits(free);
	uint64_t start = 0, next;
	int rc = 0;

	for (; (start = bow_bitmap_next(map, start, end, false)) < end && !rc; start = next) {
		next = bow_bitmap_next(map, start, end, true);
		rc = bow_bitmap_clear(free, start, next - start);
	}
	return rc;
}

static int mark_used(struct bowimg_disk *vol, uint64_t off, struct bow_bitmap *free,
		     struct bowimg_error *err)
{
	struct bow_bitmap *own = bow_bitmap_new(bow_bitmap_bits(free));
	struct reader r = {.vol = vol,
			   .out = own,
			   .image_size = bow_bitmap_bits(free) * BOWIMG_BLOCK_SIZE,
			   .off = off};
	struct bow_freemap_info ignored;
	int rc = own ? read_table(&r, &ignored, err) : -ENOMEM;

	if (!rc)
		rc = keep_common(free, own);
	bow_bitmap_free(own);
	return rc == -ENOMEM ? bow_fs_no_memory(vol, err) : rc;
}

const struct bow_fs_kind bow_fs_fat = {
	.type = "vfat",
	.name = "FAT",
	.read = read_free,
	.program = "partclone.fat",
	.check = check,
	.mark_used = mark_used,
};
