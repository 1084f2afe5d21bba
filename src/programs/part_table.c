/* SPDX-License-Identifier: MIT */
/* The table of partitions that prepare prints. */
#include "programs/part_table.h"

void bow_part_table_add(void *ctx, const struct bowimg_partition *p)
{
	struct bow_part_table *table = ctx;

	if (table->count < BOWIMG_PARTITIONS_MAX)
		table->rows[table->count++] = *p;
}

void bow_part_table_say(struct bow_cli *cli, const struct bow_part_table *table)
{
	if (table->count)
		bow_cli_say(cli, "  partition  %-12s %10s %10s  %s", "type", "size", "free",
			    "source");
	for (uint32_t i = 0; i < table->count; i++) {
		const struct bowimg_partition *p = &table->rows[i];

		bow_cli_say(
			cli, "  %9u  %-12.20s %10s %10s  %s%s", p->number,
			p->content[0] ? p->content : "unknown", bow_cli_human(p->bytes).text,
			p->source[0] ? bow_cli_human(p->free_bytes).text : "-",
			p->source[0] ? p->source : "none, all of it counts as used: ", p->why_not);
	}
}
