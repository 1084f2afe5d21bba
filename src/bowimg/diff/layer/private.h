/* SPDX-License-Identifier: MIT */
/* Inside the archive writer: the plan (plan.c), entries (entry.c), the file (write.c). */
#ifndef BOW_DIFF_LAYER_PRIVATE_H
#define BOW_DIFF_LAYER_PRIVATE_H

#include <archive.h>
#include <archive_entry.h>

#include "bowimg/diff/private.h"
#include "bowimg/diff/layer/layer.h"

/* One entry of the archive. */
struct bow_layer_entry {
	/* The order: a directory's own entry, its markers, then its content. */
	const char *key;      /* the path; for a marker the directory's, with "/" behind it */
	const char *whiteout; /* the name of the marker in that directory, or NULL */
	uint32_t ino;	      /* 0 for a marker */
	const struct bow_layer_entry *link; /* another name of this inode comes first */
};

struct bow_layer_plan {
	struct bow_layer_entry *v; /* sorted; no path twice */
	size_t n, room;
	uint64_t left_out;
};

int bow_layer_make_plan(struct bow_diff *d, struct bow_layer_plan *plan, struct bowimg_error *err);

/* ---- acl.c ----------------------------------------------------------------------- */

struct bow_layer_acls {
	char *access, *by_default; /* text, or NULL */
};
/* False: this attribute is no ACL. */
bool bow_layer_acl_take(struct bow_layer_acls *acls, const struct bow_attr *attr);
void bow_layer_acl_release(struct bow_layer_acls *acls);

struct bow_layer {
	struct bow_diff *d;
	const char *file; /* the final name, for messages */
	struct archive *archive;
	struct archive_entry *entry; /* reused */
	struct bow_layer_acls acls;  /* of that entry */
	uint8_t *buf;		     /* BOW_LAYER_CHUNK bytes */
	uint64_t left_out;	     /* attributes; each was a notice */
};
#define BOW_LAYER_CHUNK BOW_DATA_CHUNK

int bow_layer_put(struct bow_layer *l, const struct bow_layer_entry *e, struct bowimg_error *err);
int bow_layer_put_data(struct bow_layer *l, const void *data, size_t bytes,
		       struct bowimg_error *err);

/* ---- pax.c: heads of tar entries ------------------------------------------------- */

#define BOW_PAX_BLOCK 512u

/* Do all readers understand an attribute of this name? */
bool bow_layer_pax_holds_attr(const char *name);
int bow_layer_pax_begin(struct bow_layer *l);
/* Write the head of l->entry. Only the data of a file with holes follows. */
int bow_layer_pax_head(struct bow_layer *l, struct bowimg_error *err);
/*
 * holes.c: the list of the entry's pieces, as text in whole blocks, and the bytes of data in them.
 * NULL: out of memory.
 */
char *bow_layer_pax_map(struct archive_entry *e, size_t *map_bytes, uint64_t *data_bytes);
/* Pad after so many bytes of data. */
int bow_layer_pax_pad(struct bow_layer *l, uint64_t bytes, struct bowimg_error *err);
int bow_layer_pax_end(struct bow_layer *l, struct bowimg_error *err);

/* Returns the last error of libarchive. */
int bow_layer_fail(const struct bow_layer *l, struct bowimg_error *err);

#endif
