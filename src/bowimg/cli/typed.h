/* SPDX-License-Identifier: MIT */
/* The command that was typed, for a hint. */
#ifndef BOW_CLI_TYPED_H
#define BOW_CLI_TYPED_H

#include "bowimg/cli/cli.h"

/*
 * As it can be pasted, with these options added behind the verb; options stand where getopt has put
 * them. To be freed; NULL: out of memory.
 */
char *bow_cli_typed(const struct bow_cli *cli, const char *added);

#endif
