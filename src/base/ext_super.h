/* SPDX-License-Identifier: MIT */
/* Can this ext2/3/4 file system be opened and read without harm, however hostile it is? */
#ifndef BOW_BASE_EXT_SUPER_H
#define BOW_BASE_EXT_SUPER_H

#include "base/ext_io.h"

/* Where the superblock lies in a file system, and its size, in bytes. */
#define BOW_EXT_SUPER_OFF 1024u
#define BOW_EXT_SUPER_BYTES 1024u

bool bow_ext_super_is_there(const uint8_t *raw);

/*
 * Before libext2fs sees it: do the sizes in this superblock fit a file system of at most `bytes`,
 * so that opening it takes a bounded amount of memory? -EOPNOTSUPP, -EUCLEAN.
 */
int bow_ext_super_check(const uint8_t *raw, uint64_t bytes, const char *name,
			struct bowimg_error *err);

/* The group descriptors are what was written, and lead to places inside the file system. */
int bow_ext_groups_check(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err);

#endif
