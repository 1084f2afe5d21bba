/* SPDX-License-Identifier: MIT */
/*
 * The block bitmaps of ext2/3/4, one group after the other: all of them together would take 256 MiB
 * for 8 TiB. With the bits comes what the file system itself needs, whatever its bitmaps say.
 */
#ifndef BOW_FREESPACE_FS_EXT_BITS_H
#define BOW_FREESPACE_FS_EXT_BITS_H

#include "lib/blocks/bitmap.h"
#include "lib/ext/io.h"

struct bow_ext_bits {
	struct bow_ext_io *io;
	ext2_filsys fs;		/* its block_map has the structures of all groups */
	struct bow_bitmap *own; /* blocks of the file system's own inodes, in clusters */
	uint8_t *block, *marks; /* a bitmap as it was read; the part of block_map */
	uint64_t *words;	/* of the group that was read last; a set bit is a cluster in use */
	uint32_t group_clusters; /* of every group but the last one */
};

/* Finds what the file system needs. The end is due after an error, too. -EUCLEAN; -ENOMEM; ... */
int bow_ext_bits_begin(struct bow_ext_bits *b, struct bow_ext_io *io, ext2_filsys fs,
		       struct bowimg_error *err);

/* Sets b->words. -EUCLEAN: a bitmap is not as its checksum says, or has free blocks behind its end.
 */
int bow_ext_bits_read(struct bow_ext_bits *b, dgrp_t group, struct bowimg_error *err);

/* The clusters of a group: the number of the first one, and how many there are. */
uint64_t bow_ext_bits_first(const struct bow_ext_bits *b, dgrp_t group);
uint32_t bow_ext_bits_count(const struct bow_ext_bits *b, dgrp_t group);

void bow_ext_bits_end(struct bow_ext_bits *b);

#endif
