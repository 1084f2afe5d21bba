/* SPDX-License-Identifier: MIT */
/* Can this ext2/3/4 file system be opened and read without harm, however hostile it is? */
#ifndef BOW_EXT_SUPER_H
#define BOW_EXT_SUPER_H

#include "lib/ext/io.h"

/* Where the superblock lies in a file system, and its size, in bytes. */
#define BOW_EXT_SUPER_OFF 1024u
#define BOW_EXT_SUPER_BYTES 1024u

/* The superblock of what lies at [off, off + bytes) of the disk, if that is an ext2/3/4. */
int bow_ext_super_read(bowimg_disk *disk, uint64_t off, uint64_t bytes,
		       uint8_t raw[BOW_EXT_SUPER_BYTES], bool *is_ext, struct bowimg_error *err);

/*
 * Before libext2fs sees it: do the sizes in this superblock fit a file system of at most `bytes`,
 * so that opening it takes a bounded amount of memory? -EOPNOTSUPP, -EUCLEAN.
 */
int bow_ext_super_check(const uint8_t *raw, uint64_t bytes, const char *name,
			struct bowimg_error *err);

/* How long the file system is, by a superblock that was checked. */
uint64_t bow_ext_super_bytes(const uint8_t *raw);

/* The group descriptors are what was written, and lead to places inside the file system. */
int bow_ext_groups_check(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err);

/* No host has noted that it uses the file system (multi-mount protection). -EBUSY, -EUCLEAN. */
int bow_ext_mmp_check(const struct bow_ext_io *io, ext2_filsys fs, struct bowimg_error *err);

#endif
