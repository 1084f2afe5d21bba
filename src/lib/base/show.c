/* SPDX-License-Identifier: MIT */
/* What is shown as it is, what is escaped, and names as a shell reads them. */
#include "lib/base/show.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What UTF-8 has no character for: longer forms than needed, surrogates, past the end. */
static bool is_malformed(unsigned long c, size_t n)
{
	return (n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || (c >= 0xd800 && c < 0xe000) ||
	       c > 0x10ffff;
}

size_t bow_shown_bytes(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	const size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	unsigned long c = n == 1 ? *p : *p & (0x7fu >> n);

	if (n == 0 || *p > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || is_malformed(c, n))
		return 0;
	return n;
}

const char *bow_show(char *out, size_t bytes, const char *text)
{
	char escaped[8];
	size_t used = 0;

	while (*text) {
		size_t n = bow_shown_bytes(text), take = n ? n : 1;
		const char *from = n ? text : escaped;

		if (!n)
			n = (size_t)snprintf(escaped, sizeof(escaped), "\\x%02x",
					     (unsigned char)*text);
		if (used + n >= bytes)
			break;
		memcpy(out + used, from, n);
		used += n;
		text += take;
	}
	if (bytes)
		out[used] = '\0';
	return out;
}

/* ---- words of a shell ------------------------------------------------------------ */

struct word {
	char *text;
	size_t bytes, used;
	bool cut;
};

static void put(struct word *w, const char *from, size_t n)
{
	if (w->used + n >= w->bytes) {
		w->cut = true;
		return;
	}
	memcpy(w->text + w->used, from, n);
	w->used += n;
}

/* '...': only the quote itself is special. */
static void put_quoted(struct word *w, const char *path)
{
	put(w, "'", 1);
	for (; *path; path++) {
		if (*path == '\'')
			put(w, "'\\''", 4);
		else
			put(w, path, 1);
	}
	put(w, "'", 1);
}

/* $'...': three octal digits, so that a digit that follows is not taken for one of them. */
static void put_escaped(struct word *w, const char *path)
{
	char octal[8];

	put(w, "$'", 2);
	while (*path) {
		size_t n = bow_shown_bytes(path);

		if (n && *path != '\'' && *path != '\\') {
			put(w, path, n);
			path += n;
			continue;
		}
		snprintf(octal, sizeof(octal), "\\%03o", (unsigned char)*path++);
		put(w, octal, 4);
	}
	put(w, "'", 1);
}

static bool is_shown(const char *path)
{
	size_t n = 1;

	while (*path && (n = bow_shown_bytes(path)) > 0)
		path += n;
	return n > 0;
}

/* Quoted as far as it must be; NULL: there was no room. */
static const char *put_word(struct word *w, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_@%+=:,./-";

	if (text[0] && !text[strspn(text, plain)])
		put(w, text, strlen(text));
	else if (is_shown(text))
		put_quoted(w, text);
	else
		put_escaped(w, text);
	if (w->cut)
		return NULL;
	w->text[w->used] = '\0';
	return w->text;
}

const char *bow_shell_word(char *out, size_t bytes, const char *path)
{
	struct word w = {.text = out, .bytes = bytes};

	if (path[0] == '-')
		put(&w, "./", 2);
	if (!put_word(&w, path))
		snprintf(out, bytes, "PATH");
	return out;
}

const char *bow_shell_arg(char *out, size_t bytes, const char *arg)
{
	struct word w = {.text = out, .bytes = bytes};

	return put_word(&w, arg);
}
