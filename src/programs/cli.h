/* SPDX-License-Identifier: MIT */
/*
 * What the verbs of the program share: the table of verbs, options, messages, sizes, progress.
 * A verb is one function in cmd_<verb>.c and one text in help/<verb>.txt; it parses its options
 * with bow_cli_parse(), calls the library, prints the answer, and returns the exit status.
 *
 *	struct bow_cli cli = {0};
 *	bool dry_run = false;
 *	const struct bow_cli_option options[] = {
 *		{"dry-run", 'n', BOW_CLI_FLAG, &dry_run, 0, NULL},
 *		{0},
 *	};
 *	int status = bow_cli_parse(&cli, argc, argv, options);
 *	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")))
 *		return status;
 *	const char *image = cli.operands[0];
 */
#ifndef BOW_PROGRAMS_CLI_H
#define BOW_PROGRAMS_CLI_H

#include "bowimg.h"

/* Exit statuses that no errno stands for; the others come from bowimg_exit_status(). */
enum { BOW_EXIT_DONE = 0, BOW_EXIT_FAILED = 1, BOW_EXIT_USAGE = 2 };

/* ---- the table of verbs (main.c) ------------------------------------------------------------ */

/* Every verb is a function like this one; argv[0] is the verb. Returns the exit status. */
typedef int bow_cmd_func(int argc, char **argv);

bow_cmd_func bow_cmd_prepare, bow_cmd_status, bow_cmd_mount, bow_cmd_umount, bow_cmd_attach;
bow_cmd_func bow_cmd_detach, bow_cmd_run, bow_cmd_rollback, bow_cmd_commit, bow_cmd_verify;
bow_cmd_func bow_cmd_log, bow_cmd_map, bow_cmd_rescue, bow_cmd_serve, bow_cmd_diff;
bow_cmd_func bow_cmd_export, bow_cmd_apply;

/* ---- options (cli.c) ------------------------------------------------------------------------ */

/*
 * One run of a verb. Fill with zeros; set `takes_command` and `failure_status` before
 * bow_cli_parse(), which sets the rest.
 */
struct bow_cli {
	bool takes_command; /* what follows "--" is a command, kept apart in `command` */
	int failure_status; /* exit status of every failure; 0: by the table in EXIT STATUS */

	const char *verb;
	char **operands; /* what is no option, in order */
	int operand_count;
	char **command; /* NULL without "--"; ends with a NULL pointer like argv */
	int command_count;

	bool json;	  /* --json */
	bool quiet;	  /* -q: no report and no progress; warnings and errors stay */
	unsigned verbose; /* -v, counted */

	/* Of the progress display: when it last printed (ms), and whether a bar is on the line. */
	int64_t progress_ms;
	bool bar_shown;
};

enum bow_cli_kind {
	BOW_CLI_FLAG = 1, /* bool *dest = true */
	BOW_CLI_COUNT,	  /* unsigned *dest += 1 */
	BOW_CLI_VALUE,	  /* no argument: int *dest = value */
	BOW_CLI_STRING,	  /* const char **dest = the argument */
	BOW_CLI_NUMBER,	  /* unsigned *dest = the argument, a decimal number */
	BOW_CLI_CHOICE,	  /* int *dest = the value of the argument's name in `choices` */
	BOW_CLI_BITS,	  /* unsigned *dest |= the value of the argument's name in `choices` */
};

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
	const struct bow_cli_choice *choices; /* for BOW_CLI_CHOICE and BOW_CLI_BITS */
};

/* Rows that several verbs have. (--help is everywhere and handled before a verb is called.) */
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
/* --force=changed; dest is `unsigned`, as the `force` members of the library's options. */
#define BOW_CLI_OPT_FORCE(dest)                                  \
	{                                                        \
		"force", 0, BOW_CLI_BITS, dest, 0, bow_cli_force \
	}
/* --durability=power|process; dest is `int`. */
#define BOW_CLI_OPT_DURABILITY(dest)                                         \
	{                                                                    \
		"durability", 0, BOW_CLI_CHOICE, dest, 0, bow_cli_durability \
	}

extern const struct bow_cli_choice bow_cli_force[];
extern const struct bow_cli_choice bow_cli_durability[];

/*
 * Options may stand anywhere before "--". Returns 0, or the exit status of a usage error that has
 * been printed. Uses getopt_long(), so one parse at a time.
 */
int bow_cli_parse(struct bow_cli *cli, int argc, char **argv, const struct bow_cli_option *options);

/* Usage error unless there are min to max operands; `what` names them: "IMAGE", "IMAGE DIR". */
int bow_cli_want_operands(struct bow_cli *cli, int min, int max, const char *what);

/* ---- messages (message.c) ------------------------------------------------------------------- */

/* Print a usage error with "see bowimg VERB --help"; returns the exit status. */
int bow_cli_usage(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Print why the verb failed and what to do next, on standard error, as JSON with --json; returns
 * the exit status. `code` is what the call returned; err->message is its text.
 */
int bow_cli_fail(struct bow_cli *cli, int code, const struct bowimg_error *err);

/* The same, and adds which state the image is in now and what can be done with it. */
int bow_cli_fail_image(struct bow_cli *cli, const char *image, int code,
		       const struct bowimg_error *err);

/* A failure found by the program itself; `code` is a negative errno. Hint may be NULL. */
int bow_cli_error(struct bow_cli *cli, int code, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* A line of the report on standard output; nothing with -q. Cut at BOW_CLI_LINE_MAX bytes. */
#define BOW_CLI_LINE_MAX 20000
void bow_cli_say(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A warning on standard error: "bowimg: warning: ...". */
void bow_cli_warn(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A JSON string, whatever bytes the text has (file names need not be UTF-8). NULL: out of memory.
 */
struct json_t;
struct json_t *bow_cli_json_text(const char *text);

/*
 * A reader that went away (bowimg rollback | head) must not kill work that writes to an image. Not
 * for verbs that start programs: they would inherit it.
 */
void bow_cli_ignore_sigpipe(void);

/* ---- progress and sizes (progress.c) -------------------------------------------------------- */

/* The library's callbacks: a bar on a terminal, else a line every few seconds; notices. */
struct bowimg_events bow_cli_events(struct bow_cli *cli);
/* The same for work whose parts are no bytes. */
struct bowimg_events bow_cli_count_events(struct bow_cli *cli);

/* Take the bar off the line before something else is printed. */
void bow_cli_clear_bar(struct bow_cli *cli);

/* "0 bytes", "512 bytes", "4.0 KiB", "1.5 GiB": bow_cli_human(n).text in a printf. */
struct bow_cli_size {
	char text[32];
};
struct bow_cli_size bow_cli_human(uint64_t bytes);

/* A path as it can be typed into a shell: quoted if it must be. Returns out->text. */
struct bow_cli_quoted {
	char text[4 * 4096 + 3];
};
const char *bow_cli_quote(struct bow_cli_quoted *out, const char *path);

#endif
