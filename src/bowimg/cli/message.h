/* SPDX-License-Identifier: MIT */
/* Failures with the next step, as text or as JSON; warnings. All on standard error. */
#ifndef BOW_CLI_MESSAGE_H
#define BOW_CLI_MESSAGE_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

/* Print a usage error with "see bowimg VERB --help"; returns the exit status. */
int bow_cli_usage(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Print why the verb failed and what to do next; returns the exit status. `code` is what the call
 * returned; err->message is its text.
 */
int bow_cli_fail(struct bow_cli *cli, int code, const struct bowimg_error *err);

/* The same, and adds which state the image is in now and what can be done with it. */
int bow_cli_fail_image(struct bow_cli *cli, const char *image, int code,
		       const struct bowimg_error *err);

/* A failure found by the program itself; `code` is a negative errno. Hint may be NULL. */
int bow_cli_error(struct bow_cli *cli, int code, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* "bowimg: warning: ..." */
void bow_cli_warn(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line of the report where standard output is taken: "bowimg: ..."; nothing with -q. */
void bow_cli_note(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
