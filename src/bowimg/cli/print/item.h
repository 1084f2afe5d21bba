/* SPDX-License-Identifier: MIT */
/* One path that changed, on standard output. Returns 0 or -ENOMEM. */
#ifndef BOW_PRINT_ITEM_H
#define BOW_PRINT_ITEM_H

#include "bowimg/diff/diff.h"

/* "added", "deleted", "modified", "renamed". */
const char *bow_item_kind_name(enum bow_diff_kind kind);

/* A path as it is shown: what is no printable text as \xNN. To be freed; NULL: out of memory. */
char *bow_item_escape(const char *path);

/* A line for people; what a terminal would obey is escaped. */
int bow_item_print(const struct bow_diff_item *i);

/* An object of a JSON array that `first` begins; `place`: its partition, or NULL. */
int bow_item_print_json(const struct bow_diff_item *i, const char *place, bool first);

#endif
