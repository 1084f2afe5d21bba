/* SPDX-License-Identifier: MIT */
/*
 * All files of a mounted tree, as a list in memory: what stat() returns for each, and hashes of the
 * rest. So the tree can be compared when it is no longer mounted.
 *
 *   kind.c   which file systems, and what can be relied on there
 *   model.c  numbers for files
 *   walk.c   reads a tree, directory by directory
 *   file.c   opens one of its files; attributes and link targets
 *   data.c   data
 */
#ifndef BOW_DIFF_MOUNTED_WALK_H
#define BOW_DIFF_MOUNTED_WALK_H

#include "lib/base/err.h"
#include "lib/base/grow.h"
#include "bowimg/diff/changed.h"
#include "bowimg/diff/diff.h"
#include "bowimg/diff/inode.h"

/* ---- kind.c ---------------------------------------------------------------------- */

struct bow_tree_kind {
	const char *name;   /* as blkid calls it */
	const char *driver; /* as the kernel does */
	const char *option; /* for mount, or NULL */
	uint64_t magic_off;
	const char *magic;
	size_t magic_bytes;
	uint64_t id_off; /* of the UUID or serial number */
	size_t id_bytes;
	bool keeps_numbers; /* a file has the same inode number in every mount */
	bool has_places;    /* FIEMAP returns where data is on the disk */
	bool is_alone;	    /* both versions cannot be mounted at once */
};

/* The kind of the file system at [off, off + bytes) of one version, and its id; NULL: none. */
int bow_tree_probe(const struct bow_diff_source *source, enum bow_version version, uint64_t off,
		   uint64_t bytes, const struct bow_tree_kind **kind, uint8_t id[16],
		   struct bowimg_error *err);
/* Must a mount replay a log first? For kinds whose driver reports no error of its own. */
int bow_tree_has_log(const struct bow_diff_source *source, enum bow_version version, uint64_t off,
		     const struct bow_tree_kind *kind, bool *yes, struct bowimg_error *err);

/* ---- model.c: numbers for files; the same inode has one number in both versions ---- */

struct bow_numbers {
	struct bow_number {
		uint64_t space, ino; /* `space`: the subvolume, or a directory */
		uint32_t number;     /* 0: empty place */
	} * v;
	size_t room, n;
	uint32_t last;
};

/* 0: no memory, or too many files. */
uint32_t bow_numbers_get(struct bow_numbers *all, uint64_t space, uint64_t ino);
uint32_t bow_numbers_fresh(struct bow_numbers *all);
void bow_numbers_release(struct bow_numbers *all);

/* ---- walk.c ---------------------------------------------------------------------- */

struct bow_tree_hash {
	uint64_t low, high;
};

struct bow_tree_file {
	struct bow_inode inode;
	uint64_t subvolume;	     /* of btrfs; else 0 */
	const char *name;	     /* the first that was found, in: */
	uint32_t parent;	     /* the number of its directory */
	uint32_t entries, n_entries; /* of a directory */
	struct bow_tree_hash attrs;
	struct bow_tree_hash data; /* of a link's target, the places of data, or the data itself */
	bool is_placed;		   /* `data` is a hash of places, and nothing was written there */
};

struct bow_tree_entry {
	uint32_t number;
	const char *name;
};

struct bow_tree {
	/* Filled by the caller: */
	const struct bow_tree_kind *kind;
	const char *image, *label;   /* for messages: "disk.img", "as it is now" */
	struct bow_numbers *numbers; /* shared by both versions */
	uint64_t space;		     /* for numbers: 0, or what keeps the versions apart */
	uint64_t seed;		     /* of hashes */
	const struct bow_changed *changed;
	bool hash_data; /* of all files, since they cannot be read later */
	struct bowimg_events events;
	int mount_fd; /* -1: no longer mounted */

	struct bow_tree_file *files; /* the root first */
	size_t n_files, room_files, n_dirs;
	uint32_t *index; /* by number: place in files + 1 */
	size_t room_index;
	struct bow_tree_entry *entries; /* those of a directory lie together */
	size_t n_entries, room_entries;
	struct bow_arena names;
};

/* So many files and their names take a few GiB of memory; an honest disk has fewer. */
#define BOW_TREE_FILES_MAX (1u << 25)

int bow_tree_read(struct bow_tree *t, struct bowimg_error *err);
void bow_tree_release(struct bow_tree *t);
/* NULL: there is no such file. */
const struct bow_tree_file *bow_tree_find(const struct bow_tree *t, uint32_t number);

/* ---- file.c ---------------------------------------------------------------------- */

/* Returns `code`, a negative errno; the message names the file. */
int bow_tree_fail(const struct bow_tree *t, const struct bow_tree_file *f, int code,
		  const char *what, struct bowimg_error *err);

/* Returns a descriptor. No link on the way is followed. */
int bow_tree_open(const struct bow_tree *t, const struct bow_tree_file *f, int flags,
		  struct bowimg_error *err);
/* Fill in attrs, data and is_placed. */
int bow_tree_examine(const struct bow_tree *t, struct bow_tree_file *f, struct bowimg_error *err);
int bow_tree_attrs(const struct bow_tree *t, const struct bow_tree_file *f, struct bow_attrs *out,
		   struct bowimg_error *err);
/* NUL-terminated, to be freed. */
int bow_tree_target(const struct bow_tree *t, const struct bow_tree_file *f, char **out,
		    struct bowimg_error *err);

#endif
