/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/prepare.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#include "lib/base/show.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/print/budget.h"
#include "bowimg/cli/size.h"

static bool grows_at_once(const struct bowimg_prepare_report *r)
{
	return r->store_tail || (!r->free_left_bytes && r->on_full == BOWIMG_ON_FULL_TAIL);
}

static void print_short(struct bow_cli *cli, const struct bowimg_prepare_report *r)
{
	bow_cli_print(cli, "  undo       %s",
		      r->exact ? "the whole image, byte for byte"
			       : "every block that is in use; free blocks may differ");
	if (grows_at_once(r))
		bow_cli_print(cli,
			      "  space      past the end of the file, which grows until the "
			      "checkpoint ends%s",
			      bow_budget_host("; ", &r->budget).text);
	else if (r->budget.by_host)
		bow_cli_print(cli, "  space      %s for backups and new data%s: then writes fail",
			      bow_cli_human(r->budget.left_bytes).text,
			      bow_budget_host("; ", &r->budget).text);
	else
		bow_cli_print(cli, "  space      %s for backups and new data; then %s",
			      bow_cli_human(r->free_left_bytes).text,
			      r->on_full == BOWIMG_ON_FULL_TAIL ? "the file grows" : "writes fail");
}

static void print_budget(struct bow_cli *cli, const struct bowimg_prepare_report *r)
{
	if (grows_at_once(r))
		bow_cli_print(cli,
			      "  budget     the free space of the host's disk: backups go past the "
			      "image's end%s",
			      bow_budget_host("; ", &r->budget).text);
	else
		bow_cli_print(cli,
			      "  budget     %s of free blocks, shared by backups and by new data%s",
			      bow_cli_human(r->budget.left_bytes).text,
			      r->budget.by_host ? bow_budget_host("; ", &r->budget).text : "");
	bow_cli_print(cli, "  when full  %s",
		      r->on_full == BOWIMG_ON_FULL_TAIL
			      ? "backups go past the image's end; the file grows until the "
				"checkpoint ends"
			      : "writes fail with \"no space left\"; rollback still works");
}

static void print_all(struct bow_cli *cli, const struct bowimg_prepare_report *r)
{
	bow_cli_print(cli, "  found      %s, %s", r->what, bow_cli_human(r->image_size).text);
	bow_cli_print(cli, "  free map   from %s%s%s%s: %s free, %s of it in whole %u-byte blocks",
		      r->free_source, r->why_source[0] ? " (" : "", r->why_source,
		      r->why_source[0] ? ")" : "", bow_cli_human(r->fs_free_bytes).text,
		      bow_cli_human(r->free_total_bytes).text, BOWIMG_BLOCK_SIZE);
	bow_cli_print(cli, "  rollback   %s (%s)",
		      r->exact ? "exact: the whole image as it is now, byte for byte"
			       : "not exact: every used block comes back, free blocks may differ",
		      r->why_exact);
	print_budget(cli, r);
}

static void print_report(struct bow_cli *cli, const struct bowimg_prepare_report *r,
			 const struct bow_part_table *table)
{
	if (cli->verbose)
		print_all(cli, r);
	else
		print_short(cli, r);
	bow_part_table_print(cli, table);
	if (r->checked[0])
		bow_cli_print(cli, "  checked    by %s, which found nothing wrong", r->checked);
}

/* The same as one object, for scripts. */
int bow_prepare_print_json(struct bow_cli *cli, const struct bowimg_prepare_report *r,
			   const struct bow_part_table *table, bool dry_run)
{
	json_t *root = json_pack(
		"{s:s,s:o,s:b,s:I,s:o,s:s,s:s?,s:b,s:s,s:s,s:I,s:I,s:I,s:o}", "version",
		bowimg_version(), "image", bow_cli_json_text(cli->image), "dry-run", dry_run,
		"virtual-size", (json_int_t)r->image_size, "found", bow_cli_json_text(r->what),
		"free-source", r->free_source, "checked", r->checked[0] ? r->checked : NULL,
		"exact", r->exact, "store", r->store_tail ? "tail" : "free", "on-full",
		r->on_full == BOWIMG_ON_FULL_TAIL ? "tail" : "stop", "fs-free-bytes",
		(json_int_t)r->fs_free_bytes, "free-total-bytes", (json_int_t)r->free_total_bytes,
		"free-left-bytes", (json_int_t)r->free_left_bytes, "partitions",
		bow_part_table_json(table));
	json_t *budget = bow_budget_json(&r->budget);
	int status = BOW_EXIT_DONE;

	if (!root || json_object_update(root, budget) != 0 ||
	    bow_cli_put_json(root, stdout, JSON_INDENT(2)) != 0)
		status = bow_cli_error(cli, -ENOMEM, NULL,
				       "cannot print the report on %s: out of memory", cli->image);
	putchar('\n');
	json_decref(budget);
	json_decref(root);
	return status;
}

void bow_prepare_warn(struct bow_cli *cli, const struct bowimg_prepare_report *r)
{
	if (r->budget.by_host && !grows_at_once(r))
		bow_cli_warn(cli,
			     "%s, less than the free space of %s needs: writes fail when that is "
			     "used up",
			     bow_budget_host("", &r->budget).text, cli->image);
}

static void print_next(struct bow_cli *cli, const char *image, bool partitioned)
{
	char word[BOW_SHOWN_MAX(PATH_MAX)];
	const char *name = bow_shell_word(word, sizeof(word), image);

	bow_cli_print(cli, "From now on, change the disk through bowimg only. Next:");
	bow_cli_print(cli, "  bowimg mount %s%s DIR", partitioned ? "-p N " : "", name);
	bow_cli_print(cli, "and at the end one of:");
	bow_cli_print(cli, "  bowimg rollback %s", name);
	bow_cli_print(cli, "  bowimg commit %s", name);
}

void bow_prepare_print(struct bow_cli *cli, const struct bowimg_prepare_report *r,
		       const struct bow_part_table *table, bool dry_run)
{
	bow_cli_print(cli,
		      dry_run ? "dry run: %s: nothing was changed; prepare would open a checkpoint "
				"on %s, %s"
			      : "%s: checkpoint opened on %s, %s",
		      cli->image, r->what, bow_cli_human(r->image_size).text);
	print_report(cli, r, table);
	if (!dry_run)
		print_next(cli, cli->image, table->count > 0);
}
