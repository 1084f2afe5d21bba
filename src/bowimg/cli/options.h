/* SPDX-License-Identifier: MIT */
/* Options and operands of a verb. */
#ifndef BOW_CLI_OPTIONS_H
#define BOW_CLI_OPTIONS_H

#include <stddef.h>

#include "bowimg/cli/cli.h"

enum bow_cli_kind {
	BOW_CLI_FLAG = 1, /* bool *dest = true */
	BOW_CLI_COUNT,	  /* unsigned *dest += 1 */
	BOW_CLI_VALUE,	  /* no argument: int *dest = value */
	BOW_CLI_MAYBE,	  /* const char **dest = the argument, else the first name in `choices` */
	BOW_CLI_STRING,	  /* const char **dest = the argument */
	BOW_CLI_NUMBER,	  /* unsigned *dest = the argument, a decimal number */
	BOW_CLI_CHOICE,	  /* int *dest = the value of the argument's name in `choices` */
	BOW_CLI_BITS,	  /* unsigned *dest |= the value of the argument's name in `choices` */
	BOW_CLI_SOURCE,	  /* const char **dest = the argument, a source of free maps */
	BOW_CLI_FD,	  /* int *dest = the argument, a descriptor that is open for writing */
	BOW_CLI_STATUSES, /* bool dest[N] = true, for each exit status N of a list like "1,2" */
};

/* Of a command that was run; 125 to 127 say that it was not. */
enum { BOW_CLI_STATUSES_MAX = 256, BOW_CLI_NOT_RUN = 125, BOW_CLI_NOT_RUN_LAST = 127 };

struct bow_cli_choice {
	const char *name; /* NULL ends the list */
	int value;
};

struct bow_cli_option {
	const char *name;	/* long name without the dashes; NULL: short only */
	char letter;		/* short name, or 0 */
	enum bow_cli_kind kind; /* 0 ends the table */
	void *dest;
	int value;			      /* for BOW_CLI_VALUE */
	const struct bow_cli_choice *choices; /* for BOW_CLI_CHOICE, _BITS and _MAYBE */
};

/* Rows that several verbs have. (--help is everywhere and handled before a verb is called.) */
#define BOW_CLI_OPT_DRY_RUN(dest)                           \
	{                                                   \
		"dry-run", 'n', BOW_CLI_FLAG, dest, 0, NULL \
	}
#define BOW_CLI_OPT_JSON(cli)                                  \
	{                                                      \
		"json", 0, BOW_CLI_FLAG, &(cli)->json, 0, NULL \
	}
#define BOW_CLI_OPT_QUIET(cli)                                     \
	{                                                          \
		"quiet", 'q', BOW_CLI_FLAG, &(cli)->quiet, 0, NULL \
	}
#define BOW_CLI_OPT_VERBOSE(cli)                                        \
	{                                                               \
		"verbose", 'v', BOW_CLI_COUNT, &(cli)->verbose, 0, NULL \
	}
/* Of verbs that take long; see bow_cli_events(). */
#define BOW_CLI_OPT_PROGRESS_FD(cli)                                       \
	{                                                                  \
		"progress-fd", 0, BOW_CLI_FD, &(cli)->progress_fd, 0, NULL \
	}
/* --force=changed; dest is `unsigned`, as the `force` members of the library's options. */
#define BOW_CLI_OPT_FORCE(dest)                                  \
	{                                                        \
		"force", 0, BOW_CLI_BITS, dest, 0, bow_cli_force \
	}
/* --free-from=SRC; dest is `const char *`. The library knows the sources. */
#define BOW_CLI_OPT_FREE_FROM(dest)                           \
	{                                                     \
		"free-from", 0, BOW_CLI_SOURCE, dest, 0, NULL \
	}

extern const struct bow_cli_choice bow_cli_force[];

/*
 * Options may stand anywhere before "--". `operands` names what else there must be, one word each:
 * "IMAGE", "IMAGE DIR", or "" for nothing; those in brackets may be left out: "IMAGE [NAME]".
 * Returns 0, or the exit status of a usage error that has been printed. Uses getopt_long(), so one
 * parse at a time.
 */
int bow_cli_parse(struct bow_cli *cli, int argc, char **argv, const struct bow_cli_option *options,
		  const char *operands);

/* "a, b, c": the names of the choices. Returns `text`. */
const char *bow_cli_list(const struct bow_cli_choice *choices, char *text, size_t bytes);

#endif
