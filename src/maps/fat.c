/* SPDX-License-Identifier: MIT */
/*
 * The free map of a FAT, read from its table. After Microsoft's "FAT: General Overview of On-Disk
 * Format" 1.03. Needs no program: boot partitions are small, and everywhere; and partclone takes
 * some used clusters of a FAT12 for free ones.
 */
#include "maps/fat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "device/slice.h"
#include "maps/freemap.h"
#include "maps/fs.h"

#define SECTOR 512u
#define FAT12_CLUSTERS 4085u  /* from here on it is FAT16, */
#define FAT16_CLUSTERS 65525u /* and from here on FAT32 */
/* Of the table, at a time: whole entries of all widths. */
#define PIECE_BYTES (96u << 10)

static int decode(struct bow_dev *vol, const uint8_t *raw, struct bow_fat *f,
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
		return bow_fs_malformed(vol, "it is larger than the image", err);
	if (!table || taken >= sectors)
		return bow_fs_malformed(vol, "its tables do not fit into it", err);
	f->clusters = (uint32_t)((sectors - taken) / raw[13]);
	f->width = wide ? BOW_FAT32 : f->clusters < FAT12_CLUSTERS ? BOW_FAT12 : BOW_FAT16;
	f->table_off = reserved * f->sector_bytes;
	f->table_bytes = table * f->sector_bytes;
	f->data_off = taken * f->sector_bytes;
	f->mirrored = !wide || !(raw[40] & 0x80);
	f->active = f->mirrored ? 0 : raw[40] & 15;
	f->flags = raw[wide ? 65 : 37];
	return 0;
}

int bow_fat_open(struct bow_dev *vol, struct bow_fat *f, struct bowimg_error *err)
{
	uint8_t raw[SECTOR];
	int rc = bow_fs_read(vol, raw, sizeof(raw), 0, err);

	*f = (struct bow_fat){0};
	if (!rc)
		rc = decode(vol, raw, f, err);
	if (rc)
		return rc;
	if (((uint64_t)f->clusters + 2) * f->width > f->table_bytes * 8 || f->active >= f->copies ||
	    (f->width == BOW_FAT16 && f->clusters >= FAT16_CLUSTERS))
		return bow_fs_malformed(vol, "its table does not fit its clusters", err);
	return 0;
}

struct reader {
	struct bow_dev *vol;
	struct bow_fat fat;
	uint8_t *piece, *copy; /* PIECE_BYTES each */
	struct bow_bitmap *out;
	uint64_t image_size, off;    /* the volume begins at byte `off` of the image */
	uint64_t run_start, run_end; /* free clusters that may go on; empty if equal */
	uint64_t free_clusters;
};

static int end_run(struct reader *r, struct bowimg_error *err)
{
	const uint64_t size = r->fat.cluster_bytes;

	if (!bow_freemap_mark(r->out, r->image_size,
			      r->off + r->fat.data_off + (r->run_start - 2) * size,
			      (r->run_end - r->run_start) * size))
		return 0;
	return bow_err_errno(err, -ENOMEM, "%s: keep the free map", r->vol->name);
}

static bool is_free(const struct reader *r, uint32_t at)
{
	switch (r->fat.width) {
	case BOW_FAT12:
		return !(bow_get16(r->piece + at * 3 / 2) >> (at % 2 * 4) & 0xfff);
	case BOW_FAT16:
		return !bow_get16(r->piece + (size_t)at * 2);
	default:
		return !(bow_get32(r->piece + (size_t)at * 4) & 0x0fffffff);
	}
}

/* The entries of a piece: `count` of them, the first of cluster `first`. */
static int take_piece(struct reader *r, uint64_t first, uint32_t count, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = first < 2 ? 2 : 0; i < count && !rc; i++) {
		if (!is_free(r, i))
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
	const struct bow_fat *f = &r->fat;
	int rc = bow_fs_read(r->vol, r->piece, bytes,
			     f->table_off + f->active * f->table_bytes + at, err);

	for (uint32_t i = 1; i < f->copies && f->mirrored && !rc; i++) {
		rc = bow_fs_read(r->vol, r->copy, bytes, f->table_off + i * f->table_bytes + at,
				 err);
		if (!rc && memcmp(r->copy, r->piece, bytes) != 0)
			rc = bow_fs_unclean(r->vol, "the copies of the FAT differ", "fsck.vfat -a",
					    err);
	}
	return rc;
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
	return rc;
}

static int read_table(struct reader *r, struct bow_freemap_info *info, struct bowimg_error *err)
{
	/* A FAT12 entry at the very end is read as two bytes of which the second may not be there.
	 */
	CLEANUP_FREE uint8_t *buf = calloc(2, PIECE_BYTES + 8);
	int rc = bow_clean_fat(r->vol, BOW_FS_HELPER, err);

	if (!rc)
		rc = bow_fat_open(r->vol, &r->fat, err);
	if (rc)
		return rc;
	if (!buf)
		return bow_err_errno(err, -ENOMEM, "%s: read its table", r->vol->name);
	r->piece = buf;
	r->copy = buf + PIECE_BYTES + 8;
	rc = walk(r, err);
	*info = (struct bow_freemap_info){.source = "fat"};
	info->fs_free_bytes = r->free_clusters * r->fat.cluster_bytes;
	snprintf(info->what, sizeof(info->what), "FAT%d, %u-byte clusters", (int)r->fat.width,
		 r->fat.cluster_bytes);
	return rc;
}

int bow_freemap_fat(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err)
{
	struct reader r = {.out = out, .image_size = dev->size, .off = off};
	int rc = bow_dev_slice(dev, off, bytes, &r.vol, err);

	if (rc)
		return rc;
	rc = read_table(&r, info, err);
	bow_dev_close(r.vol, NULL);
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

int bow_claim_fat(struct bow_dev *vol, uint64_t off, struct bow_bitmap *free,
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
	return rc == -ENOMEM ? bow_err_errno(err, rc, "%s: keep the free map", vol->name) : rc;
}
