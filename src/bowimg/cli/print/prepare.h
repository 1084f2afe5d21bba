/* SPDX-License-Identifier: MIT */
/* What prepare found, and what the checkpoint can carry; for people or as JSON. */
#ifndef BOW_PRINT_PREPARE_H
#define BOW_PRINT_PREPARE_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"
#include "bowimg/cli/print/partitions.h"

void bow_prepare_print(struct bow_cli *cli, const struct bowimg_prepare_report *r,
		       const struct bow_part_table *table, bool dry_run);

/* Warn if the host ends before the image's free space does. */
void bow_prepare_warn(struct bow_cli *cli, const struct bowimg_prepare_report *r);

/* Returns the exit status. */
int bow_prepare_print_json(struct bow_cli *cli, const struct bowimg_prepare_report *r,
			   const struct bow_part_table *table, bool dry_run);

#endif
