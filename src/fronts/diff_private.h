/* SPDX-License-Identifier: MIT */
/*
 * Inside the comparison of files. Its steps, each in a file of its own:
 *
 *   diff_ext.c, diff_tree.c   opening both sides, and which inodes may have changed
 *   diff_links.c   which directory entries came and went
 *   diff_compare.c what differs between two inodes
 *   diff_names.c   which names and paths must be known for that,
 *   diff_paths.c   and how they are found, reading directories only
 *   diff_items.c   one item for each path
 *
 * A "file" is an inode of any type; a "link" is a directory entry that names one.
 */
#ifndef BOW_FRONTS_DIFF_PRIVATE_H
#define BOW_FRONTS_DIFF_PRIVATE_H

#include "base/err.h"
#include "base/grow.h"
#include "fronts/changed.h"
#include "fronts/diff.h"
#include "fronts/side.h"

#define BOW_SIDES 2 /* enum bowimg_side counts them */

/* An inode that may have changed. */
struct bow_diff_file {
	uint32_t ino;
	uint32_t links_now;	  /* how many names it has, by its own word */
	uint16_t mode[BOW_SIDES]; /* 0: not in use on that side */
	bool same;		  /* the same file on both sides, not a number used again */
	unsigned what;		  /* BOW_DIFF_*, between the sides */
};

#define BOW_NO_DIR UINT32_MAX

struct bow_paths;

struct bow_diff_link {
	uint32_t parent, ino;
	/* Of replaced links: what the name meant before. Of removed ones: the nearest directory
	 * above that is there now. */
	uint32_t ino_before;
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
	const struct bow_diff_ops *ops;
	struct bow_diff_ext *ext; /* theirs: one of the two is there */
	struct bow_diff_trees *trees;
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

/* -EUCLEAN: a side is damaged, in this way. */
int bow_diff_bad(const struct bow_diff *d, enum bowimg_side side, const char *what,
		 struct bowimg_error *err);

/* ---- diff_ext.c, diff_tree.c ---------------------------------------------------------------- */

/*
 * How both sides are read. A number is of no use on the other side unless d->related. All return
 * -errno; -EUCLEAN is a damaged file system.
 */
struct bow_diff_ops {
	/* Open both; *same: nothing was written there, so that there is nothing to compare. */
	int (*open)(struct bow_diff *d, bool *same, struct bowimg_error *err);
	void (*close)(struct bow_diff *d); /* also after a failed open */
	/* Add what may have changed to d->files, ascending. */
	int (*find_files)(struct bow_diff *d, struct bowimg_error *err);

	/* Not in use if there is no such number. */
	int (*inode)(struct bow_diff *d, enum bowimg_side side, uint32_t ino, struct bow_inode *out,
		     struct bowimg_error *err);
	int (*parent)(struct bow_diff *d, enum bowimg_side side, uint32_t dir, uint32_t *out,
		      struct bowimg_error *err);
	int (*walk_dir)(struct bow_diff *d, enum bowimg_side side, uint32_t dir,
			bow_entry_func *entry, void *ctx, struct bowimg_error *err);
	/* Of a directory that is the same one on both sides: at least those that differ. */
	int (*walk_changed)(struct bow_diff *d, uint32_t dir, bow_side_entry_func *entry, void *ctx,
			    struct bowimg_error *err);
	/* Between two of one type: links, any, regular files of one size. */
	int (*targets_differ)(struct bow_diff *d, const struct bow_inode *now,
			      const struct bow_inode *before, bool *differ,
			      struct bowimg_error *err);
	int (*attrs_differ)(struct bow_diff *d, const struct bow_inode *now,
			    const struct bow_inode *before, bool *differ, struct bowimg_error *err);
	int (*content_differs)(struct bow_diff *d, const struct bow_inode *now,
			       const struct bow_inode *before, bool *differs,
			       struct bowimg_error *err);

	/* As they are now. A link's target, NUL-terminated, to be freed; extended attributes. */
	int (*read_link)(struct bow_diff *d, uint32_t ino, char **out, struct bowimg_error *err);
	int (*load_attrs)(struct bow_diff *d, uint32_t ino, struct bow_attrs *out,
			  struct bowimg_error *err);
	/* Of a regular file as it is now; to be given to bow_diff_close_content(). */
	int (*open_content)(struct bow_diff *d, uint32_t ino, struct bow_content *out,
			    struct bowimg_error *err);
	/* `skip` bytes into a piece; both may be multiples of BOW_DATA_CHUNK, or reach its end. */
	int (*read_content)(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			    const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			    struct bowimg_error *err);
};

extern const struct bow_diff_ops bow_diff_ext_ops, bow_diff_tree_ops;

/* Is it ext2/3/4 by either side? */
int bow_diff_ext_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		       bool *is_ext, struct bowimg_error *err);
/* Is it now what a kernel may know? If this one cannot mount it for us, *why_not says so. */
int bow_diff_tree_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
			bool *is_known, struct bowimg_error *why_not, struct bowimg_error *err);

/* Fill d->changed, in blocks of this many bytes. */
int bow_diff_load_changes(struct bow_diff *d, uint32_t block_size, struct bowimg_error *err);

void bow_diff_close_content(struct bow_content *c);

/* Content is read in pieces of this; every buffer for it has this size. */
#define BOW_DATA_CHUNK (1u << 20)

/* ---- diff_files.c --------------------------------------------------------------------------- */

/* One more, unsorted until bow_diff_sort_files(). */
int bow_diff_add_file(struct bow_diff *d, uint32_t ino, struct bowimg_error *err);
/* What both sides say of those from the index on; what is in use on neither is dropped. */
int bow_diff_load_files(struct bow_diff *d, size_t from, struct bowimg_error *err);
void bow_diff_sort_files(struct bow_diff *d);
struct bow_diff_file *bow_diff_find_file(const struct bow_diff *d, uint32_t ino);

/* ---- diff_links.c --------------------------------------------------------------------------- */

int bow_diff_find_links(struct bow_diff *d, struct bowimg_error *err);
int bow_diff_add_link(struct bow_diff *d, struct bow_diff_links *to, const struct bow_diff_link *l,
		      struct bowimg_error *err);

/* ---- diff_compare.c ------------------------------------------------------------------------- */

/* BOW_DIFF_* between two files, which may have different numbers. */
int bow_diff_compare(struct bow_diff *d, uint32_t now, uint32_t before, unsigned *what,
		     struct bowimg_error *err);

/* ---- diff_paths.c --------------------------------------------------------------------------- */

/* Paths on one side. Ask for all, search once, then look them up. */
int bow_paths_new(struct bow_diff *d, enum bowimg_side side, struct bow_paths **out,
		  struct bowimg_error *err);
void bow_paths_free(struct bow_paths *p);
/* The path of a directory. */
int bow_paths_want_dir(struct bow_paths *p, uint32_t ino, struct bowimg_error *err);
/* This many names of something that is no directory. */
int bow_paths_want_links(struct bow_paths *p, uint32_t ino, uint32_t links,
			 struct bowimg_error *err);
/* `found` is called for each name of those. */
int bow_paths_search(struct bow_paths *p,
		     int (*found)(struct bow_diff *d, uint32_t ino, uint32_t parent,
				  const char *name, struct bowimg_error *err),
		     struct bowimg_error *err);
/*
 * In the arena of d: the directory's path, with "/name" behind it unless name is NULL. *out is NULL
 * where the directory is unknown or cannot be reached from the root.
 */
int bow_paths_get(struct bow_paths *p, uint32_t dir, const char *name, const char **out,
		  struct bowimg_error *err);

/* The directory above; of an archive's plan, true the first time it is asked about one. */
uint32_t bow_paths_parent(const struct bow_paths *p, uint32_t dir);
bool bow_paths_mark(struct bow_paths *p, uint32_t dir);

/* What an honest tree stays below: Linux takes paths of 4 KiB. One path, and all together. */
#define BOW_PATH_BYTES_MAX (64u << 10)
#define BOW_PATHS_BYTES_MAX ((size_t)1 << 30)

/* ---- diff_names.c --------------------------------------------------------------------------- */

int bow_diff_find_names(struct bow_diff *d, struct bowimg_error *err);
/* A directory that is the same one on both sides. */
int bow_diff_is_lasting_dir(struct bow_diff *d, uint32_t ino, bool *yes, struct bowimg_error *err);

/* ---- diff_items.c --------------------------------------------------------------------------- */

int bow_diff_make_items(struct bow_diff *d, struct bowimg_error *err);

#endif
