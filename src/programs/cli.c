/* SPDX-License-Identifier: MIT */
/* Options of the verbs: a table of rows becomes one getopt_long() call. */
#include "programs/cli.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 24, LONG_BASE = 256 };

const struct bow_cli_choice bow_cli_force[] = {
	{"changed", BOWIMG_FORCE_CHANGED},
	{NULL, 0},
};

const struct bow_cli_choice bow_cli_durability[] = {
	{"power", BOWIMG_DURABILITY_POWER},
	{"process", BOWIMG_DURABILITY_PROCESS},
	{NULL, 0},
};

/* The table in getopt's words. Long options return LONG_BASE + row, short ones their letter. */
struct getopt_tables {
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 2];
};

static bool has_argument(const struct bow_cli_option *row)
{
	return row->kind >= BOW_CLI_STRING;
}

static void build_tables(const struct bow_cli_option *options, struct getopt_tables *out)
{
	char *s = out->shorts;
	int n_long = 0;

	*s++ = ':'; /* tell a missing argument from an unknown option */
	for (int row = 0; options[row].kind; row++) {
		assert(row < OPTIONS_MAX);
		if (options[row].letter) {
			*s++ = options[row].letter;
			if (has_argument(&options[row]))
				*s++ = ':';
		}
		if (options[row].name) {
			out->longs[n_long].name = options[row].name;
			out->longs[n_long].has_arg = has_argument(&options[row]);
			out->longs[n_long++].val = LONG_BASE + row;
		}
	}
	*s = '\0';
}

static int find_row(const struct bow_cli_option *options, int found)
{
	int row = 0;

	if (found >= LONG_BASE)
		return found - LONG_BASE;
	while (options[row].kind && options[row].letter != found)
		row++;
	return row;
}

static void list_choices(const struct bow_cli_choice *choices, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (; choices->name && used < bytes; choices++)
		used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "",
					 choices->name);
}

static int set_choice(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	char names[128];

	for (const struct bow_cli_choice *c = row->choices; c->name; c++) {
		if (strcmp(c->name, argument) != 0)
			continue;
		if (row->kind == BOW_CLI_BITS)
			*(unsigned *)row->dest |= (unsigned)c->value;
		else
			*(int *)row->dest = c->value;
		return 0;
	}
	list_choices(row->choices, names, sizeof(names));
	return bow_cli_usage(cli, "--%s=%s is not known; it can be: %s", row->name, argument,
			     names);
}

static int set_number(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	char *end;

	errno = 0;
	unsigned long value = strtoul(argument, &end, 10);
	if (argument[0] < '0' || argument[0] > '9' || *end || errno || value > UINT_MAX)
		return bow_cli_usage(cli, "--%s wants a number, not '%s'", row->name, argument);
	*(unsigned *)row->dest = (unsigned)value;
	return 0;
}

static int set_option(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	switch (row->kind) {
	case BOW_CLI_FLAG:
		*(bool *)row->dest = true;
		return 0;
	case BOW_CLI_COUNT:
		*(unsigned *)row->dest += 1;
		return 0;
	case BOW_CLI_VALUE:
		*(int *)row->dest = row->value;
		return 0;
	case BOW_CLI_STRING:
		*(const char **)row->dest = argument;
		return 0;
	case BOW_CLI_NUMBER:
		return set_number(cli, row, argument);
	case BOW_CLI_CHOICE:
	case BOW_CLI_BITS:
		return set_choice(cli, row, argument);
	}
	return 0;
}

/* getopt refused argv[optind - 1] (long) or the letter optopt. */
static int refuse_option(struct bow_cli *cli, char **argv, int found)
{
	bool is_long = optopt == 0 || optopt >= LONG_BASE;
	char letter[3] = {'-', (char)optopt, '\0'};
	const char *name = is_long ? argv[optind - 1] : letter;

	if (found == ':')
		return bow_cli_usage(cli, "option '%s' needs an argument", name);
	if (optopt >= LONG_BASE)
		return bow_cli_usage(cli, "option '%s' takes no argument", name);
	return bow_cli_usage(cli, "there is no option '%s'", name);
}

/* Where "--" stands, or argc. */
static int find_dashes(int argc, char **argv)
{
	int i = 1;

	while (i < argc && strcmp(argv[i], "--") != 0)
		i++;
	return i;
}

/* An error in an earlier option should already come as JSON if the caller wants that. */
static bool wants_json(int end, char **argv, const struct bow_cli_option *options)
{
	bool known = false;

	for (; options->kind; options++)
		known = known || (options->name && strcmp(options->name, "json") == 0);
	for (int i = 1; i < end; i++)
		if (known && strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

int bow_cli_parse(struct bow_cli *cli, int argc, char **argv, const struct bow_cli_option *options)
{
	struct getopt_tables tables = {0};
	int dashes = find_dashes(argc, argv);
	int end = cli->takes_command ? dashes : argc;
	int found;

	cli->verb = argv[0];
	cli->json = wants_json(dashes, argv, options);
	build_tables(options, &tables);
	opterr = 0;
	optind = 0; /* GNU: start anew */
	while ((found = getopt_long(end, argv, tables.shorts, tables.longs, NULL)) != -1) {
		if (found == '?' || found == ':')
			return refuse_option(cli, argv, found);
		int status = set_option(cli, &options[find_row(options, found)], optarg);
		if (status)
			return status;
	}
	cli->operands = argv + optind;
	cli->operand_count = end - optind;
	if (cli->takes_command && dashes < argc) {
		cli->command = argv + dashes + 1;
		cli->command_count = argc - dashes - 1;
	}
	return 0;
}

int bow_cli_want_operands(struct bow_cli *cli, int min, int max, const char *what)
{
	if (cli->operand_count < min)
		return bow_cli_usage(cli, "%s is missing", what);
	if (cli->operand_count > max)
		return bow_cli_usage(cli, "'%s' is one operand too many; wanted: %s",
				     cli->operands[max], what);
	for (int i = 0; i < cli->operand_count; i++)
		if (!cli->operands[i][0])
			return bow_cli_usage(cli, "an empty operand; wanted: %s", what);
	return 0;
}
