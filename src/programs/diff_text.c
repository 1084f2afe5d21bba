/* SPDX-License-Identifier: MIT */
/* File names are any bytes; a terminal would obey some of them, and JSON takes UTF-8 only. */
#include "programs/diff_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the UTF-8 character at p that is fit to be shown, or 0. */
static size_t printable(const unsigned char *p)
{
	const size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	unsigned long c = n == 1 ? *p : *p & (0x7fu >> n);

	if (n == 0 || *p > 0xf4 || *p == '\\')
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	/* Control characters; longer forms than needed; surrogates; past the end. */
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (n == 3 && c < 0x800) ||
	    (n == 4 && c < 0x10000) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return 0;
	return n;
}

char *bow_diff_escape(const char *path)
{
	const unsigned char *p = (const unsigned char *)path;
	char *text = malloc(4 * strlen(path) + 1), *to = text;
	size_t n;

	for (; text && *p; p += n) {
		n = printable(p);
		if (n) {
			memcpy(to, p, n);
			to += n;
			continue;
		}
		n = 1;
		to += *p == '\\' ? sprintf(to, "\\\\") : sprintf(to, "\\x%02x", *p);
	}
	if (text)
		*to = '\0';
	return text;
}
