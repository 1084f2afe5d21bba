/* SPDX-License-Identifier: MIT */
/* libext2fs on a part of a disk: a read-only io_manager, and its error codes as ours. */
#ifndef BOW_BASE_EXT_IO_H
#define BOW_BASE_EXT_IO_H

#include <ext2fs/ext2fs.h>

#include "base/err.h"

/* What a file system is read from. `read` is called for ranges below `size` only. */
struct bow_ext_source {
	int (*read)(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err);
	void *ctx;
	const char *name; /* for messages; borrowed */
	uint64_t size;	  /* bytes */
};

/*
 * One file system's window on the disk. It must stay where it is and outlive the ext2_filsys that
 * was opened on it: libext2fs keeps pointers into it. No state is shared between two of these.
 */
struct bow_ext_io {
	struct struct_io_manager manager;
	struct bow_ext_source source;
	uint64_t off, bytes;	 /* the part of the source that libext2fs can see */
	struct bowimg_error err; /* the source's last error, which libext2fs cannot carry */
};

/* Open the file system at [off, off + bytes) for reading; the caller ends it with ext2fs_free(). */
int bow_ext_io_open(struct bow_ext_io *io, const struct bow_ext_source *source, uint64_t off,
		    uint64_t bytes, ext2_filsys *out, struct bowimg_error *err);

/* Turn libext2fs' `code` into a negative errno and a message that says `what` was attempted. */
int bow_ext_io_fail(const struct bow_ext_io *io, errcode_t code, const char *what,
		    struct bowimg_error *err);

#endif
