/* SPDX-License-Identifier: MIT */
/* bowimg prepare: open a checkpoint, and say what it can carry. */
#include "programs/cli.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "programs/part_table.h"
#include "fronts/lend.h"
#include "programs/prepare_trim.h"

static const struct bow_cli_choice stores[] = {
	{"free", BOWIMG_STORE_FREE},
	{"tail", BOWIMG_STORE_TAIL},
	{NULL, 0},
};

static const struct bow_cli_choice on_fulls[] = {
	{"stop", BOWIMG_ON_FULL_STOP},
	{"tail", BOWIMG_ON_FULL_TAIL},
	{NULL, 0},
};

static void say_exactness(struct bow_cli *cli, const struct bowimg_prepare_report *r)
{
	bow_cli_say(cli, "  rollback   %s (%s)",
		    r->exact ? "exact: the whole image as it is now, byte for byte"
			     : "not exact: every used block comes back, free blocks may differ",
		    r->why_exact);
}

static void say_budget(struct bow_cli *cli, const struct bowimg_prepare_report *r)
{
	struct bow_cli_size left = bow_cli_human(r->free_left_bytes);

	if (r->store_tail || (r->free_left_bytes == 0 && r->on_full == BOWIMG_ON_FULL_TAIL))
		bow_cli_say(cli,
			    "  budget     as much as the host's disk holds: backups go past the "
			    "image's end");
	else
		bow_cli_say(cli,
			    "  budget     %s of free blocks, shared by backups and by new data",
			    left.text);
	bow_cli_say(cli, "  when full  %s",
		    r->on_full == BOWIMG_ON_FULL_TAIL
			    ? "backups go on past the image's end; the file grows until then"
			    : "writes fail with \"no space left\"; rollback still works");
}

static void say_report(struct bow_cli *cli, const struct bowimg_prepare_report *r,
		       const struct bow_part_table *table)
{
	bow_cli_say(cli, "  found      %s, %s", r->what, bow_cli_human(r->image_size).text);
	bow_cli_say(cli, "  free map   from %s%s%s%s: %s free, %s of it in whole %u-byte blocks",
		    r->free_source, r->why_source[0] ? " (" : "", r->why_source,
		    r->why_source[0] ? ")" : "", bow_cli_human(r->fs_free_bytes).text,
		    bow_cli_human(r->free_total_bytes).text, BOWIMG_BLOCK_SIZE);
	bow_part_table_say(cli, table);
	say_exactness(cli, r);
	say_budget(cli, r);
}

/* The same as one object, for scripts. */
static int print_json(struct bow_cli *cli, const struct bowimg_prepare_report *r,
		      const struct bow_part_table *table, bool dry_run)
{
	json_t *root = json_pack("{s:s,s:o,s:b,s:I,s:o,s:s,s:b,s:s,s:s,s:I,s:I,s:I,s:o}", "version",
				 bowimg_version(), "image", bow_cli_json_text(cli->operands[0]),
				 "dry-run", dry_run, "virtual-size", (json_int_t)r->image_size,
				 "found", bow_cli_json_text(r->what), "free-source", r->free_source,
				 "exact", r->exact, "store", r->store_tail ? "tail" : "free",
				 "on-full", r->on_full == BOWIMG_ON_FULL_TAIL ? "tail" : "stop",
				 "fs-free-bytes", (json_int_t)r->fs_free_bytes, "free-total-bytes",
				 (json_int_t)r->free_total_bytes, "free-left-bytes",
				 (json_int_t)r->free_left_bytes, "partitions",
				 bow_part_table_json(table));
	int status = BOW_EXIT_DONE;

	if (!root || json_dumpf(root, stdout, JSON_INDENT(2)) != 0)
		status = bow_cli_error(cli, -ENOMEM, NULL, "prepare %s: no memory for the answer",
				       cli->operands[0]);
	putchar('\n');
	json_decref(root);
	return status;
}

static void say_next(struct bow_cli *cli, const char *image, bool partitioned)
{
	struct bow_cli_quoted quoted;
	const char *name = bow_cli_quote(&quoted, image);

	bow_cli_say(cli,
		    "Everything that writes to the disk must now go through bowimg (mount, attach, "
		    "run). Next:");
	bow_cli_say(cli, "  bowimg mount %s%s DIR", partitioned ? "-p N " : "", name);
	bow_cli_say(cli, "and in the end one of:");
	bow_cli_say(cli, "  bowimg rollback %s", name);
	bow_cli_say(cli, "  bowimg commit %s", name);
}

static int prepare(struct bow_cli *cli, const struct bowimg_prepare_options *opts,
		   const struct bow_part_table *table)
{
	const char *image = cli->operands[0];
	struct bowimg_prepare_report report = {0};
	struct bowimg_error err = {0};
	int ret;

	if (cli->command) {
		ret = bow_prepare_by_command(cli, opts, &report);
		if (ret)
			return ret;
	} else {
		ret = bowimg_prepare(image, opts, &report, &err);
		if (ret == -ENOSPC)
			bow_part_table_warn(cli, table);
		if (ret)
			return bow_cli_fail(cli, ret, &err);
	}
	if (cli->json)
		return print_json(cli, &report, table, opts->dry_run);
	bow_cli_say(cli,
		    opts->dry_run ? "%s: nothing was changed; prepare would open a checkpoint:"
				  : "%s: checkpoint opened",
		    image);
	say_report(cli, &report, table);
	if (!opts->dry_run)
		say_next(cli, image, table->count > 0);
	return BOW_EXIT_DONE;
}

/* A command can follow only with the source that needs one; else "--" ends the options. */
static bool names_trim(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--free-from=trim") == 0 ||
		    (strcmp(argv[i], "--free-from") == 0 && i + 1 < argc &&
		     strcmp(argv[i + 1], "trim") == 0))
			return true;
	return false;
}

static int check_command(struct bow_cli *cli)
{
	if (!cli->command || cli->command_count > 0)
		return 0;
	return bow_cli_usage(cli, "a command must follow --: IMAGE -- COMMAND [ARG...]");
}

int bow_cmd_prepare(int argc, char **argv)
{
	struct bow_cli cli = {.takes_command = names_trim(argc, argv)};
	struct bow_part_table table = {0};
	struct bowimg_prepare_options opts = {.partition = bow_part_table_add,
					      .partition_ctx = &table};
	int exact = BOWIMG_DEFAULT, store = BOWIMG_STORE_FREE, on_full = BOWIMG_ON_FULL_DEFAULT;
	const struct bow_cli_option options[] = {
		{"free-from", 0, BOW_CLI_STRING, &opts.free_from, 0, NULL},
		{"exact", 0, BOW_CLI_VALUE, &exact, BOWIMG_YES, NULL},
		{"no-exact", 0, BOW_CLI_VALUE, &exact, BOWIMG_NO, NULL},
		{"store", 0, BOW_CLI_CHOICE, &store, 0, stores},
		{"on-full", 0, BOW_CLI_CHOICE, &on_full, 0, on_fulls},
		{"dry-run", 'n', BOW_CLI_FLAG, &opts.dry_run, 0, NULL},
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")) ||
	    (status = check_command(&cli)))
		return status;
	if (!cli.command)
		bow_cli_ignore_sigpipe();
	opts.exact = (enum bowimg_choice)exact;
	opts.store = (enum bowimg_store)store;
	opts.on_full = (enum bowimg_on_full)on_full;
	opts.events = bow_cli_events(&cli);
	opts.events.helpers = &bow_lend_helpers;
	return prepare(&cli, &opts, &table);
}
