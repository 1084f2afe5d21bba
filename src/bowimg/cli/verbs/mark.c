/* SPDX-License-Identifier: MIT */
/* bowimg mark: give the state of the disk a name to go back to; list the names, take one away. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "lib/base/show.h"
#include "bowimg/cli/marks.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/size.h"
#include "bowimg/cli/waiting.h"

/* ---- make, delete ---------------------------------------------------------------- */

/* Frees the value. */
static int print_json(struct bow_cli *cli, json_t *value)
{
	int ret = value ? bow_cli_put_json(value, stdout, JSON_INDENT(2)) : -1;

	json_decref(value);
	if (ret && !ferror(stdout))
		return bow_cli_error(cli, -ENOMEM, NULL, "cannot print the mark: out of memory");
	putchar('\n');
	return BOW_EXIT_DONE;
}

static int print_made(struct bow_cli *cli, const struct bowimg_mark *m)
{
	if (cli->json)
		return print_json(cli, json_pack("{s:s,s:I,s:I}", "name", m->name, "made-at",
						 (json_int_t)m->made_at, "record",
						 (json_int_t)m->record));
	bow_cli_print(cli, "%s: marked '%s'; back to it: bowimg rollback --to=%s %s", cli->image,
		      m->name, m->name, BOW_WORD(cli->image));
	return BOW_EXIT_DONE;
}

static int make(struct bow_cli *cli, const char *name, unsigned force)
{
	const struct bowimg_options call = bow_cli_call(cli, force);
	struct bowimg_mark made = {0};
	struct bowimg_error err = {0};
	int ret = bowimg_mark_make(cli->image, name, &call, &made, &err);

	return ret ? bow_cli_fail(cli, ret, &err) : print_made(cli, &made);
}

static int take_away(struct bow_cli *cli, const char *name, unsigned force)
{
	const struct bowimg_options call = bow_cli_call(cli, force);
	struct bowimg_error err = {0};
	int ret = bowimg_mark_delete(cli->image, name, &call, &err);

	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (cli->json)
		return print_json(cli, json_pack("{s:s}", "deleted", name));
	bow_cli_print(cli, "%s: the mark '%s' is gone; the disk is as it was", cli->image, name);
	return BOW_EXIT_DONE;
}

/* ---- list ------------------------------------------------------------------------ */

static void print_row(struct bow_cli *cli, const struct bowimg_mark *m)
{
	time_t made_at = (time_t)m->made_at;
	char when[64] = "at an unknown time";
	struct tm tm;

	if (localtime_r(&made_at, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	bow_cli_print(cli, "%-24s %-19s %14s %14s", m->name, when,
		      bow_cli_human(m->changed_bytes).text, bow_cli_human(m->backup_bytes).text);
}

static int list(struct bow_cli *cli, unsigned force)
{
	struct bow_marks marks;
	struct bowimg_error err = {0};
	int ret = bow_marks_read(cli, force, &marks, &err);

	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (cli->json)
		return print_json(cli, bow_marks_json(&marks));
	if (marks.count)
		bow_cli_print(cli, "%-24s %-19s %14s %14s", "mark", "made", "changed since",
			      "backups since");
	else
		bow_cli_print(cli, "%s: no marks", cli->image);
	for (unsigned i = 0; i < marks.count; i++)
		print_row(cli, &marks.list[i]);
	return BOW_EXIT_DONE;
}

/* ---- the verb -------------------------------------------------------------------- */

static int check(struct bow_cli *cli, bool deletes, bool lists, const char *name)
{
	if (deletes && lists)
		return bow_cli_usage(cli, "--delete and --list cannot be combined");
	if (lists && name)
		return bow_cli_usage(cli, "unexpected argument '%s'; expected: IMAGE", name);
	if (!lists && !name)
		return bow_cli_usage(cli, "missing argument; expected: IMAGE NAME");
	return lists ? 0 : bow_mark_check(cli, "NAME", name);
}

int bow_verb_mark(int argc, char **argv)
{
	struct bow_cli cli = {0};
	bool deletes = false, lists = false;
	unsigned force = 0;
	const struct bow_cli_option options[] = {
		{"list", 0, BOW_CLI_FLAG, &lists, 0, NULL},
		{"delete", 0, BOW_CLI_FLAG, &deletes, 0, NULL},
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_FORCE(&force),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE [NAME]");
	if (status)
		return status;
	const char *name = cli.operand_count > 1 ? cli.operands[1] : NULL;
	status = check(&cli, deletes, lists, name);
	if (status)
		return status;
	if (lists)
		return list(&cli, force);
	return deletes ? take_away(&cli, name, force) : make(&cli, name, force);
}
