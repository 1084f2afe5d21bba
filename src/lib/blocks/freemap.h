/* SPDX-License-Identifier: MIT */
/* A free map that is being built, and what its source reports about it. */
#ifndef BOW_BLOCKS_FREEMAP_H
#define BOW_BLOCKS_FREEMAP_H

#include <stdint.h>
#include "bowimg.h"
#include "lib/blocks/bitmap.h"

struct bow_freemap_info {
	char source[16];	/* "ext", "fat", "partclone", "trim", "swap", "map", "none" */
	char what[128];		/* what was found: "ext4, 1024-byte blocks" */
	char why[128];		/* why this source, one clause; may be "" */
	uint64_t fs_free_bytes; /* free by the source's own count */
	/* How far the file system reaches from the volume's start; anything behind it is used. */
	uint64_t extent_bytes;
	/*
	 * Not NULL: some blocks that the source calls free are in use, for this reason (one
	 * clause). Only exact mode is safe then: it keeps a block free only if it holds zeros.
	 */
	const char *only_exact;
};

/*
 * For the sources: mark as free the whole blocks inside bytes [off, off + bytes) of the image,
 * except block 0 and a partial last block. The range may reach beyond the image. Returns 0 or
 * -ENOMEM.
 */
int bow_freemap_mark(struct bow_bitmap *out, uint64_t image_size, uint64_t off, uint64_t bytes);

#endif
