/* SPDX-License-Identifier: MIT */
/* What `bowimg diff` prints: ranges (diff_ranges.c), files (diff_files.c). */
#ifndef BOW_PROGRAMS_DIFF_REPORT_H
#define BOW_PROGRAMS_DIFF_REPORT_H

#include "fronts/diff.h"
#include "programs/cli.h"

/* A part of the disk that has a name of its own (diff_places.c). */
struct bow_place {
	char name[16];	  /* the partition's number; "" if the disk has no partitions */
	char content[32]; /* "ext4", ... or "" */
	bool can_compare; /* its files; found by diff_files.c, as is: */
	struct bowimg_error why_not;
	uint64_t off, bytes;
	uint64_t changed_bytes, was_free_bytes, zeroed_bytes; /* counted by diff_ranges.c */
};

struct bow_places {
	struct bow_place *v;
	size_t n, room;
};

/* What is on the disk as it is now: one place, or one for each partition, in ascending order. */
int bow_places_list(const char *image, uint64_t size, struct bow_places *out,
		    struct bowimg_error *err);
/* Keep the one of this name only; false: there is none. */
bool bow_places_keep(struct bow_places *places, const char *name);
void bow_places_free(struct bow_places *places);

/* One run of the verb. */
struct bow_diff_run {
	struct bow_cli *cli;
	const char *image;
	bowimg_look *look;
	struct bow_diff_source source;
	struct bow_places places;
	const char *tar, *partition;
	bool files;
};

/* These return the exit status: 0 no difference, 1 some, or that of a failure. */
int bow_diff_ranges(struct bow_diff_run *run);
int bow_diff_list_files(struct bow_diff_run *run);

/* diff_text.c: a path for a terminal or a JSON string, escaped; to be freed, NULL: no memory. */
char *bow_diff_escape(const char *path);

#endif
