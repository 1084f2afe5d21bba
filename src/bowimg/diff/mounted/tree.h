/* SPDX-License-Identifier: MIT */
/*
 * The comparison of files by mounting both versions:
 *
 *   open.c  mounts and lists them
 *   tree.c  answers the comparison
 */
#ifndef BOW_DIFF_MOUNTED_TREE_H
#define BOW_DIFF_MOUNTED_TREE_H

#include "bowimg/diff/private.h"
#include "bowimg/diff/mounted/data.h"
#include "bowimg/diff/mounted/mount.h"

struct bow_diff_trees {
	struct bow_views *views;
	struct bow_numbers numbers;
	struct bow_tree tree[BOW_VERSIONS];
	bool hashed; /* all content, because only one version can be mounted at a time */
};

int bow_diff_tree_open(struct bow_diff *d, bool *same, struct bowimg_error *err);
void bow_diff_tree_close(struct bow_diff *d);

#endif
