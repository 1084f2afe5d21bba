/* SPDX-License-Identifier: MIT */
/* bowimg diff --files --summary: how many paths, and which are the biggest. */
#ifndef BOW_PRINT_SUMMARY_H
#define BOW_PRINT_SUMMARY_H

#include "bowimg/cli/print/diff.h"

enum { BOW_SUMMARY_BIGGEST = 3 };

struct bow_summary_item {
	char *path, *place; /* place: its partition, or NULL */
	enum bow_diff_kind kind;
	uint64_t bytes;
};

/* Filled with zeros it is empty. */
struct bow_summary {
	uint64_t count[4]; /* by enum bow_diff_kind */
	struct bow_summary_item biggest[BOW_SUMMARY_BIGGEST];
	size_t n;
};

/* `place` may be NULL. 0 or -ENOMEM. */
int bow_summary_add(struct bow_summary *s, const struct bow_diff_item *i, const char *place);
void bow_summary_free(struct bow_summary *s);

/* As text or JSON, with the bytes of the ranges that were written. 0 or -errno. */
int bow_summary_print(const struct bow_summary *s, struct bow_diff_run *run,
		      struct bowimg_error *err);

#endif
