/* SPDX-License-Identifier: MIT */
/* The state of an image, for people or as JSON. `served` is from bow_served_find(), or NULL. */
#ifndef BOW_PRINT_STATUS_H
#define BOW_PRINT_STATUS_H

#include "bowimg.h"
#include "bowimg/cli/marks.h"
#include "bowimg/serve/list.h"
#include "bowimg/cli/cli.h"

/* In a few lines; with -v, all that is known. */
void bow_status_print(struct bow_cli *cli, const char *image, const struct bowimg_status *s,
		      const struct bow_marks *marks, const struct bow_served *served);

/* ---- status_json.c --------------------------------------------------------------- */

/* Returns the exit status. */
int bow_status_print_json(struct bow_cli *cli, const char *image, const struct bowimg_status *s,
			  const struct bow_marks *marks, const struct bow_served *served);

#endif
