/* SPDX-License-Identifier: MIT */
/* Real ext2/3/4 images made by mke2fs, and what e2fsprogs says about them. */
#ifndef TESTS_EXT_IMAGE_H
#define TESTS_EXT_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/disk/disk.h"
#include "host.h"

/* These options are for the first revision of the format, which mke2fs makes no more (1.47.1). */
#define EXT_REVISION_0 "-O none -I 128"

/* What mke2fs has made by these options: make it of that revision, if they say so. */
int ext_image_lower(const char *options, const char *path);

struct ext_image {
	char dir[HOST_PATH_BYTES]; /* holds all of the following */
	char files[HOST_PATH_BYTES + 16], path[HOST_PATH_BYTES + 16];
};

/* A directory with files of many sizes in it. */
void ext_image_setup(struct ext_image *x);
void ext_image_teardown(struct ext_image *x);

/*
 * A fresh file of `kib` with a file system by mke2fs' `options`, holding the files, some of which
 * are deleted again so that the free space has gaps. Without e2fsprogs the test is skipped.
 */
void ext_image_make(struct ext_image *x, const char *options, unsigned kib);

/* The file system's blocks: true where dumpe2fs lists them as free. To be freed. */
bool *ext_image_free_blocks(const struct ext_image *x, uint32_t *block_size, uint64_t *blocks);

/* The image opened as bowimg opens one to look at it. */
struct bowimg_disk *ext_image_open(const struct ext_image *x);

/* e2fsck is content, and every file that was put in (and not deleted) has its content. */
bool ext_image_is_intact(const struct ext_image *x);

/* The same as fixtures of cmocka: *state is a struct ext_image. */
int ext_image_set_up(void **state);
int ext_image_tear_down(void **state);

#endif
