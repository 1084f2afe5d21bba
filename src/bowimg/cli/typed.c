/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/typed.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/show.h"

/* `text` is freed; NULL goes through. */
static char *append(char *text, const char *before, const char *word)
{
	char *more = NULL;

	if (text && word && asprintf(&more, "%s%s%s", text, before, word) < 0)
		more = NULL;
	free(text);
	return more;
}

char *bow_cli_typed(const struct bow_cli *cli, const char *added)
{
	const size_t bytes = 4 * PATH_MAX;
	char *buf = malloc(bytes), *text = strdup("bowimg");

	for (char **arg = cli->argv; text && *arg; arg++) {
		text = append(text, " ", buf ? bow_shell_arg(buf, bytes, *arg) : NULL);
		if (arg == cli->argv)
			text = append(text, "", added);
	}
	free(buf);
	return text;
}
