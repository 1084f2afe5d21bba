/* SPDX-License-Identifier: MIT */
/* Inside the archive writer: the plan (layer_plan.c), entries (layer_entry.c), the file (layer.c).
 */
#ifndef BOW_FRONTS_LAYER_PRIVATE_H
#define BOW_FRONTS_LAYER_PRIVATE_H

#include <archive.h>
#include <archive_entry.h>

#include "fronts/diff_private.h"
#include "fronts/layer.h"

/* One entry of the archive. */
struct bow_layer_entry {
	/* The order: a directory's own entry, then what it hides, then what is in it. */
	const char *key;      /* the path; of what is hidden: the directory's, with "/" behind it */
	const char *whiteout; /* the name of the marker in that directory, or NULL */
	uint32_t ino;	      /* 0 for a marker */
	const struct bow_layer_entry *link; /* another name of this inode comes first */
};

struct bow_layer_plan {
	struct bow_layer_entry *v; /* sorted; no path twice */
	size_t n, room;
	uint64_t left_out;
};

struct bow_layer_format {
	const char *suffix;
	int (*format)(struct archive *a);
	int (*filter)(struct archive *a);
	bool is_tar; /* has hard links, devices, attributes */
};

int bow_layer_make_plan(struct bow_diff *d, const struct bow_layer_format *format,
			struct bow_layer_plan *plan, struct bowimg_error *err);

struct bow_layer {
	struct bow_diff *d;
	const struct bow_layer_format *format;
	const char *file; /* the final name, for messages */
	struct archive *archive;
	struct archive_entry *entry; /* reused */
	uint8_t *buf;		     /* BOW_LAYER_CHUNK bytes */
};
#define BOW_LAYER_CHUNK BOW_DATA_CHUNK

int bow_layer_put(struct bow_layer *l, const struct bow_layer_entry *e, struct bowimg_error *err);
/* What libarchive last said, as an error. */
int bow_layer_fail(const struct bow_layer *l, const char *path, struct bowimg_error *err);

#endif
