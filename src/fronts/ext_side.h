/* SPDX-License-Identifier: MIT */
/*
 * Reading an ext2/3/4 file system as libext2fs shows it: inodes, where their blocks are, directory
 * entries, extended attributes. For file systems that may be hostile: every block number is
 * checked, and what is followed is counted, so that a loop or a bomb ends as "damaged".
 */
#ifndef BOW_FRONTS_EXT_SIDE_H
#define BOW_FRONTS_EXT_SIDE_H

#include "base/ext_super.h"
#include "fronts/side.h"

/* ---- ext_side.c ----------------------------------------------------------------------------- */

/* Must stay where it is while it is open. */
struct bow_ext_side {
	struct bow_ext_io io;
	ext2_filsys fs;
	const char *label; /* "as it is now", for messages; borrowed */
	bool repairable;   /* e2fsck can be run on this side */
	uint64_t budget;   /* steps that may still be taken */
};

/* Is an ext superblock at [off, off + bytes) of the source? */
int bow_ext_probe(const struct bow_ext_source *source, uint64_t off, uint64_t bytes, bool *is_ext,
		  struct bowimg_error *err);

/*
 * Open the file system at [off, off + bytes). The caller has filled `label` and `repairable`, and
 * closes it. -EOPNOTSUPP: none there, or unknown features; -EUCLEAN, -EBADMSG: damaged, or with a
 * journal to replay.
 */
int bow_ext_side_open(struct bow_ext_side *s, const struct bow_ext_source *source, uint64_t off,
		      uint64_t bytes, struct bowimg_error *err);
void bow_ext_side_close(struct bow_ext_side *s); /* also where opening failed, or zero-filled */

/* -EUCLEAN, with what is wrong and what can be done. */
int bow_ext_bad(const struct bow_ext_side *s, struct bowimg_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for a code of libext2fs, other than 0, met while doing `what`. */
int bow_ext_fail(const struct bow_ext_side *s, errcode_t code, const char *what,
		 struct bowimg_error *err);

/* Count n steps; -EUCLEAN when an honest file system of this size could not need so many. */
int bow_ext_spend(struct bow_ext_side *s, uint64_t n, struct bowimg_error *err);

/* -EUCLEAN unless [blk, blk + n) can hold data. */
int bow_ext_check_blocks(const struct bow_ext_side *s, uint64_t blk, uint64_t n,
			 struct bowimg_error *err);
int bow_ext_read_blocks(struct bow_ext_side *s, uint64_t blk, unsigned n, void *buf,
			struct bowimg_error *err);

/* How many inodes of a group's table were ever used; 0 for groups past the end. */
uint32_t bow_ext_table_used(const struct bow_ext_side *s, dgrp_t group);

/* ---- ext_inode.c ---------------------------------------------------------------------------- */

struct bow_ext_inode {
	ext2_ino_t ino;
	struct ext2_inode_large raw; /* zeros beyond what the file system's inodes have */
};

int bow_ext_read_inode(struct bow_ext_side *s, ext2_ino_t ino, struct bow_ext_inode *out,
		       struct bowimg_error *err);

bool bow_ext_in_use(const struct bow_ext_inode *i);
uint64_t bow_ext_size(const struct bow_ext_inode *i);
/* The same in the words of side.h. */
void bow_ext_describe(const struct bow_ext_inode *i, struct bow_inode *out);
static inline unsigned bow_ext_type(const struct bow_ext_inode *i)
{
	return i->raw.i_mode & LINUX_S_IFMT;
}

/* ---- ext_runs.c ----------------------------------------------------------------------------- */

/* Where a piece of a file is, in blocks of the file system. */
struct bow_ext_run {
	uint64_t logical, physical, count;
	bool unwritten; /* allocated, reads as zeros */
	bool meta;	/* part of the map itself, or of the attributes; `logical` says nothing */
};

/*
 * The data runs in ascending order, with those of the map between them. A non-zero return of `run`
 * ends the walk. Nothing for what has no blocks: devices, short links, inline data.
 */
typedef int bow_ext_run_func(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err);
int bow_ext_walk_runs(struct bow_ext_side *s, const struct bow_ext_inode *i, bow_ext_run_func *run,
		      void *ctx, struct bowimg_error *err);

/* The data runs in memory; to be freed. */
struct bow_ext_runs {
	struct bow_ext_run *v;
	size_t n, room;
};
int bow_ext_load_runs(struct bow_ext_side *s, const struct bow_ext_inode *i,
		      struct bow_ext_runs *out, struct bowimg_error *err);
void bow_ext_free_runs(struct bow_ext_runs *runs);

/*
 * The content of a file that is kept in its inode or, for links, anywhere: at most `room` bytes.
 * *bytes: how many.
 */
bool bow_ext_is_inline(const struct bow_ext_inode *i);
int bow_ext_read_inline(struct bow_ext_side *s, const struct bow_ext_inode *i, void *buf,
			size_t room, size_t *bytes, struct bowimg_error *err);

/* ---- ext_dir.c ------------------------------------------------------------------------------ */

#define BOW_EXT_NAME_MAX (2 * EXT2_NAME_LEN)

/* A non-zero return ends the walk. */
int bow_ext_walk_dir(struct bow_ext_side *s, const struct bow_ext_inode *dir, bow_entry_func *entry,
		     void *ctx, struct bowimg_error *err);
/* Only what is in this one of its blocks. */
int bow_ext_walk_dir_block(struct bow_ext_side *s, const struct bow_ext_inode *dir, uint64_t blk,
			   bow_entry_func *entry, void *ctx, struct bowimg_error *err);
int bow_ext_parent(struct bow_ext_side *s, const struct bow_ext_inode *dir, ext2_ino_t *out,
		   struct bowimg_error *err);

/* ---- ext_attr.c ----------------------------------------------------------------------------- */

/* A link's target, NUL-terminated; to be freed. */
int bow_ext_read_link(struct bow_ext_side *s, const struct bow_ext_inode *i, char **out,
		      struct bowimg_error *err);

/* To be freed. */
int bow_ext_load_attrs(struct bow_ext_side *s, const struct bow_ext_inode *i, struct bow_attrs *out,
		       struct bowimg_error *err);

#endif
