/* SPDX-License-Identifier: MIT */
/*
 * One run of a verb, and its exit status. A contract: every room of the command line uses it.
 *
 *	struct bow_cli cli = {0};
 *	bool dry_run = false;
 *	const struct bow_cli_option options[] = {
 *		{"dry-run", 'n', BOW_CLI_FLAG, &dry_run, 0, NULL},
 *		{0},
 *	};
 *	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
 *	if (status)
 *		return status;
 *	const char *image = cli.image;
 */
#ifndef BOW_CLI_CLI_H
#define BOW_CLI_CLI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses that no errno stands for; the others come from bowimg_exit_status(). */
enum { BOW_EXIT_DONE = 0, BOW_EXIT_FAILED = 1, BOW_EXIT_USAGE = 2 };

/* The last line for --progress-fd, and when it was written. `what` is a constant. */
struct bow_progress_line {
	const char *what;
	uint64_t done, total;
	int64_t ms;
};

/* Fill with zeros; set the first two members before bow_cli_parse(), which sets the next ones. */
struct bow_cli {
	bool takes_command; /* what follows "--" is a command, kept apart in `command` */
	int failure_status; /* exit status of every failure; 0: by the table in EXIT STATUS */

	const char *verb;
	char **argv;	 /* from the verb on; options first after bow_cli_parse() */
	char **operands; /* what is no option, in order */
	int operand_count;
	const char *image; /* the operand IMAGE, or NULL; set by bow_cli_parse() */
	char **command;	   /* NULL without "--"; ends with a NULL pointer like argv */
	int command_count;

	bool json;	  /* --json */
	bool quiet;	  /* -q: no report and no progress; warnings and errors stay */
	unsigned verbose; /* -v, counted */

	/* Of the progress display: when it last printed (ms), where to, is a bar on the line? */
	int64_t progress_ms;
	bool on_terminal;
	atomic_bool bar_shown; /* other threads may take it away */

	int progress_fd; /* --progress-fd: where lines of JSON go; 0: nowhere (any more) */
	struct bow_progress_line progress_line;

	bool warned; /* bow_cli_warn() has printed something */
};

#endif
