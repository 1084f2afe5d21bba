/* SPDX-License-Identifier: MIT */
/*
 * Inside the search for names:
 *
 *   names.c    the steps in order
 *   fresh.c    which names came, by number
 *   kept.c     which files keep a name, and need it
 *   removed.c  where a removed name would be now
 *   paths.c    directories of one version that are wanted, and their paths
 *   search.c   reads directories until no name is missing:
 *   queue.c    which one is read next
 *   targets.c  which names are missing
 *   dirs.c     known directories, by number
 */
#ifndef BOW_DIFF_NAMES_NAMES_H
#define BOW_DIFF_NAMES_NAMES_H

#include "bowimg/diff/private.h"

/* ---- targets.c ------------------------------------------------------------------- */

#define BOW_TARGETS_NONE UINT32_MAX

/* Inodes whose names are searched for. Filled with zeros it is empty. */
struct bow_targets {
	struct bow_target {
		uint32_t ino;
		uint32_t missing; /* names not found yet */
	} * v;
	size_t n, room;
	uint32_t *right, *left; /* for each place: the nearest one where a name is missing */
	size_t open;		/* targets with a missing name */
};

int bow_targets_add(struct bow_targets *t, uint32_t ino, uint32_t names); /* -ENOMEM */
int bow_targets_seal(struct bow_targets *t); /* after all adding, before the rest; -ENOMEM */
void bow_targets_release(struct bow_targets *t);
/* Is this number a target? Then one of its names is found. */
bool bow_targets_found(struct bow_targets *t, uint32_t ino);
/* The distance to the nearest number with a missing name; BOW_TARGETS_NONE if no name is missing.
 */
uint32_t bow_targets_distance(struct bow_targets *t, uint32_t ino);

/* ---- dirs.c ---------------------------------------------------------------------- */

#define BOW_NO_DIR UINT32_MAX

struct bow_dir {
	uint32_t ino;
	uint32_t parent;  /* its index; BOW_NO_DIR: not reached from the root yet */
	uint32_t bytes;	  /* of its path, the final zero included */
	const char *name; /* in its parent */
	bool must;	  /* it must be read */
	bool asked;	  /* its ancestors are known */
	bool marked;
};

/* Filled with zeros it is empty. */
struct bow_dirs {
	struct bow_dir *v;
	size_t n, room;
	uint32_t *hash; /* open addressing: index + 1 of a directory, by number */
	size_t hash_room;
};

/* The index of the directory of this number, which is added if it is not known; -ENOMEM. */
int bow_dirs_get(struct bow_dirs *dirs, uint32_t ino, uint32_t *index);
/* BOW_NO_DIR if it is not known. */
uint32_t bow_dirs_find(const struct bow_dirs *dirs, uint32_t ino);
void bow_dirs_release(struct bow_dirs *dirs);

/* ---- queue.c: directories to read, the most urgent first ------------------------- */

struct bow_dir_queue {
	struct bow_queued {
		uint32_t dir, priority;
	} * v; /* a binary heap */
	size_t n, room;
};

/* ---- paths.c: what its functions in private.h share with search.c ---------------- */

struct bow_paths {
	struct bow_diff *d;
	enum bow_version version;
	struct bow_targets targets;
	struct bow_dirs dirs; /* the root first */
	struct bow_dir_queue queue;
	struct bow_arena names;
};

int bow_paths_enqueue(struct bow_paths *p, uint32_t dir, struct bowimg_error *err);
/* False if no directory in the queue has to be read. */
bool bow_paths_dequeue(struct bow_paths *p, uint32_t *dir);

int bow_paths_new(struct bow_diff *d, enum bow_version version, struct bow_paths **out,
		  struct bowimg_error *err);
/* Ask for the path of a directory. */
int bow_paths_want_dir(struct bow_paths *p, uint32_t ino, struct bowimg_error *err);
/* Ask for so many names of an inode that is no directory. */
int bow_paths_want_links(struct bow_paths *p, uint32_t ino, uint32_t links,
			 struct bowimg_error *err);

/* After the search: set the paths of these links. */
int bow_paths_set(struct bow_paths *p, struct bow_diff_links *links, struct bowimg_error *err);

/* ---- search.c -------------------------------------------------------------------- */

/* Find everything that was asked for. `found` gets each name of a wanted inode. */
typedef int bow_link_func(void *ctx, const struct bow_diff_link *link, struct bowimg_error *err);
int bow_paths_search(struct bow_paths *p, bow_link_func *found, void *ctx,
		     struct bowimg_error *err);

/* ---- fresh.c --------------------------------------------------------------------- */

/* The links that came: added and replaced ones, sorted by inode, parent and name. */
struct bow_fresh {
	const struct bow_diff_link **v;
	size_t n;
};

int bow_fresh_collect(const struct bow_diff *d, struct bow_fresh *out, struct bowimg_error *err);
uint32_t bow_fresh_count(const struct bow_fresh *fresh, uint32_t ino); /* names of this inode */
bool bow_fresh_has(const struct bow_fresh *fresh, const struct bow_diff_link *link);
void bow_fresh_release(struct bow_fresh *fresh);

/* ---- kept.c ---------------------------------------------------------------------- */

/* Compare the files that keep a name or are the same one in both versions. */
int bow_kept_compare(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err);
/* Ask for the names that files keep and that are needed. */
int bow_kept_want(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err);
/* A name was found: keep it, unless it came. */
int bow_kept_add(struct bow_diff *d, const struct bow_fresh *fresh,
		 const struct bow_diff_link *link, struct bowimg_error *err);
/* After the search: add the names that directories keep. */
int bow_kept_add_dirs(struct bow_diff *d, const struct bow_fresh *fresh, struct bowimg_error *err);

/* ---- removed.c ------------------------------------------------------------------- */

/* Ask for the paths of removed links: as they were, and as they would be now. */
int bow_removed_want(struct bow_diff *d, struct bowimg_error *err);
int bow_removed_set_paths(struct bow_diff *d, struct bowimg_error *err);

#endif
