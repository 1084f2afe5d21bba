/* SPDX-License-Identifier: MIT */
/* The table of partitions that prepare prints. */
#ifndef BOW_PRINT_PARTITIONS_H
#define BOW_PRINT_PARTITIONS_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

struct bow_part_table {
	uint32_t count;
	struct bowimg_partition rows[BOWIMG_PARTITIONS_MAX];
};

/* For bowimg_prepare_options: collects rows; ctx is a struct bow_part_table. */
void bow_part_table_add(void *ctx, const struct bowimg_partition *p);

struct json_t;
/* A JSON array of objects, or NULL: out of memory. */
struct json_t *bow_part_table_json(const struct bow_part_table *table);

/* One line each: what it is, how much of it is free, from where that is known, or why not. */
void bow_part_table_print(struct bow_cli *cli, const struct bow_part_table *table);

/* Where no space was found, and why, as warnings. */
void bow_part_table_warn(struct bow_cli *cli, const struct bow_part_table *table);

#endif
