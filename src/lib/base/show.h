/* SPDX-License-Identifier: MIT */
/*
 * Text from elsewhere (names of files, what a disk says of itself) on its way to a terminal, a log
 * or a shell. Terminals obey control characters: C0, DEL, and C1 both as bytes of their own and as
 * U+0080 to U+009F in UTF-8.
 */
#ifndef BOW_BASE_SHOW_H
#define BOW_BASE_SHOW_H

#include <stddef.h>

/* Bytes of the character at `p`, which is not at the end, if it is UTF-8 that is shown; or 0. */
size_t bow_shown_bytes(const char *p);

/* The text with every other byte as \xNN; cut where there is no more room. Returns `out`. */
const char *bow_show(char *out, size_t bytes, const char *text);
#define BOW_SHOWN_MAX(bytes) (4 * (bytes) + 1)

/*
 * A path as one word of a shell's input that names this file: quoted if it must be, as $'...' where
 * it has bytes that are not shown, and never with the look of an option. Returns `out`; or, where
 * there is no room for all of it, "PATH", because half a name could be another file's.
 */
const char *bow_shell_word(char *out, size_t bytes, const char *path);

/* An argument as it is, perhaps an option, as one word of a shell's input. NULL: there is no room.
 */
const char *bow_shell_arg(char *out, size_t bytes, const char *arg);

/* A path for a hint, until the end of the block. */
#define BOW_WORD(path) bow_shell_word((char[144]){0}, 144, (path))

#endif
