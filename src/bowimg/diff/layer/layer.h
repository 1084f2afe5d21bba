/* SPDX-License-Identifier: MIT */
/*
 * What changed, as a layer of a container image: a tar archive. Unpacked over the old files, with
 * its whiteouts obeyed, it gives the new ones.
 */
#ifndef BOW_DIFF_LAYER_LAYER_H
#define BOW_DIFF_LAYER_LAYER_H

#include "bowimg/diff/diff.h"

struct bow_layer_report {
	uint64_t entries;   /* files, directories and so on, with those above them */
	uint64_t whiteouts; /* opaque directories included */
	uint64_t left_out;  /* what tar cannot hold; each was a notice */
};

/* Does the suffix say how to compress? */
bool bow_layer_knows(const char *file);
#define BOW_LAYER_SUFFIXES ".tar, .tar.gz, .tar.xz, .tar.zst"

/*
 * Write it; `d` was made with all_links. It gets its name when it is complete: if this fails,
 * `file` is what it was. -ENOSPC: no room; -EOPNOTSUPP: unknown suffix.
 */
int bow_layer_write(struct bow_diff *d, const char *file, struct bow_layer_report *report,
		    struct bowimg_error *err);

#endif
