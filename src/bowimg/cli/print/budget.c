/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/budget.h"

#include <jansson.h>
#include <stdio.h>

#include "bowimg/cli/size.h"

struct bow_budget_text bow_budget_host(const char *before, const struct bowimg_budget *b)
{
	struct bow_budget_text t = {""};

	if (b->host_known)
		snprintf(t.text, sizeof(t.text), "%sthe host has %s left", before,
			 bow_cli_human(b->host_left_bytes).text);
	return t;
}

/* Null where it is not known. */
static json_t *number(bool known, uint64_t bytes)
{
	return known ? json_integer((json_int_t)bytes) : json_null();
}

json_t *bow_budget_json(const struct bowimg_budget *b)
{
	const char *limit = b->by_host ? "host" : "image";

	return json_pack("{s:o,s:s?,s:o}", "budget-bytes", number(b->known, b->left_bytes),
			 "budget-limit", b->known ? limit : NULL, "host-left-bytes",
			 number(b->host_known, b->host_left_bytes));
}
