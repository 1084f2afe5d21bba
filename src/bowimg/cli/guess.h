/* SPDX-License-Identifier: MIT */
/* "Did you mean ...?": the known word that is nearest to one that was typed. */
#ifndef BOW_CLI_GUESS_H
#define BOW_CLI_GUESS_H

#include <stddef.h>

struct bow_guess {
	const char *typed;
	const char *best; /* so far; NULL: no word is near enough */
	size_t distance;
};

/* Begin with {.typed = word}, then show it every word there is. */
void bow_guess_try(struct bow_guess *g, const char *word);

#endif
