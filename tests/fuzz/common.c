/* SPDX-License-Identifier: MIT */
/* See fuzz.h: what is left when something is wrong, and buffers. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

const struct fuzz_target *const fuzz_targets[] = {
	&fuzz_super, &fuzz_log,	  &fuzz_map,   &fuzz_mapfile, &fuzz_finish,
	&fuzz_image, &fuzz_dmbow, &fuzz_table, &fuzz_patch,   NULL,
};

static bool expected, succeeded;

void fuzz_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("fuzz: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

int fuzz_check_error(int rc, const struct bowimg_error *err)
{
	if (rc > 0)
		fuzz_die("a call returned %d", rc);
	if (rc && !err->message[0])
		fuzz_die("error %d has no words", rc);
	if (!memchr(err->message, 0, sizeof(err->message)) ||
	    !memchr(err->hint, 0, sizeof(err->hint)))
		fuzz_die("an error's text has no end");
	if (expected && rc)
		fprintf(stderr, "%d: %s\n", rc, err->message);
	succeeded = succeeded && !(expected && rc);
	return rc;
}

void fuzz_expect_success(bool yes)
{
	expected = yes;
	if (yes)
		succeeded = true;
}

bool fuzz_succeeded(void)
{
	return succeeded;
}

void fuzz_put(struct fuzz_buf *b, const void *bytes, size_t n)
{
	if (b->room - b->n < n) {
		b->room = 2 * b->room + n + 4096;
		b->bytes = realloc(b->bytes, b->room);
		if (!b->bytes)
			abort();
	}
	if (n)
		memcpy(b->bytes + b->n, bytes, n);
	b->n += n;
}

void fuzz_buf_release(struct fuzz_buf *b)
{
	free(b->bytes);
	memset(b, 0, sizeof(*b));
}
