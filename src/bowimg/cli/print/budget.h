/* SPDX-License-Identifier: MIT */
/* What backups and new data may still take, and who limits it: for prepare and status. */
#ifndef BOW_PRINT_BUDGET_H
#define BOW_PRINT_BUDGET_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

/* "the host has 30 MiB left", in a printf as bow_cli_human(); "" if that is not known. */
struct bow_budget_text {
	char text[64];
};
struct bow_budget_text bow_budget_host(const char *before, const struct bowimg_budget *b);

/* The keys budget-bytes, budget-limit and host-left-bytes. NULL: out of memory. */
struct json_t;
struct json_t *bow_budget_json(const struct bowimg_budget *b);

#endif
