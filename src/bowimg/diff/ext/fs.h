/* SPDX-License-Identifier: MIT */
/*
 * Reading an ext2/3/4 file system through libext2fs: inodes, the places of their blocks, directory
 * entries, extended attributes. It may be hostile: every block number is checked, and every step is
 * counted, so that a loop or a bomb ends as "damaged".
 */
#ifndef BOW_DIFF_EXT_FS_H
#define BOW_DIFF_EXT_FS_H

#include "lib/ext/super.h"
#include "bowimg/diff/inode.h"

/* ---- owners.c -------------------------------------------------------------------- */

/* Blocks of directories, by who has them. Filled with zeros it is empty. */
struct bow_ext_owners {
	struct bow_ext_owner *v;
	size_t n, room;
	uint64_t seed;
	uint32_t walks; /* so far; each has its number */
};

/*
 * Directory `ino` has this block, in the walk of this number. -EUCLEAN: so has another one, or this
 * one has it twice; -ENOMEM.
 */
int bow_ext_own(struct bow_ext_owners *o, uint64_t blk, uint32_t ino, uint32_t walk);
void bow_ext_owners_release(struct bow_ext_owners *o);

/* ---- fs.c ------------------------------------------------------------------------ */

/* It must not move in memory while it is open. */
struct bow_ext_fs {
	struct bow_ext_io io;
	ext2_filsys lib;
	const char *label; /* "as it is now", for messages; borrowed */
	bool repairable;   /* e2fsck can be run on this version */
	uint64_t budget;   /* steps that may still be taken */
	struct bow_ext_owners owners;
};

/* Is an ext superblock at [off, off + bytes) of the source? */
int bow_ext_probe(bowimg_disk *disk, uint64_t off, uint64_t bytes, bool *is_ext,
		  struct bowimg_error *err);

/*
 * Open the file system at [off, off + bytes). The caller has filled in `label` and `repairable`,
 * and closes it. -EOPNOTSUPP: there is none, or it has unknown features; -EUCLEAN, -EBADMSG: it is
 * damaged, or its journal must be replayed.
 */
int bow_ext_fs_open(struct bow_ext_fs *fs, bowimg_disk *disk, uint64_t off, uint64_t bytes,
		    struct bowimg_error *err);
void bow_ext_fs_close(struct bow_ext_fs *fs); /* also if opening failed, or if it is all zeros */

/* Returns -EUCLEAN, with a message and a hint. */
int bow_ext_bad(const struct bow_ext_fs *fs, struct bowimg_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for an error code of libext2fs, from doing `what`. */
int bow_ext_fail(const struct bow_ext_fs *fs, errcode_t code, const char *what,
		 struct bowimg_error *err);

/* Count n steps; -EUCLEAN if an honest file system of this size cannot need so many. */
int bow_ext_spend(struct bow_ext_fs *fs, uint64_t n, struct bowimg_error *err);

/* -EUCLEAN unless [blk, blk + n) can hold data. */
int bow_ext_check_blocks(const struct bow_ext_fs *fs, uint64_t blk, uint64_t n,
			 struct bowimg_error *err);
int bow_ext_read_blocks(struct bow_ext_fs *fs, uint64_t blk, unsigned n, void *buf,
			struct bowimg_error *err);

/* The inodes of a group's table that were ever used, in number; 0 for groups past the end. */
uint32_t bow_ext_table_used(const struct bow_ext_fs *fs, dgrp_t group);

/* ---- inode.c --------------------------------------------------------------------- */

struct bow_ext_inode {
	ext2_ino_t ino;
	struct ext2_inode_large raw; /* zeros beyond what the file system's inodes have */
};

int bow_ext_read_inode(struct bow_ext_fs *fs, ext2_ino_t ino, struct bow_ext_inode *out,
		       struct bowimg_error *err);

bool bow_ext_in_use(const struct bow_ext_inode *i);
uint64_t bow_ext_size(const struct bow_ext_inode *i);
/* The same as a struct bow_inode. */
void bow_ext_describe(const struct bow_ext_inode *i, struct bow_inode *out);
static inline unsigned bow_ext_type(const struct bow_ext_inode *i)
{
	return i->raw.i_mode & LINUX_S_IFMT;
}

/* ---- runs.c ---------------------------------------------------------------------- */

/* Where a piece of a file is, in blocks of the file system. */
struct bow_ext_run {
	uint64_t logical, physical, count;
	bool unwritten; /* allocated, reads as zeros */
	bool meta;	/* a block of the map or of attributes; `logical` has no meaning */
};

/*
 * Walk the data runs in ascending order, with those of the map between them. A non-zero return of
 * `run` ends the walk. Devices, short links and inline data have no runs.
 */
typedef int bow_ext_run_func(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err);
int bow_ext_walk_runs(struct bow_ext_fs *fs, const struct bow_ext_inode *i, bow_ext_run_func *run,
		      void *ctx, struct bowimg_error *err);

/* The data runs in memory; to be freed. */
struct bow_ext_runs {
	struct bow_ext_run *v;
	size_t n, room;
};
int bow_ext_load_runs(struct bow_ext_fs *fs, const struct bow_ext_inode *i,
		      struct bow_ext_runs *out, struct bowimg_error *err);
void bow_ext_free_runs(struct bow_ext_runs *runs);

/*
 * Read the content of a file that is kept in its inode, at most `room` bytes; *bytes is how many.
 */
bool bow_ext_is_inline(const struct bow_ext_inode *i);
int bow_ext_read_inline(struct bow_ext_fs *fs, const struct bow_ext_inode *i, void *buf,
			size_t room, size_t *bytes, struct bowimg_error *err);

/* ---- dir.c ----------------------------------------------------------------------- */

#define BOW_EXT_NAME_MAX (2 * EXT2_NAME_LEN)

/* A non-zero return ends the walk. */
int bow_ext_walk_dir(struct bow_ext_fs *fs, const struct bow_ext_inode *dir, bow_dirent_func *entry,
		     void *ctx, struct bowimg_error *err);
/* Only the entries in this block. */
int bow_ext_walk_dir_block(struct bow_ext_fs *fs, const struct bow_ext_inode *dir, uint64_t blk,
			   bow_dirent_func *entry, void *ctx, struct bowimg_error *err);
int bow_ext_parent(struct bow_ext_fs *fs, const struct bow_ext_inode *dir, ext2_ino_t *out,
		   struct bowimg_error *err);

/* ---- attr.c ---------------------------------------------------------------------- */

/* A link's target, NUL-terminated; to be freed. */
int bow_ext_read_link(struct bow_ext_fs *fs, const struct bow_ext_inode *i, char **out,
		      struct bowimg_error *err);

/* To be freed. */
int bow_ext_load_attrs(struct bow_ext_fs *fs, const struct bow_ext_inode *i, struct bow_attrs *out,
		       struct bowimg_error *err);

#endif
