/* SPDX-License-Identifier: MIT */
/* The two answers of `bowimg diff`. The inside of the room: files.c and ranges.c have one each. */
#ifndef BOW_PRINT_DIFF_H
#define BOW_PRINT_DIFF_H

#include "bowimg/diff/diff.h"
#include "bowimg/cli/cli.h"
#include "bowimg/cli/print/places.h"

/* One run of the verb. */
struct bow_diff_run {
	struct bow_cli *cli;
	const char *image;
	bowimg_disk *now, *before;
	struct bow_diff_source source;
	struct bow_places places;
	const char *tar, *partition;
	const char *mark; /* what was changed since this one; NULL: since prepare */
	bool files, summary;
};

/* These return the exit status: 0 no difference, 1 some, or that of a failure. */
int bow_diff_print_ranges(struct bow_diff_run *run);
int bow_diff_print_files(struct bow_diff_run *run);

#endif
