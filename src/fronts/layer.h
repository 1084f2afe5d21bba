/* SPDX-License-Identifier: MIT */
/*
 * What changed, as an archive that is a layer of a container image: unpacked over the files as they
 * were, and with its whiteouts obeyed, it gives the files as they are.
 */
#ifndef BOW_FRONTS_LAYER_H
#define BOW_FRONTS_LAYER_H

#include "fronts/diff.h"

struct bow_layer_report {
	uint64_t entries;   /* files, directories and so on; those only on the way included */
	uint64_t whiteouts; /* opaque directories included */
	uint64_t left_out;  /* what the format cannot hold; each was a notice */
};

/* Can an archive of this name be written, by its suffix? */
bool bow_layer_knows(const char *file);
#define BOW_LAYER_SUFFIXES ".tar, .tar.gz, .tar.xz, .tar.zst, .cpio, .zip"

/*
 * Write it; `d` was made with all_links. It gets its name when it is complete: where this fails,
 * `file` is what it was. -ENOSPC: no room; -EOPNOTSUPP: unknown suffix, or the format cannot hold
 * one of the files.
 */
int bow_layer_write(struct bow_diff *d, const char *file, struct bow_layer_report *report,
		    struct bowimg_error *err);

#endif
