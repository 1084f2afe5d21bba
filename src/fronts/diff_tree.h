/* SPDX-License-Identifier: MIT */
/*
 * The comparison of files by mounting both sides:
 *
 *   diff_tree_open.c   mounting and listing them
 *   diff_tree.c        what the comparison asks
 */
#ifndef BOW_FRONTS_DIFF_TREE_H
#define BOW_FRONTS_DIFF_TREE_H

#include "fronts/diff_private.h"
#include "fronts/tree_data.h"
#include "fronts/views.h"

struct bow_diff_trees {
	struct bow_views *views;
	struct bow_numbers numbers;
	struct bow_tree tree[BOW_SIDES];
	bool hashed; /* all content, because only one side is mounted at a time */
};

int bow_diff_tree_open(struct bow_diff *d, bool *same, struct bowimg_error *err);
void bow_diff_tree_close(struct bow_diff *d);

#endif
