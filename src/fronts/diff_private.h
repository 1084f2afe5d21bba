/* SPDX-License-Identifier: MIT */
/*
 * Inside the comparison of files. Its steps, each in a file of its own:
 *
 *   diff_scan.c    which inodes changed: from the changed blocks of the inode tables
 *   diff_owner.c   which others own a changed block: what is overwritten in place
 *   diff_links.c   which directory entries came and went: from changed blocks of directories
 *   diff_compare.c what differs between two inodes
 *   diff_names.c   which names and paths must be known for that,
 *   diff_paths.c   and how they are found, reading directories only
 *   diff_items.c   one item for each path
 *
 * A "file" is an inode of any type; a "link" is a directory entry that names one.
 */
#ifndef BOW_FRONTS_DIFF_PRIVATE_H
#define BOW_FRONTS_DIFF_PRIVATE_H

#include "base/grow.h"
#include "fronts/changed.h"
#include "fronts/diff.h"
#include "fronts/ext_side.h"

#define BOW_SIDES 2 /* enum bowimg_side counts them */

/* An inode that may have changed. */
struct bow_diff_file {
	ext2_ino_t ino;
	uint32_t links_now;	  /* how many names it has, by its own word */
	uint16_t mode[BOW_SIDES]; /* 0: not in use on that side */
	bool same;		  /* the same file on both sides, not a number used again */
	unsigned what;		  /* BOW_DIFF_*, between the sides */
};

#define BOW_NO_DIR UINT32_MAX

struct bow_paths;

struct bow_diff_link {
	ext2_ino_t parent, ino;
	/* Of replaced links: what the name meant before. Of removed ones: the nearest directory
	 * above that is there now. */
	ext2_ino_t ino_before;
	const char *name;
	const char *path;     /* NULL: cannot be reached from the root */
	const char *path_now; /* of removed links: where the name would be now, had it stayed */
	bool done;
};

struct bow_diff_links {
	struct bow_diff_link *v;
	size_t n, room;
};

struct bow_diff {
	const struct bow_diff_source *source;
	struct bow_diff_options opts;
	struct bow_ext_side side[BOW_SIDES];
	bool related; /* both are states of one file system: a number means the same on both */
	struct bow_changed changed;
	struct bow_diff_file *files; /* ascending */
	size_t n_files, room_files;
	struct bow_diff_links added, removed, replaced, kept;
	struct bow_paths *paths[BOW_SIDES];
	struct bow_diff_item *items;
	size_t n_items, room_items;
	struct bow_arena names;
};

static inline int bow_diff_no_memory(struct bowimg_error *err)
{
	bow_err_errno(err, -ENOMEM, "compare files");
	return -ENOMEM;
}
void bow_diff_progress(const struct bow_diff *d, const char *what, uint64_t done, uint64_t total);

/* An inode of a side; in use by nobody if the number is past what was ever used. */
int bow_diff_inode(struct bow_diff *d, enum bowimg_side side, ext2_ino_t ino,
		   struct bow_ext_inode *out, struct bowimg_error *err);

/* What the file system keeps for itself, as the journal, has no name. */
bool bow_diff_is_hidden(const struct bow_diff *d, ext2_ino_t ino);

/* ---- diff_scan.c ---------------------------------------------------------------------------- */

int bow_diff_find_files(struct bow_diff *d, struct bowimg_error *err);
/* One more, unsorted until bow_diff_sort_files(). */
int bow_diff_add_file(struct bow_diff *d, ext2_ino_t ino, struct bowimg_error *err);
int bow_diff_load_files(struct bow_diff *d, size_t from, struct bowimg_error *err);
void bow_diff_sort_files(struct bow_diff *d);
struct bow_diff_file *bow_diff_find_file(const struct bow_diff *d, ext2_ino_t ino);

/* ---- diff_owner.c --------------------------------------------------------------------------- */

int bow_diff_find_owners(struct bow_diff *d, struct bowimg_error *err);

/* ---- diff_links.c --------------------------------------------------------------------------- */

int bow_diff_find_links(struct bow_diff *d, struct bowimg_error *err);
int bow_diff_add_link(struct bow_diff *d, struct bow_diff_links *to, const struct bow_diff_link *l,
		      struct bowimg_error *err);

/* ---- diff_compare.c, diff_pieces.c ---------------------------------------------------------- */

/* BOW_DIFF_* between two files, which may have different numbers. */
int bow_diff_compare(struct bow_diff *d, ext2_ino_t now, ext2_ino_t before, unsigned *what,
		     struct bowimg_error *err);

/*
 * The pieces of two files whose content may differ, in ascending order; a side's block is 0 where
 * it reads as zeros. A non-zero return ends it.
 */
typedef int bow_diff_piece_func(void *ctx, uint64_t logical, uint64_t n,
				const uint64_t blk[BOW_SIDES], struct bowimg_error *err);
int bow_diff_pieces(const struct bow_diff *d, const struct bow_ext_runs runs[BOW_SIDES],
		    bow_diff_piece_func *piece, void *ctx, struct bowimg_error *err);

/* ---- diff_paths.c --------------------------------------------------------------------------- */

/* Paths on one side. Ask for all, search once, then look them up. */
int bow_paths_new(struct bow_diff *d, enum bowimg_side side, struct bow_paths **out,
		  struct bowimg_error *err);
void bow_paths_free(struct bow_paths *p);
/* The path of a directory. */
int bow_paths_want_dir(struct bow_paths *p, ext2_ino_t ino, struct bowimg_error *err);
/* This many names of something that is no directory. */
int bow_paths_want_links(struct bow_paths *p, ext2_ino_t ino, uint32_t links,
			 struct bowimg_error *err);
/* `found` is called for each name of those. */
int bow_paths_search(struct bow_paths *p,
		     int (*found)(struct bow_diff *d, ext2_ino_t ino, ext2_ino_t parent,
				  const char *name, struct bowimg_error *err),
		     struct bowimg_error *err);
/*
 * In the arena of d: the directory's path, with "/name" behind it unless name is NULL. *out is NULL
 * where the directory is unknown or cannot be reached from the root.
 */
int bow_paths_get(struct bow_paths *p, ext2_ino_t dir, const char *name, const char **out,
		  struct bowimg_error *err);

/* The directory above; of an archive's plan, true the first time it is asked about one. */
ext2_ino_t bow_paths_parent(const struct bow_paths *p, ext2_ino_t dir);
bool bow_paths_mark(struct bow_paths *p, ext2_ino_t dir);

/* What an honest tree stays below: Linux takes paths of 4 KiB. One path, and all together. */
#define BOW_PATH_BYTES_MAX (64u << 10)
#define BOW_PATHS_BYTES_MAX ((size_t)1 << 30)

/* ---- diff_names.c --------------------------------------------------------------------------- */

int bow_diff_find_names(struct bow_diff *d, struct bowimg_error *err);
/* A directory that is the same one on both sides. */
int bow_diff_is_lasting_dir(struct bow_diff *d, ext2_ino_t ino, bool *yes,
			    struct bowimg_error *err);

/* ---- diff_items.c --------------------------------------------------------------------------- */

int bow_diff_make_items(struct bow_diff *d, struct bowimg_error *err);

#endif
