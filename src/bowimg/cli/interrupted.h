/* SPDX-License-Identifier: MIT */
/* What an interrupted verb leaves, in words. */
#ifndef BOW_CLI_INTERRUPTED_H
#define BOW_CLI_INTERRUPTED_H

#include "bowimg.h"
#include "bowimg/cli/cli.h"

/*
 * What became of the data (of this image; NULL: nothing was changed), and the command to run next.
 * If err->hint is set, it is used. To be freed; NULL: out of memory.
 */
char *bow_interrupted_text(struct bow_cli *cli, const char *image, const struct bowimg_error *err);

#endif
