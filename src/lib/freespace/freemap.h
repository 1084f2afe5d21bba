/* SPDX-License-Identifier: MIT */
/*
 * Where the free map comes from. Each source marks in *out the 4 KiB blocks of the image that are
 * free as a whole (its own units shrink inward), and nothing else.
 */
#ifndef BOW_FREESPACE_FREEMAP_H
#define BOW_FREESPACE_FREEMAP_H

#include <stdio.h>
#include "lib/blocks/freemap.h"
#include "lib/disk/disk.h"
#include "lib/freespace/contents.h"
#include "lib/freespace/sources.h"

/* Filled with zeros, it asks for the default. */
struct bow_freemap_options {
	const char *free_from;		     /* as struct bowimg_prepare_options has it */
	const struct bow_contents *contents; /* of the image; NULL: they are not known yet */
	/* Is told of each partition, once its free space is known; may be NULL. */
	void (*partition)(void *ctx, const struct bowimg_partition *p);
	void *ctx;
	const struct bowimg_events *events; /* may be NULL */
};

/*
 * Fill *out (size: whole and partial blocks of the image). Block 0 and a partial last block are
 * never marked. On a partitioned disk it is the union over the partitions: a file system that is
 * not clean is refused like one that fills the disk; what has no source counts as used, and so does
 * all that is in no partition. -EUCLEAN: the file system is not clean; -EOPNOTSUPP: unknown content
 * or source; -EBADMSG: a bitmap's own checksum is wrong.
 */
int bow_freemap_read(struct bowimg_disk *dev, const struct bow_freemap_options *opts,
		     struct bow_bitmap *out, struct bow_freemap_info *info,
		     struct bowimg_error *err);

/* Whose free map, and from which source. */
struct bow_freemap_job {
	struct bowimg_disk *dev;
	struct bow_source source;
	const struct bow_freemap_options *opts;
};

/* by_partition.c: the union over the partitions. */
int bow_freemap_partitions(const struct bow_freemap_job *job, const struct bow_contents *contents,
			   struct bow_bitmap *out, struct bow_freemap_info *info,
			   struct bowimg_error *err);

/* by_partition.c: the partitions and what they hold; see bowimg_partitions(). */
int bow_freemap_list(struct bowimg_disk *dev,
		     int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		     struct bowimg_error *err);

/*
 * choose.c: one file system, that of the whole image or of a partition. The source needs contents.
 * info->what names what was found.
 */
int bow_freemap_volume(const struct bow_freemap_job *job, const struct bow_content *content,
		       struct bow_bitmap *out, struct bow_freemap_info *info,
		       struct bowimg_error *err);

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
 * helpers/partclone.c: [off, off + bytes) of dev, by the partclone program for this kind of file
 * system. -EOPNOTSUPP: it is not installed, or cannot be shown this part.
 */
int bow_freemap_partclone(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
			  const struct bow_fs_kind *kind, struct bow_bitmap *out,
			  struct bow_freemap_info *info, const struct bowimg_events *events,
			  struct bowimg_error *err);

/*
 * helpers/trim.c: the same by the kernel, which mounts it and discards what is free. A journal is
 * replayed that way, onto the image, unless dev is read-only. -EOPNOTSUPP: nobody can do that here.
 */
int bow_freemap_trim(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		     const struct bow_fs_kind *kind, struct bow_bitmap *out,
		     struct bow_freemap_info *info, const struct bowimg_events *events,
		     struct bowimg_error *err);

/*
 * exact.c: take out of *map every block that does not read as zeros; holes are not read.
 * *hole_bytes: how much of *map lay in holes before.
 */
int bow_freemap_keep_zeros(struct bowimg_disk *dev, struct bow_bitmap *map,
			   const struct bowimg_events *events, struct bowimg_error *err);
int bow_freemap_hole_bytes(struct bowimg_disk *dev, const struct bow_bitmap *map,
			   uint64_t *hole_bytes, struct bowimg_error *err);

#endif
