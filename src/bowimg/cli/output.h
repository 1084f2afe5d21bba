/* SPDX-License-Identifier: MIT */
/* What goes out: the report, lines for scripts, JSON, and text that a terminal must not obey. */
#ifndef BOW_CLI_OUTPUT_H
#define BOW_CLI_OUTPUT_H

#include <stddef.h>
#include <stdio.h>

#include "bowimg/cli/cli.h"

/* A line of the report on standard output; nothing with -q. Cut at BOW_CLI_LINE_MAX bytes. */
#define BOW_CLI_LINE_MAX 20000
void bow_cli_print(struct bow_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print text with what a terminal would obey as \xNN. */
void bow_cli_put(FILE *out, const char *text);

/* A line of data for a script on standard output: exact, but on a terminal as bow_cli_put() has it.
 */
void bow_cli_put_line(const char *text);

/* A JSON string, whatever bytes the text has (file names need not be UTF-8). NULL: out of memory.
 */
struct json_t;
struct json_t *bow_cli_json_text(const char *text);

/* Print JSON in ASCII, so that no control character in a string reaches a terminal. 0 or -1. */
int bow_cli_put_json(const struct json_t *value, FILE *out, size_t flags);

/* Take the progress bar off the line before something else is printed. */
void bow_cli_clear_bar(struct bow_cli *cli);

#endif
