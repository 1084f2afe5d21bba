/* SPDX-License-Identifier: MIT */
/*
 * Inside the comparison of files. Its steps:
 *
 *   ext       which inodes of an ext2/3/4 may have changed, or
 *   mounted   which files of a mounted tree may have
 *   links.c   which directory entries came and went
 *   lasting.c which of them are renamed directories
 *   compare.c what differs between two inodes
 *   names     from numbers to paths: reads directories only
 *   items.c   one item for each path
 *
 * A "file" is an inode of any type; a "link" is a directory entry that names one.
 */
#ifndef BOW_DIFF_PRIVATE_H
#define BOW_DIFF_PRIVATE_H

#include "lib/base/err.h"
#include "lib/base/grow.h"
#include "bowimg/diff/changed.h"
#include "bowimg/diff/diff.h"
#include "bowimg/diff/inode.h"

/* An inode that may have changed. */
struct bow_diff_file {
	uint32_t ino;
	uint32_t new_links;	     /* names that it should have */
	uint16_t mode[BOW_VERSIONS]; /* 0: not in use in that version */
	bool same;		     /* the same file in both versions, not a number used again */
	unsigned what;		     /* BOW_DIFF_*, between the versions */
};

struct bow_paths;

struct bow_diff_link {
	uint32_t parent, ino;
	uint32_t old_ino; /* of replaced links: what the name meant before */
	uint32_t anchor;  /* of removed links: the nearest directory above that lasted */
	const char *name;
	const char *path;     /* NULL: cannot be reached from the root */
	const char *new_path; /* of removed links: where the name would be now, had it stayed */
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
	struct bow_diff_ext *ext; /* one of the two, as `ops` is */
	struct bow_diff_trees *trees;
	bool related; /* versions of one file system: a number means the same in both */
	struct bow_changed changed;
	struct bow_diff_file *files; /* ascending */
	size_t n_files, room_files;
	struct bow_diff_links added, removed, replaced, kept;
	struct bow_paths *paths[BOW_VERSIONS];
	struct bow_diff_item *items;
	size_t n_items, room_items;
	struct bow_arena names;
	uint64_t charged; /* bytes, by bow_diff_charge() */
};

static inline int bow_diff_no_memory(struct bowimg_error *err)
{
	bow_err_errno(err, -ENOMEM, "compare files");
	return -ENOMEM;
}
/*
 * Count memory for names and paths before it is taken. -EUCLEAN: it is more than the inodes and
 * entries on a volume of this size can need.
 */
int bow_diff_charge(struct bow_diff *d, size_t bytes, struct bowimg_error *err);
/*
 * Room for a path in the arena of d, charged. -EUCLEAN also if all paths together are longer than
 * BOW_PATHS_BYTES_MAX, however large the volume is; the message names this version.
 */
int bow_diff_make_path(struct bow_diff *d, enum bow_version version, size_t bytes, char **out,
		       struct bowimg_error *err);
/* -ECANCELED: the user wants it to stop. */
int bow_diff_progress(const struct bow_diff *d, const char *what, uint64_t done, uint64_t total,
		      struct bowimg_error *err);

/* Returns -EUCLEAN: this version is damaged. */
int bow_diff_bad(const struct bow_diff *d, enum bow_version version, const char *what,
		 struct bowimg_error *err);

/* ---- ext/ext.c, mounted/tree.c --------------------------------------------------- */

/*
 * How both versions are read. A number means nothing in the other version unless d->related. All
 * return 0 or a negative errno; -EUCLEAN is a damaged file system.
 */
struct bow_diff_ops {
	/* Open both. *same: nothing was written there, so that they are equal. */
	int (*open)(struct bow_diff *d, bool *same, struct bowimg_error *err);
	void (*close)(struct bow_diff *d); /* also after a failed open */
	/* Add the files that may have changed to d->files, ascending. */
	int (*find_files)(struct bow_diff *d, struct bowimg_error *err);

	/* *out is not in use if there is no such number. */
	int (*inode)(struct bow_diff *d, enum bow_version version, uint32_t ino,
		     struct bow_inode *out, struct bowimg_error *err);
	int (*parent)(struct bow_diff *d, enum bow_version version, uint32_t dir, uint32_t *out,
		      struct bowimg_error *err);
	int (*walk_dir)(struct bow_diff *d, enum bow_version version, uint32_t dir,
			bow_dirent_func *entry, void *ctx, struct bowimg_error *err);
	/* Entries of a directory that is the same in both versions: at least those that differ. */
	int (*walk_changed)(struct bow_diff *d, uint32_t dir, bow_version_dirent_func *entry,
			    void *ctx, struct bowimg_error *err);
	/* Compare two files of one type: links; any type; regular files of one size. */
	int (*targets_differ)(struct bow_diff *d, const struct bow_inode *new,
			      const struct bow_inode *old, bool *differ, struct bowimg_error *err);
	int (*attrs_differ)(struct bow_diff *d, const struct bow_inode *new,
			    const struct bow_inode *old, bool *differ, struct bowimg_error *err);
	int (*content_differs)(struct bow_diff *d, const struct bow_inode *new,
			       const struct bow_inode *old, bool *differs,
			       struct bowimg_error *err);

	/* Of the new version: a link's target, NUL-terminated, to be freed; extended attributes. */
	int (*read_link)(struct bow_diff *d, uint32_t ino, char **out, struct bowimg_error *err);
	int (*load_attrs)(struct bow_diff *d, uint32_t ino, struct bow_attrs *out,
			  struct bowimg_error *err);
	/* A new regular file; bow_diff_close_content() ends it. */
	int (*open_content)(struct bow_diff *d, uint32_t ino, struct bow_content *out,
			    struct bowimg_error *err);
	/* Read `bytes` bytes, `skip` bytes into a piece. Both are multiples of BOW_DATA_CHUNK, or
	 * reach its end. */
	int (*read_content)(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			    const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			    struct bowimg_error *err);
};

extern const struct bow_diff_ops bow_diff_ext_ops, bow_diff_tree_ops;

/* Is one of the versions ext2/3/4? */
int bow_diff_ext_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
		       bool *is_ext, struct bowimg_error *err);
/* Is the new version of a known kind? *why_not is set if this kernel cannot mount it for us. */
int bow_diff_tree_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
			bool *is_known, struct bowimg_error *why_not, struct bowimg_error *err);

/* Fill d->changed, in blocks of this many bytes. */
int bow_diff_load_changes(struct bow_diff *d, uint32_t block_size, struct bowimg_error *err);

void bow_diff_close_content(struct bow_content *c);

/* Content is read in pieces of this size, as are buffers for it. */
#define BOW_DATA_CHUNK (1u << 20)

/* ---- files.c --------------------------------------------------------------------- */

/* Add a file; the list is unsorted until bow_diff_sort_files(). */
int bow_diff_add_file(struct bow_diff *d, uint32_t ino, struct bowimg_error *err);
/* Read the inodes of the files from this index on. Files in use in neither version are dropped. */
int bow_diff_load_files(struct bow_diff *d, size_t from, struct bowimg_error *err);
void bow_diff_sort_files(struct bow_diff *d);
struct bow_diff_file *bow_diff_find_file(const struct bow_diff *d, uint32_t ino);

/* ---- links.c --------------------------------------------------------------------- */

int bow_diff_find_links(struct bow_diff *d, struct bowimg_error *err);
int bow_diff_add_link(struct bow_diff *d, struct bow_diff_links *to, const struct bow_diff_link *l,
		      struct bowimg_error *err);

/* ---- compare.c ------------------------------------------------------------------- */

/* BOW_DIFF_* between two files, which may have different numbers. */
int bow_diff_compare(struct bow_diff *d, uint32_t new, uint32_t old, unsigned *what,
		     struct bowimg_error *err);

/* ---- lasting.c ------------------------------------------------------------------- */

/* Is it a directory, and the same one in both versions? */
int bow_diff_is_lasting_dir(struct bow_diff *d, uint32_t ino, bool *yes, struct bowimg_error *err);
/* A replaced link that means such a directory becomes one that was removed and one that came. */
int bow_diff_split_moved(struct bow_diff *d, struct bowimg_error *err);

/* ---- names: from numbers to paths ------------------------------------------------ */

/* Fill d->kept and the paths of all links. */
int bow_diff_find_names(struct bow_diff *d, struct bowimg_error *err);

/* The directories of one version that were met; d->paths stay until the end, for archives. */
void bow_paths_free(struct bow_paths *p);
/*
 * In the arena of d: the directory's path, with "/name" behind it unless name is NULL. *out is NULL
 * if the directory is unknown or cannot be reached from the root.
 */
int bow_paths_get(struct bow_paths *p, uint32_t dir, const char *name, const char **out,
		  struct bowimg_error *err);
uint32_t bow_paths_parent(const struct bow_paths *p, uint32_t dir); /* 0: as above */
/* True the first time a directory is asked about. */
bool bow_paths_mark(struct bow_paths *p, uint32_t dir);

/* Limits for one path and for all together. An honest tree stays below: Linux takes 4 KiB. */
#define BOW_PATH_BYTES_MAX (64u << 10)
#define BOW_PATHS_BYTES_MAX ((size_t)1 << 30)

/* ---- items.c --------------------------------------------------------------------- */

int bow_diff_make_items(struct bow_diff *d, struct bowimg_error *err);

#endif
