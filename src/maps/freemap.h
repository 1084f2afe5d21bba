/* SPDX-License-Identifier: MIT */
/*
 * Where the free map comes from. One source per file; each marks in *out the 4 KiB blocks of the
 * image that are free as a whole (its own units shrink inward), and nothing else.
 */
#ifndef BOW_MAPS_FREEMAP_H
#define BOW_MAPS_FREEMAP_H

#include <stdio.h>
#include "device/device.h"
#include "maps/bitmap.h"

struct bow_freemap_info {
	char source[16];	/* "ext", "fat", "partclone", "trim", "swap", "map", "none" */
	char what[128];		/* what was found: "ext4, 1024-byte blocks" */
	char why[128];		/* why this source, one clause; may be "" */
	uint64_t fs_free_bytes; /* free by the source's own count */
};

/*
 * Fill *out (size: whole and partial blocks of the image) by `spec`: "auto" or NULL, "ext",
 * "partclone", "trim", "map:FILE", "none". Block 0 and a partial last block are never marked.
 * -EUCLEAN: the file system is not clean; -EOPNOTSUPP: unknown content or spec (the message lists
 * the sources); -EBADMSG: a bitmap's own checksum is wrong.
 */
int bow_freemap_read(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err);

/* Who is told of each partition; see struct bowimg_prepare_options. */
struct bow_part_sink {
	void (*partition)(void *ctx, const struct bowimg_partition *p);
	void *ctx;
};

/*
 * As bow_freemap_read(), and a partitioned disk's partitions are told to `sink`. A file system in
 * one of them that is not clean is refused like one that fills the disk; what has no source counts
 * as used, and so does all that is in no partition.
 */
int bow_freemap_read_disk(struct bow_dev *dev, const char *spec, struct bow_bitmap *out,
			  struct bow_freemap_info *info, const struct bow_part_sink *sink,
			  const struct bowimg_events *events, struct bowimg_error *err);

/* disk.c: the union over the partitions of this table. */
struct bow_table;
int bow_freemap_partitions(struct bow_dev *dev, const struct bow_table *table, const char *spec,
			   struct bow_bitmap *out, struct bow_freemap_info *info,
			   const struct bow_part_sink *sink, const struct bowimg_events *events,
			   struct bowimg_error *err);

/* disk.c: the partitions and what they hold; see bowimg_partitions(). */
int bow_freemap_list(struct bow_dev *dev,
		     int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		     struct bowimg_error *err);

/* swap.c: Linux swap space; all of it is free but its first page. */
int bow_freemap_swap(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		     struct bow_freemap_info *info, struct bowimg_error *err);

/*
 * For the sources: mark the whole blocks inside bytes [off, off + bytes) of the image, but neither
 * block 0 nor a partial last block. The range may reach beyond the image. 0 or -ENOMEM.
 */
int bow_freemap_mark(struct bow_bitmap *out, uint64_t image_size, uint64_t off, uint64_t bytes);

/*
 * volume.c: what lies at [off, off + bytes) of dev, a whole disk or a partition, by `spec` as
 * above, but no "map:FILE", which speaks of the whole image. info->what names what was found.
 */
int bow_freemap_volume(struct bow_dev *dev, uint64_t off, uint64_t bytes, const char *spec,
		       struct bow_bitmap *out, struct bow_freemap_info *info,
		       const struct bowimg_events *events, struct bowimg_error *err);

/* ext.c: ext2/3/4 at [off, off + bytes) of dev, through libext2fs. */
int bow_freemap_ext(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err);

/* fat.c: FAT12/16/32 at [off, off + bytes) of dev. */
int bow_freemap_fat(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err);

/* mapfile.c: a GNU ddrescue map; '?' (non-tried) means free and '+' (finished) used. */
int bow_freemap_mapfile(const char *file, uint64_t image_size, struct bow_bitmap *out,
			struct bow_freemap_info *info, struct bowimg_error *err);

/*
 * The same for a part of the image, of which the map in the open file `in` speaks; what it says in
 * *free_bytes.
 */
int bow_freemap_map_part(FILE *in, const char *name, uint64_t off, uint64_t bytes,
			 uint64_t image_size, struct bow_bitmap *out, uint64_t *free_bytes,
			 struct bowimg_error *err);

struct bow_fs_kind;
/*
 * partclone.c: [off, off + bytes) of dev, by the partclone program for this kind of file system.
 * -EOPNOTSUPP: it is not installed, or cannot be shown this part.
 */
int bow_freemap_partclone(struct bow_dev *dev, uint64_t off, uint64_t bytes,
			  const struct bow_fs_kind *kind, struct bow_bitmap *out,
			  struct bow_freemap_info *info, const struct bowimg_events *events,
			  struct bowimg_error *err);

/*
 * trim.c: the same by the kernel, which mounts it and discards what is free. A journal is replayed
 * that way, onto the image, unless dev is read-only. -EOPNOTSUPP: nobody can do that here.
 */
int bow_freemap_trim(struct bow_dev *dev, uint64_t off, uint64_t bytes,
		     const struct bow_fs_kind *kind, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err);

/* probe.c: what is on this device? By libblkid, plus container formats that are no raw image. */
struct bow_probe {
	char type[32];	 /* libblkid's TYPE: "ext4", "xfs", "vfat", "swap", ...; "" if unknown */
	char pttype[16]; /* partition table: "gpt", "dos", ...; "" if none */
};
int bow_probe_device(struct bow_dev *dev, struct bow_probe *out, struct bowimg_error *err);
/* -EOPNOTSUPP with the right tool's name if dev is a qcow2, vmdk, vhdx, vdi, ... container. */
int bow_probe_refuse_container(struct bow_dev *dev, struct bowimg_error *err);

/*
 * exact.c: take out of *map every block that does not read as zeros; holes are not read.
 * *hole_bytes: how much of *map lay in holes before.
 */
int bow_freemap_keep_zeros(struct bow_dev *dev, struct bow_bitmap *map,
			   const struct bowimg_events *events, struct bowimg_error *err);
int bow_freemap_hole_bytes(struct bow_dev *dev, const struct bow_bitmap *map, uint64_t *hole_bytes,
			   struct bowimg_error *err);

#endif
