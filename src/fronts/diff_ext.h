/* SPDX-License-Identifier: MIT */
/*
 * The comparison of files on ext2/3/4, from changed blocks:
 *
 *   diff_ext.c          opening both sides; what the comparison asks them
 *   diff_scan.c         which inodes changed: from the changed blocks of the inode tables
 *   diff_owner.c        which others own a changed block: what is overwritten in place
 *   diff_pieces.c       where two files can differ
 *   diff_ext_content.c  do they?
 */
#ifndef BOW_FRONTS_DIFF_EXT_H
#define BOW_FRONTS_DIFF_EXT_H

#include "fronts/diff_private.h"
#include "fronts/ext_side.h"

struct bow_diff_ext {
	struct bow_ext_side side[BOW_SIDES];
};

/* An inode of a side; in use by nobody if the number is past what was ever used. */
int bow_diff_ext_inode(struct bow_diff *d, enum bowimg_side side, ext2_ino_t ino,
		       struct bow_ext_inode *out, struct bowimg_error *err);

/* What the file system keeps for itself, as the journal, has no name. */
bool bow_diff_ext_is_hidden(const struct bow_diff *d, ext2_ino_t ino);

int bow_diff_scan_inodes(struct bow_diff *d, struct bowimg_error *err);
int bow_diff_find_owners(struct bow_diff *d, struct bowimg_error *err);

/*
 * The pieces of two files whose content may differ, in ascending order; a side's block is 0 where
 * it reads as zeros. A non-zero return ends it.
 */
typedef int bow_diff_piece_func(void *ctx, uint64_t logical, uint64_t n,
				const uint64_t blk[BOW_SIDES], struct bowimg_error *err);
int bow_diff_pieces(const struct bow_diff *d, const struct bow_ext_runs runs[BOW_SIDES],
		    bow_diff_piece_func *piece, void *ctx, struct bowimg_error *err);

/* diff_ext_content.c: for the table of what is asked. */
int bow_diff_ext_content_differs(struct bow_diff *d, const struct bow_inode *now,
				 const struct bow_inode *before, bool *differs,
				 struct bowimg_error *err);
int bow_diff_ext_open_content(struct bow_diff *d, uint32_t ino, struct bow_content *out,
			      struct bowimg_error *err);
int bow_diff_ext_read_content(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			      const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			      struct bowimg_error *err);

#endif
