/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/partitions.h"

#include <jansson.h>

#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/size.h"

void bow_part_table_add(void *ctx, const struct bowimg_partition *p)
{
	struct bow_part_table *table = ctx;

	if (table->count < BOWIMG_PARTITIONS_MAX)
		table->rows[table->count++] = *p;
}

void bow_part_table_print(struct bow_cli *cli, const struct bow_part_table *table)
{
	if (table->count)
		bow_cli_print(cli, "  partition  %-12s %10s %10s  %s", "type", "size", "free",
			      "source");
	for (uint32_t i = 0; i < table->count; i++) {
		const struct bowimg_partition *p = &table->rows[i];

		bow_cli_print(
			cli, "  %9u  %-12.20s %10s %10s  %s%s", p->number,
			p->content[0] ? p->content : "unknown", bow_cli_human(p->bytes).text,
			p->source[0] ? bow_cli_human(p->free_bytes).text : "-",
			p->source[0] ? p->source : "none, all of it counts as used: ", p->why_not);
	}
}

void bow_part_table_warn(struct bow_cli *cli, const struct bow_part_table *table)
{
	for (uint32_t i = 0; i < table->count && !cli->json; i++)
		if (table->rows[i].why_not[0])
			bow_cli_warn(cli, "partition %u counts as used: %s", table->rows[i].number,
				     table->rows[i].why_not);
}

static json_t *row(const struct bowimg_partition *p)
{
	return json_pack("{s:i,s:I,s:I,s:s,s:s,s:o,s:o,s:s?,s:I,s:o}", "number", (int)p->number,
			 "offset", (json_int_t)p->off, "size", (json_int_t)p->bytes, "table",
			 p->table, "type", p->type, "name", bow_cli_json_text(p->name), "content",
			 bow_cli_json_text(p->content), "free-source",
			 p->source[0] ? p->source : NULL, "free-bytes", (json_int_t)p->free_bytes,
			 "why-not", p->why_not[0] ? bow_cli_json_text(p->why_not) : json_null());
}

json_t *bow_part_table_json(const struct bow_part_table *table)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; rows && i < table->count; i++) {
		if (json_array_append_new(rows, row(&table->rows[i])) == 0)
			continue;
		json_decref(rows);
		rows = NULL;
	}
	return rows;
}
