/* SPDX-License-Identifier: MIT */
/* Patches for tests: right ones, and archives that look like some. */
#ifndef TESTS_PATCH_FORGE_H
#define TESTS_PATCH_FORGE_H

#include "bowimg/patch/patch.h"

#define FORGE_BLOCK BOWIMG_BLOCK_SIZE
#define FORGE_IMAGE (64u * FORGE_BLOCK + 100) /* the last block is a partial one */

/* A descriptor of a new file in memory; the caller closes it. */
int forge_file(const void *bytes, size_t n);

/* A writer of tar archives with any members: name, content; a name of NULL ends the list. */
struct forge_member {
	const char *name;
	const void *bytes;
	size_t n;
	unsigned type; /* AE_IFREG if 0 */
};
int forge_archive(const struct forge_member *members, enum bow_patch_pack pack);

/* The same of texts: manifest.json and end.json are right unless given. */
struct forge_texts {
	const char *manifest, *runs, *end; /* NULL: right; "": left out */
	const void *data;
	size_t data_bytes;
};
int forge_texts(const struct forge_texts *texts);

/* The head of patches for FORGE_IMAGE. */
extern const struct bow_patch_head forge_head;

/* Read all of it: 0, or the error; runs are appended to what `see` is given. */
int forge_read(int fd, void (*see)(void *ctx, const struct bow_patch_run *run, const void *after),
	       void *ctx, struct bowimg_error *err);

#endif
