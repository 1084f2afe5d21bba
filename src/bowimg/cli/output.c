/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/output.h"

#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/show.h"

void bow_cli_clear_bar(struct bow_cli *cli)
{
	if (atomic_exchange(&cli->bar_shown, false))
		fputs("\r\033[K", stderr);
}

/* Names and data from disk may carry terminal control sequences; they are shown, not obeyed. */
void bow_cli_put(FILE *out, const char *text)
{
	char escaped[8];
	size_t n;

	for (; *text; text += n ? n : 1) {
		n = bow_shown_bytes(text);
		if (n)
			fwrite(text, n, 1, out);
		else
			fputs(bow_show(escaped, sizeof(escaped), (char[]){*text, '\0'}), out);
	}
}

void bow_cli_put_line(const char *text)
{
	if (isatty(STDOUT_FILENO))
		bow_cli_put(stdout, text);
	else
		fputs(text, stdout);
	putchar('\n');
}

/* jansson escapes all others itself. */
static int put_but_delete(const char *text, size_t bytes, void *out)
{
	for (size_t i = 0; i < bytes; i++)
		if (text[i] == 0x7f ? fputs("\\u007f", out) < 0 : putc(text[i], out) == EOF)
			return -1;
	return 0;
}

int bow_cli_put_json(const struct json_t *value, FILE *out, size_t flags)
{
	return json_dump_callback(value, put_but_delete, out, flags | JSON_ENSURE_ASCII);
}

struct json_t *bow_cli_json_text(const char *text)
{
	char shown[BOW_SHOWN_MAX(PATH_MAX)];
	json_t *value = json_string(text);

	return value ? value : json_string(bow_show(shown, sizeof(shown), text));
}

void bow_cli_print(struct bow_cli *cli, const char *fmt, ...)
{
	char text[BOW_CLI_LINE_MAX];
	va_list args;

	if (cli->quiet)
		return;
	bow_cli_clear_bar(cli);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	bow_cli_put(stdout, text);
	putchar('\n');
}
