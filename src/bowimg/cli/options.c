/* SPDX-License-Identifier: MIT */
/* A table of rows becomes one getopt_long() call. */
#include "bowimg/cli/options.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bowimg.h"
#include "bowimg/cli/guess.h"
#include "bowimg/cli/message.h"

enum { OPTIONS_MAX = 24, LONG_BASE = 256, OUTPUT_JSON = LONG_BASE + OPTIONS_MAX };

const struct bow_cli_choice bow_cli_force[] = {
	{"changed", BOWIMG_FORCE_CHANGED},
	{NULL, 0},
};

/* The table in getopt's words. Long options return LONG_BASE + row, short ones their letter. */
struct getopt_tables {
	struct option longs[OPTIONS_MAX + 2];
	char shorts[2 * OPTIONS_MAX + 2];
};

static int has_argument(const struct bow_cli_option *row)
{
	if (row->kind == BOW_CLI_MAYBE)
		return optional_argument;
	return row->kind >= BOW_CLI_STRING ? required_argument : no_argument;
}

static bool has_row(const struct bow_cli_option *options, const char *name)
{
	for (; options->kind; options++)
		if (options->name && strcmp(options->name, name) == 0)
			return true;
	return false;
}

/* --output=json: what other programs call --json. The output of export is its file. */
static bool takes_output_json(const struct bow_cli_option *options)
{
	return has_row(options, "json") && !has_row(options, "output");
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
			if (has_argument(&options[row]) == required_argument)
				*s++ = ':';
		}
		if (options[row].name) {
			out->longs[n_long].name = options[row].name;
			out->longs[n_long].has_arg = has_argument(&options[row]);
			out->longs[n_long++].val = LONG_BASE + row;
		}
	}
	*s = '\0';
	if (takes_output_json(options))
		out->longs[n_long] =
			(struct option){"output", required_argument, NULL, OUTPUT_JSON};
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

const char *bow_cli_list(const struct bow_cli_choice *choices, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (; choices->name && used < bytes; choices++)
		used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "",
					 choices->name);
	return text;
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
	return bow_cli_usage(cli, "unknown value '%s' for --%s; use one of: %s", argument,
			     row->name, bow_cli_list(row->choices, names, sizeof(names)));
}

static int set_number(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	char *end;

	errno = 0;
	unsigned long value = strtoul(argument, &end, 10);
	if (argument[0] < '0' || argument[0] > '9' || *end || errno || value > UINT_MAX)
		return bow_cli_usage(cli, "--%s needs a number, not '%s'", row->name, argument);
	*(unsigned *)row->dest = (unsigned)value;
	return 0;
}

/*
 * bowimg has opened nothing yet, so that an open descriptor is the caller's. Standard input is none
 * to write to, whatever it is.
 */
static int set_fd(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	unsigned fd = 0;
	struct bow_cli_option number = {.name = row->name, .dest = &fd};
	int status = set_number(cli, &number, argument);
	int flags = status || fd > INT_MAX ? -1 : fcntl((int)fd, F_GETFL);

	if (status)
		return status;
	if (fd == 0 || flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return bow_cli_usage(cli,
				     "--%s needs a descriptor that is open for writing; %s "
				     "is none",
				     row->name, argument);
	*(int *)row->dest = (int)fd;
	return 0;
}

static bool is_status(const char *text, size_t bytes, int *status)
{
	*status = 0;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9' || *status >= BOW_CLI_STATUSES_MAX)
			return false;
		*status = *status * 10 + (text[i] - '0');
	}
	return bytes > 0 && *status < BOW_CLI_STATUSES_MAX &&
	       (*status < BOW_CLI_NOT_RUN || *status > BOW_CLI_NOT_RUN_LAST);
}

/* "0,1": given again, the option adds to the list. */
static int set_statuses(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	size_t bytes;
	int status;

	for (const char *p = argument;; p += bytes + 1) {
		bytes = strcspn(p, ",");
		if (!is_status(p, bytes, &status))
			return bow_cli_usage(
				cli,
				"--%s needs numbers from 0 to 255, as in 0,1, without %d "
				"to %d (the command did not run); not '%s'",
				row->name, BOW_CLI_NOT_RUN, BOW_CLI_NOT_RUN_LAST, argument);
		((bool *)row->dest)[status] = true;
		if (!p[bytes])
			return 0;
	}
}

static int set_source(struct bow_cli *cli, const struct bow_cli_option *row, const char *argument)
{
	struct bowimg_error err = {0};

	if (bowimg_check_free_from(argument, &err))
		return bow_cli_usage(cli, "unknown source '%s' for --%s; %s", argument, row->name,
				     err.hint);
	*(const char **)row->dest = argument;
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
	case BOW_CLI_MAYBE:
		*(const char **)row->dest = argument ? argument : row->choices[0].name;
		return 0;
	case BOW_CLI_STRING:
		*(const char **)row->dest = argument;
		return 0;
	case BOW_CLI_NUMBER:
		return set_number(cli, row, argument);
	case BOW_CLI_FD:
		return set_fd(cli, row, argument);
	case BOW_CLI_SOURCE:
		return set_source(cli, row, argument);
	case BOW_CLI_STATUSES:
		return set_statuses(cli, row, argument);
	case BOW_CLI_CHOICE:
	case BOW_CLI_BITS:
		return set_choice(cli, row, argument);
	}
	return 0;
}

static int set_output(struct bow_cli *cli, const char *argument)
{
	if (strcmp(argument, "json") != 0)
		return bow_cli_usage(cli, "unknown value '%s' for --output; use one of: json",
				     argument);
	cli->json = true;
	return 0;
}

/* Of "--jsn=1" only "jsn" counts. */
static const char *nearest_option(const struct bow_cli_option *options, const char *name)
{
	char word[32];
	struct bow_guess guess = {.typed = word};

	name += strspn(name, "-");
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "="), name);
	for (; options->kind; options++)
		if (options->name)
			bow_guess_try(&guess, options->name);
	return guess.best;
}

/* getopt refused argv[optind - 1] (long) or the letter optopt. */
static int refuse_option(struct bow_cli *cli, char **argv, int found,
			 const struct bow_cli_option *options)
{
	bool is_long = optopt == 0 || optopt >= LONG_BASE;
	char letter[3] = {'-', (char)optopt, '\0'};
	const char *name = is_long ? argv[optind - 1] : letter;

	if (found == ':')
		return bow_cli_usage(cli, "option '%s' needs an argument", name);
	if (optopt >= LONG_BASE)
		return bow_cli_usage(cli, "option '%s' takes no argument", name);
	const char *near = is_long ? nearest_option(options, name) : NULL;
	return near ? bow_cli_usage(cli, "unknown option '%s'; did you mean '--%s'?", name, near)
		    : bow_cli_usage(cli, "unknown option '%s'", name);
}

/* A command without "--" in front of it: its own options would be taken for ours. */
static int refuse_command(struct bow_cli *cli, const char *word)
{
	return bow_cli_usage(cli,
			     "missing -- before the command (at '%s'); expected: [OPTIONS] IMAGE "
			     "-- COMMAND [ARG...]",
			     word);
}

/* Does the option that getopt has just refused follow an image and a command? */
static bool is_of_command(const struct bow_cli *cli, bool has_dashes, char **argv)
{
	int words = 0;

	for (int i = 1; i < optind; i++)
		words += argv[i][0] != '-';
	return cli->takes_command && !has_dashes && words > 1;
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
	bool known = has_row(options, "json"), output = takes_output_json(options);

	for (int i = 1; i < end; i++)
		if ((known && strcmp(argv[i], "--json") == 0) ||
		    (output && strcmp(argv[i], "--output=json") == 0))
			return true;
	return false;
}

/* How many words there may be by `names`, and must be; which of them is IMAGE, or -1. */
struct operand_names {
	int most, least, image;
};

static bool is_image(const char *word, size_t bytes)
{
	return (bytes == 5 && strncmp(word, "IMAGE", 5) == 0) ||
	       (bytes == 7 && strncmp(word, "[IMAGE]", 7) == 0);
}

static struct operand_names count_names(const char *names)
{
	struct operand_names n = {.image = -1};

	for (const char *word = *names ? names : NULL; word; word = strchr(word, ' ')) {
		word += *word == ' ';
		if (is_image(word, strcspn(word, " ")))
			n.image = n.most;
		n.least += *word != '[';
		n.most++;
	}
	return n;
}

static int check_operands(struct bow_cli *cli, const char *names)
{
	bool lacks_dashes = cli->takes_command && !cli->command;
	const struct operand_names n = count_names(names);
	int image = n.image;

	if (cli->operand_count < n.least)
		return bow_cli_usage(cli, "missing argument; expected: %s", names);
	if (cli->operand_count > n.most && lacks_dashes)
		return refuse_command(cli, cli->operands[n.most]);
	if (cli->operand_count > n.most)
		return bow_cli_usage(cli, "unexpected argument '%s'", cli->operands[n.most]);
	for (int i = 0; i < cli->operand_count; i++)
		if (!cli->operands[i][0])
			return bow_cli_usage(cli, "empty argument; expected: %s", names);
	cli->image = image < 0 || image >= cli->operand_count ? NULL : cli->operands[image];
	return 0;
}

int bow_cli_parse(struct bow_cli *cli, int argc, char **argv, const struct bow_cli_option *options,
		  const char *operands)
{
	struct getopt_tables tables = {0};
	int dashes = find_dashes(argc, argv);
	int end = cli->takes_command ? dashes : argc;
	int found;

	cli->verb = argv[0];
	cli->argv = argv;
	cli->json = wants_json(dashes, argv, options);
	build_tables(options, &tables);
	opterr = 0;
	optind = 0; /* GNU: start anew */
	while ((found = getopt_long(end, argv, tables.shorts, tables.longs, NULL)) != -1) {
		if (found == '?' || found == ':')
			return is_of_command(cli, dashes < argc, argv)
				       ? refuse_command(cli, argv[optind - 1])
				       : refuse_option(cli, argv, found, options);
		int status = found == OUTPUT_JSON
				     ? set_output(cli, optarg)
				     : set_option(cli, &options[find_row(options, found)], optarg);
		if (status)
			return status;
	}
	cli->operands = argv + optind;
	cli->operand_count = end - optind;
	if (cli->takes_command && dashes < argc) {
		cli->command = argv + dashes + 1;
		cli->command_count = argc - dashes - 1;
	}
	return check_operands(cli, operands);
}
