/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/guess.h"

#include <string.h>

#include "lib/base/bytes.h"

/* Longer words are not guessed: no option and no verb is that long. */
enum { LENGTH_MAX = 24 };

static size_t min3(size_t a, size_t b, size_t c)
{
	return bow_min(a, bow_min(b, c));
}

/* How many letters to add, drop, change or swap with their neighbour make one from the other. */
static size_t distance(const char *a, size_t m, const char *b, size_t n)
{
	size_t d[LENGTH_MAX + 1][LENGTH_MAX + 1];

	for (size_t i = 0; i <= m; i++)
		for (size_t j = 0; j <= n; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
				       d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = bow_min(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[m][n];
}

/* One letter in three may be wrong; the beginning of a word stands for it. */
void bow_guess_try(struct bow_guess *g, const char *word)
{
	size_t m = strlen(g->typed), n = strlen(word);

	if (m < 3 || m > LENGTH_MAX || n > LENGTH_MAX)
		return;
	size_t d = strncmp(g->typed, word, m) == 0 ? 1 : distance(g->typed, m, word, n);
	if (d > m / 3 || (g->best && d >= g->distance))
		return;
	g->best = word;
	g->distance = d;
}
