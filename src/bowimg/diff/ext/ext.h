/* SPDX-License-Identifier: MIT */
/*
 * The comparison of files on ext2/3/4, from changed blocks:
 *
 *   ext.c      opens both versions, and answers the comparison
 *   ahead.c    reads small changed runs early, where the disk is far away
 *   scan.c     finds inodes that changed, in changed blocks of the inode tables
 *   owner.c    finds files that were overwritten in place, by their changed blocks
 *   pieces.c   where two files can differ
 *   content.c  do they differ?
 */
#ifndef BOW_DIFF_EXT_EXT_H
#define BOW_DIFF_EXT_EXT_H

#include "bowimg/diff/private.h"
#include "bowimg/diff/ext/ahead.h"
#include "bowimg/diff/ext/fs.h"

struct bow_diff_ext {
	struct bow_ext_fs fs[BOW_VERSIONS];
	struct bow_diff_ahead ahead;
};

/* An inode of one version. It is not in use if its number is past all that were ever used. */
int bow_diff_ext_inode(struct bow_diff *d, enum bow_version version, ext2_ino_t ino,
		       struct bow_ext_inode *out, struct bowimg_error *err);

/* Does the file system keep this inode for itself, as the journal? It has no name. */
bool bow_diff_ext_is_hidden(const struct bow_diff *d, ext2_ino_t ino);

int bow_diff_scan_inodes(struct bow_diff *d, struct bowimg_error *err);
int bow_diff_find_owners(struct bow_diff *d, struct bowimg_error *err);

/*
 * The pieces of two files whose content may differ, in ascending order. A block is 0 if it reads as
 * zeros in that version. A non-zero return ends the walk.
 */
typedef int bow_diff_piece_func(void *ctx, uint64_t logical, uint64_t n,
				const uint64_t blk[BOW_VERSIONS], struct bowimg_error *err);
int bow_diff_pieces(const struct bow_diff *d, const struct bow_ext_runs runs[BOW_VERSIONS],
		    bow_diff_piece_func *piece, void *ctx, struct bowimg_error *err);

/* content.c: for struct bow_diff_ops. */
int bow_diff_ext_content_differs(struct bow_diff *d, const struct bow_inode *new,
				 const struct bow_inode *old, bool *differs,
				 struct bowimg_error *err);
int bow_diff_ext_open_content(struct bow_diff *d, uint32_t ino, struct bow_content *out,
			      struct bowimg_error *err);
int bow_diff_ext_read_content(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			      const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			      struct bowimg_error *err);

#endif
